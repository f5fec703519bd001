//! Streams of events under a clock that the test moves (protocol.md 7.4).

use std::time::Duration;

use hybridrelay::PresenceEvent;
use hybridrelay::env::BoxSocket;
use hybridrelay::env::sim::{self, Sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::raw::{RawListener, token};
use crate::world::{ENTITY, RELAY, SENDER, World};

const HOUR: Duration = Duration::from_secs(3600);

/// Asks for events with a token of this life.
async fn watch(sim: &Sim, life: Duration) -> BoxSocket {
    let env = sim.env(SENDER);
    let address = env.resolve(RELAY, 80).await.expect("a known host")[0];
    let mut socket = env.dial(address).await.expect("the relay listens");
    let token = token(sim.env(RELAY).wall_clock() + life);
    let request = format!(
        "GET /$relay/presence/{ENTITY} HTTP/1.1\r\nHost: {RELAY}\r\nAccept: text/event-stream\r\nServiceBusAuthorization: {token}\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.expect("the relay reads");
    socket
}

/// Reads until a text has come; `false` if the stream ends without it.
async fn reads(socket: &mut BoxSocket, text: &str) -> bool {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        match socket.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => return false,
        }
    }
    true
}

#[test]
fn a_silent_stream_shows_every_15_s_that_it_is_alive() {
    sim::run(1, async |sim| {
        let _world = World::start(sim.clone()).await;
        let mut socket = watch(&sim, HOUR).await;
        assert!(reads(&mut socket, "event: snapshot").await);
        let begun = sim.elapsed();
        for beat in 1..=100 {
            assert!(reads(&mut socket, ": still here").await);
            assert_eq!((sim.elapsed() - begun).as_secs(), 15 * beat);
        }
    });
}

#[test]
fn a_stream_ends_with_its_token() {
    sim::run(1, async |sim| {
        let _world = World::start(sim.clone()).await;
        let mut socket = watch(&sim, HOUR).await;
        // The last chunk.
        assert!(reads(&mut socket, "\r\n0\r\n").await);
        let skew = Duration::from_secs(60);
        assert!((HOUR + skew..HOUR + skew + Duration::from_secs(2)).contains(&sim.elapsed()), "{:?}", sim.elapsed());
    });
}

#[test]
fn a_reader_that_does_not_read_is_let_go_and_not_told_half() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let mut socket = watch(&sim, 100 * HOUR).await;
        assert!(reads(&mut socket, "event: snapshot").await);
        for _ in 0..4_000 {
            drop(RawListener::open(&world, HOUR).await);
            while world.online() > 0 {
                sim.sleep(Duration::from_millis(1)).await;
            }
        }
        // What was on the way arrives, and then the end. All of it is in order and without a gap.
        let mut text = String::new();
        let env = sim.env(SENDER);
        let read = env.timeout(HOUR, async {
            let mut buffer = [0; 16 * 1024];
            while !text.contains("\r\n0\r\n\r\n") {
                let read = socket.read(&mut buffer).await.expect("an orderly end");
                assert!(read > 0, "an orderly end");
                text += std::str::from_utf8(&buffer[..read]).expect("text");
            }
        });
        read.await.expect("the stream ends");
        let numbers: Vec<u64> = text
            .lines()
            .filter_map(|line| line.strip_prefix("id: "))
            .map(|id| id.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).expect("a number"))
            .collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        assert!(numbers.len() < 4_000, "{} events were kept for a reader that does not read", numbers.len());
    });
}

#[test]
fn a_relay_that_vanishes_is_noticed_and_heard_again() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone()).await;
        let sender = world.sender().build().expect("a valid target");
        let mut events = sender.presence_events();
        assert!(matches!(events.next().await, Ok(PresenceEvent::Present(_))));
        let network = sim.network();
        network.blackhole(SENDER, RELAY);
        let lost = sim.elapsed();
        assert!(matches!(events.next().await, Ok(PresenceEvent::Interrupted { .. })));
        assert!((15..=60).contains(&(sim.elapsed() - lost).as_secs()), "{:?}", sim.elapsed() - lost);
        let listener = RawListener::open(&world, HOUR).await;
        network.heal(SENDER, RELAY);
        loop {
            match events.next().await.expect("it goes on") {
                PresenceEvent::Interrupted { .. } => {}
                event => break assert!(matches!(event, PresenceEvent::Restored), "{event:?}"),
            }
        }
        assert!(matches!(events.next().await, Ok(PresenceEvent::Connected { count: 1, .. })));
        drop(listener);
        assert!(matches!(events.next().await, Ok(PresenceEvent::Disconnected { count: 0, .. })));
    });
}
