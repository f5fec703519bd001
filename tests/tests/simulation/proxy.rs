//! Proxies in the simulated network: everything is dialled through the environment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hybridrelay::env::sim::{self, Sim};
use hybridrelay::env::{BoxSocket, Env};
use hybridrelay::{ErrorKind, Message, Proxy, Status, StatusWatcher};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};

use crate::world::{LISTENER, RELAY, SENDER, World, accept, connect};

/// The proxy's host.
const GATE: &str = "gate";

/// A world in which listener and sender reach the relay through a proxy only.
struct Fenced {
    world: World,
    proxy: Proxy,
    /// Whether the proxy wants credentials, which nobody has.
    locked: Arc<AtomicBool>,
}

impl Fenced {
    async fn start(sim: Sim) -> Self {
        let world = World::start(sim).await;
        for host in [LISTENER, SENDER] {
            world.sim.network().blackhole(host, RELAY);
        }
        let env = world.sim.env(GATE);
        let locked = Arc::new(AtomicBool::new(false));
        let mut acceptor = env.bind(([0, 0, 0, 0], 3128).into()).await.expect("the port is free");
        env.spawn({
            let (env, locked) = (env.clone(), locked.clone());
            async move {
                while let Ok(socket) = acceptor.accept().await {
                    env.spawn(tunnel(env.clone(), socket, locked.load(Ordering::Relaxed)));
                }
            }
        });
        let proxy = Proxy::url(format!("http://{GATE}:3128")).expect("the URL of a proxy");
        Self { world, proxy, locked }
    }
}

/// Serves one CONNECT.
async fn tunnel(env: Env, mut socket: BoxSocket, locked: bool) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let asked = String::from_utf8_lossy(&head).into_owned();
    let answer: &[u8] = if locked { b"HTTP/1.1 407 Who are you\r\n\r\n" } else { b"HTTP/1.1 200 Come in\r\n\r\n" };
    let _ = socket.write_all(answer).await;
    if !locked {
        assert!(asked.starts_with(&format!("CONNECT {RELAY}:80 ")), "{asked}");
        let relay = env.resolve(RELAY, 80).await.expect("the relay has a name")[0];
        let mut onward = env.dial(relay).await.expect("the relay listens");
        let _ = copy_bidirectional(&mut socket, &mut onward).await;
    }
}

#[test]
fn listener_rendezvous_and_sender_go_through_the_proxy() {
    sim::run(1, async |sim| {
        let Fenced { world, proxy, .. } = Fenced::start(sim).await;
        let listener = world.listener().proxy(proxy.clone()).open().await.unwrap();
        let sender = world.sender().proxy(proxy).build().unwrap();
        let (sent, accepted) = connect(&sender, &listener).await;
        sent.send("through the gate").await.unwrap();
        assert_eq!(accepted.receive().await.unwrap(), Some(Message::Text("through the gate".to_owned())));
    });
}

#[test]
fn a_simulated_program_does_not_see_the_machines_proxy() {
    sim::run(1, async |sim| {
        let world = World::start(sim).await;
        let listener = world.listener().proxy(Proxy::environment()).open().await.unwrap();
        let sender = world.sender().build().unwrap();
        tokio::join!(async { sender.connect().await.unwrap() }, accept(&listener));
    });
}

#[test]
fn credentials_that_a_proxy_refuses_are_final_at_the_first_open_only() {
    sim::run(1, async |sim| {
        let Fenced { world, proxy, locked } = Fenced::start(sim).await;
        locked.store(true, Ordering::Relaxed);
        let refused = world.listener().proxy(proxy.clone()).wait(true).open().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ProxyAuthenticationRequired);

        locked.store(false, Ordering::Relaxed);
        let listener = world.listener().proxy(proxy).open().await.unwrap();
        let mut status = listener.status();
        locked.store(true, Ordering::Relaxed);
        world.sim.network().cut(GATE, RELAY);
        while !offline_with(&mut status, ErrorKind::ProxyAuthenticationRequired).await {}
        locked.store(false, Ordering::Relaxed);
        while !status.changed().await.expect("the listener lives").is_online() {}
    });
}

/// Whether the next status is offline for this reason.
async fn offline_with(status: &mut StatusWatcher, kind: ErrorKind) -> bool {
    let status = status.changed().await.expect("the listener lives");
    matches!(status, Status::Offline { error, .. } if error.kind() == kind)
}

#[test]
fn a_proxy_that_does_not_answer_is_named_in_the_timeout() {
    sim::run(1, async |sim| {
        let world = World::start(sim).await;
        // It accepts and says nothing.
        let _acceptor = world.sim.env(GATE).bind(([0, 0, 0, 0], 3128).into()).await.unwrap();
        let proxy = Proxy::url(format!("http://ann:hunter2@{GATE}:3128")).unwrap();
        let listener = world.listener().proxy(proxy).connect_timeout(Duration::from_secs(7));
        let error = listener.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains(&format!("the proxy http://{GATE}:3128")), "{error}");
        assert_eq!(world.sim.elapsed(), Duration::from_secs(7));
    });
}
