//! Which sockets may not stall. What the kernel makes of it is tested where there is one.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hybridrelay::Incoming;
use hybridrelay::env::sim;
use hybridrelay::env::{Acceptor, BoxFuture, BoxSocket, Env, Socket};
use hybridrelay_tests::detour::{self, Way};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::world::{LISTENER, RELAY, SENDER, World, connect, connection_string};

/// The user timeout of every socket that a host has had, in the order of their making.
type Timeouts = Arc<Mutex<Vec<Option<Duration>>>>;

/// An environment that notes the user timeouts of its sockets.
struct Noting {
    env: Env,
    timeouts: Timeouts,
}

fn noting(env: Env) -> (Env, Timeouts) {
    let timeouts = Timeouts::default();
    (detour::by(Noting { env, timeouts: timeouts.clone() }), timeouts)
}

#[test]
fn control_channels_alone_have_a_user_timeout_at_both_ends() {
    sim::run(1, async |sim| {
        let (relay, of_relay) = noting(sim.env(RELAY));
        let world = World::with_env(sim, relay).await;
        let (office, of_listener) = noting(world.sim.env(LISTENER));
        let (phone, of_sender) = noting(world.sim.env(SENDER));
        let listener = world.listener().env(office).open().await.unwrap();
        let sender = world.sender().env(phone).build().unwrap();
        let _connection = connect(&sender, &listener).await;

        // As long as a silent relay is borne: keep-alive interval and deadline. The relay's limit is that of its writes.
        let (control, relayed) = (Some(Duration::from_secs(30)), None);
        assert_eq!(*of_listener.lock().unwrap(), [control, relayed]);
        assert_eq!(*of_sender.lock().unwrap(), [relayed]);
        assert_eq!(*of_relay.lock().unwrap(), [control, relayed, relayed]);
    });
}

#[test]
fn the_listeners_patience_follows_its_keep_alive() {
    let seconds = Duration::from_secs;
    for (keep_alive, limit) in
        [(Some(seconds(60)), seconds(70)), (None, seconds(30)), (Some(Duration::MAX), Duration::MAX)]
    {
        sim::run(1, async |sim| {
            let world = World::start(sim).await;
            let (office, of_listener) = noting(world.sim.env(LISTENER));
            let listener = world.listener().env(office).keep_alive(keep_alive);
            let _listener = listener.open().await.unwrap();
            assert_eq!(*of_listener.lock().unwrap(), [Some(limit)]);
        });
    }
}

#[test]
fn a_listeners_handshake_is_given_up_when_it_is_not_acknowledged_for_5_s() {
    sim::run(1, async |sim| {
        let mut acceptor = sim.env(RELAY).bind(([0, 0, 0, 0], 80).into()).await.unwrap();
        let (office, of_listener) = noting(sim.env(LISTENER));
        let opening = hybridrelay::Listener::builder(connection_string()).env(office).open();
        let taking = async {
            let _silent = acceptor.accept().await.unwrap();
            sim.sleep(Duration::from_secs(1)).await;
            assert_eq!(*of_listener.lock().unwrap(), [Some(Duration::from_secs(5))]);
        };
        tokio::select! {
            opened = opening => panic!("nobody has answered: {opened:?}"),
            () = taking => {}
        }
    });
}

/// A listener may read a long body as slowly as it likes; the relay takes a short one in by itself.
#[test]
fn of_a_senders_requests_small_ones_that_travel_alone_are_to_be_acknowledged() {
    sim::run(1, async |sim| {
        let world = World::start(sim).await;
        let (phone, of_sender) = noting(world.sim.env(SENDER));
        let listener = world.listener().open().await.unwrap();
        let sender = world.sender().env(phone).build().unwrap();
        for (size, sockets) in
            [(1_000, &[Some(Duration::from_secs(40))][..]), (100_000, &[Some(Duration::from_secs(40)), None])]
        {
            let request = http::Request::post("/").body(vec![0; size]).unwrap();
            let (response, ()) = tokio::join!(sender.request(request), async {
                let Ok(Some(Incoming::Request(request))) = listener.accept().await else { panic!("no request") };
                request.into_parts().1.send(http::Response::new(())).await.unwrap();
            });
            response.unwrap();
            assert_eq!(*of_sender.lock().unwrap(), sockets);
        }
    });
}

impl Noting {
    fn socket(timeouts: Timeouts, inner: BoxSocket) -> BoxSocket {
        let mut all = timeouts.lock().unwrap();
        let number = all.len();
        all.push(None);
        drop(all);
        Box::new(NotingSocket { inner, timeouts, number })
    }
}

impl Way for Noting {
    fn ordinary(&self) -> &Env {
        &self.env
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        let (env, timeouts) = (self.env.clone(), self.timeouts.clone());
        Box::pin(async move { Ok(Self::socket(timeouts, env.dial(address).await?)) })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<io::Result<Box<dyn Acceptor>>> {
        let (env, timeouts) = (self.env.clone(), self.timeouts.clone());
        Box::pin(async move {
            let acceptor = env.bind(address).await?;
            Ok(Box::new(NotingAcceptor { acceptor, timeouts }) as Box<dyn Acceptor>)
        })
    }
}

struct NotingAcceptor {
    acceptor: Box<dyn Acceptor>,
    timeouts: Timeouts,
}

impl Acceptor for NotingAcceptor {
    fn local_addr(&self) -> SocketAddr {
        self.acceptor.local_addr()
    }

    fn accept(&mut self) -> Pin<Box<dyn Future<Output = io::Result<BoxSocket>> + Send + '_>> {
        Box::pin(async move { Ok(Noting::socket(self.timeouts.clone(), self.acceptor.accept().await?)) })
    }
}

struct NotingSocket {
    inner: BoxSocket,
    timeouts: Timeouts,
    number: usize,
}

impl Socket for NotingSocket {
    fn abort(&mut self) {
        self.inner.abort();
    }

    fn peer_addr(&self) -> SocketAddr {
        self.inner.peer_addr()
    }

    fn set_user_timeout(&mut self, limit: Duration) {
        self.timeouts.lock().unwrap()[self.number] = Some(limit);
    }
}

impl AsyncRead for NotingSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for NotingSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
