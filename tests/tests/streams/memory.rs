//! What a relay holds: little for each connection, and never more because a side does not read.

use std::pin::pin;
use std::time::Duration;

use hybridrelay::Connection;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers;
use hybridrelay_tests::wire::process::{RelayProcess, Vitals};
use hybridrelay_tests::wire::setup::{self, Ends};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

const RELAY: &str = env!("CARGO_BIN_EXE_relay_process");

/// How many pairs are measured at once: enough that what the process holds anyway is nothing beside it.
const PAIRS: usize = 200;

#[tokio::test]
async fn pairs_that_are_idle_or_stalled_cost_what_is_promised() {
    // KiB per pair: idle, and stalled in both directions.
    for (tls, idle, stalled) in [(false, 8, 2 * 128), (true, 32, 2 * 192)] {
        let mut relay = RelayProcess::start(RELAY, tls).await;
        relay.door = relay.door.with_kernel_buffers(8 * 1024);
        let mut control = relay.listen().await;
        // What is made once, such as threads and tables, is made before the measurement.
        let warm_up = relay.pair(&mut control).await;
        drop(peers::stall([warm_up]).await);
        until_no_connection(&mut relay).await;
        let mut pairs = Vec::new();
        let before = relay.vitals().await;
        for _ in 0..PAIRS {
            pairs.push(relay.pair(&mut control).await);
        }
        let quiet = relay.vitals().await;
        let pairs = peers::stall(pairs).await;
        let full = relay.vitals().await;
        assert_eq!(full.connections, PAIRS as u64);
        let per_pair = |vitals: Vitals| vitals.resident.saturating_sub(before.resident) / PAIRS as u64;
        println!("tls {tls}: {} KiB idle, {} KiB stalled per pair", per_pair(quiet), per_pair(full));
        assert!(per_pair(quiet) <= idle, "{} KiB for an idle pair", per_pair(quiet));
        assert!(per_pair(full) <= stalled, "{} KiB for a stalled pair", per_pair(full));
        drop(pairs);
    }
}

async fn until_no_connection(relay: &mut RelayProcess) {
    let ending = async {
        while relay.vitals().await.connections > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    ending.soon().await;
}

#[tokio::test]
async fn a_reader_that_stalls_stops_the_writer_and_gets_everything_in_the_end() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, listener } = setup::ends(&relay).await;
        let (second, accepted_second) = {
            let builder = setup::sender(&relay, setup::HYCO).build().unwrap();
            setup::meet(&builder, &listener).await
        };
        for (from, to) in [(sender, accepted), (accepted_second, second)] {
            let (stalled, stands_still) = oneshot::channel();
            let (sent, received) = tokio::join!(push(&from, stalled), async {
                stands_still.soon().await.unwrap();
                let mut hash = Sha256::new();
                while let Some(message) = to.receive().soon().await.unwrap() {
                    hash.update(message.as_bytes());
                }
                hash.finalize()
            });
            assert_eq!(sent, received);
        }
    }
}

/// Sends bytes that repeat nowhere, at least 16 MiB, until the writer stands still and 16 MiB more. Tells when it stands still and
/// returns the hash of all.
async fn push(connection: &Connection, stalled: oneshot::Sender<()>) -> sha2::digest::Output<Sha256> {
    let (mut hash, mut state, mut stalled, mut left) = (Sha256::new(), 1_u64, Some(stalled), 16);
    for number in 0..256 {
        let mut message = vec![0; 1 << 20];
        for word in message.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word.copy_from_slice(&state.to_le_bytes());
        }
        hash.update(&message);
        let mut sending = pin!(connection.send(message));
        tokio::select! {
            sent = &mut sending => sent.unwrap(),
            () = tokio::time::sleep(Duration::from_secs(1)), if stalled.is_some() => {
                stalled.take().unwrap().send(()).unwrap();
                sending.soon().await.unwrap();
            }
        }
        if stalled.is_none() && number >= 16 {
            left -= 1;
            if left == 0 {
                connection.shutdown().soon().await.unwrap();
                return hash.finalize();
            }
        }
    }
    panic!("nothing slows the writer down");
}

#[tokio::test]
async fn a_direction_that_stalls_does_not_hold_the_other_up() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        let stalled = setup::fill(&sender).await;
        assert!(stalled < 256 << 20);
        for number in 0..200_u8 {
            accepted.send(vec![number; 50_000]).soon().await.unwrap();
            assert!(sender.receive().soon().await.unwrap() == Some(vec![number; 50_000].into()));
        }
    }
}
