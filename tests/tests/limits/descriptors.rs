//! A system that has no descriptors left.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hybridrelay::env::{Acceptor, BoxSocket, Env, sim};
use hybridrelay_relay::{MemoryStore, Relay, RelayHandle};
use hybridrelay_tests::metrics::Samples;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::raw::Door;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{A, LISTEN, listen, namespace, seconds};

/// `EMFILE`, on every Unix.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// An acceptor that fails while it is told to.
struct Failing {
    inner: Box<dyn Acceptor>,
    fails: Arc<dyn Fn() -> Option<io::Error> + Send + Sync>,
}

impl Acceptor for Failing {
    fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }

    fn accept(&mut self) -> Pin<Box<dyn Future<Output = io::Result<BoxSocket>> + Send + '_>> {
        match (self.fails)() {
            Some(error) => Box::pin(async move { Err(error) }),
            None => self.inner.accept(),
        }
    }
}

async fn relay(
    env: Env,
    address: SocketAddr,
    fails: impl Fn() -> Option<io::Error> + Send + Sync + 'static,
) -> RelayHandle {
    let inner = env.bind(address).await.expect("a free port");
    let acceptor = Failing { inner, fails: Arc::new(fails) };
    let relay = Relay::builder().listen_on(Box::new(acceptor), None).store(MemoryStore::new([namespace()])).env(env);
    relay.build().start().await.expect("it is bound already")
}

#[tokio::test]
async fn a_relay_that_runs_out_of_descriptors_goes_on_when_there_are_some_again() {
    let left = AtomicUsize::new(3);
    let fails = move || {
        let failing = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        failing.then(|| io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES))
    };
    let relay = relay(Env::system(), ([127, 0, 0, 1], 0).into(), fails).soon().await;
    let door = Door::new(relay.local_addrs()[0], None);
    listen(A, LISTEN).send(&door).await.websocket();
    let samples = Samples::from(&relay);
    assert_eq!(samples.sum("hybridrelay_descriptors_exhausted_total", &[]), 3.0);
    assert_eq!(samples.sum("hybridrelay_accept_pauses_total", &[]), 3.0);
}

#[tokio::test]
async fn a_connection_that_ended_before_it_was_accepted_costs_no_pause() {
    let left = AtomicUsize::new(3);
    let fails = move || {
        let failing = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        failing.then(|| io::ErrorKind::ConnectionAborted.into())
    };
    let relay = relay(Env::system(), ([127, 0, 0, 1], 0).into(), fails).soon().await;
    listen(A, LISTEN).send(&Door::new(relay.local_addrs()[0], None)).await.websocket();
    assert_eq!(Samples::from(&relay).sum("hybridrelay_accept_pauses_total", &[]), 0.0);
}

#[test]
fn accepting_goes_on_the_moment_a_socket_of_the_relay_is_closed() {
    sim::run(1, async |sim| {
        let exhausted = Arc::new(AtomicBool::new(false));
        let fails = {
            let exhausted = exhausted.clone();
            move || exhausted.load(Ordering::Relaxed).then(|| io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES))
        };
        let relay = relay(sim.env("relay"), ([0, 0, 0, 0], 80).into(), fails).await;
        let env = sim.env("phone");
        let address = env.resolve("relay", 80).await.expect("a known host")[0];
        let mut first = env.dial(address).await.expect("the relay listens");
        sim.sleep(seconds(1)).await;

        // The acceptor fails from its next call on, which follows the second socket.
        exhausted.store(true, Ordering::Relaxed);
        let _second = env.dial(address).await.expect("the relay listens");
        sim.sleep(seconds(5)).await;
        let paused = Samples::from(&relay).sum("hybridrelay_accept_pauses_total", &[]);
        assert!((5.0..12.0).contains(&paused), "the pauses grow up to a second: {paused}");

        let mut third = env.dial(address).await.expect("the system's queue has room");
        exhausted.store(false, Ordering::Relaxed);
        let freed = sim.elapsed();
        first.shutdown().await.expect("open");
        drop(first);
        third.write_all(b"GET /$relay/healthz HTTP/1.1\r\nHost: relay\r\n\r\n").await.expect("open");
        third.read_u8().await.expect("an answer");
        // Not after the rest of a pause.
        assert!(sim.elapsed() - freed < std::time::Duration::from_millis(50), "{:?}", sim.elapsed() - freed);
    });
}
