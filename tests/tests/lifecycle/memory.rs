//! A program that runs for long holds no more than one that has just begun.

use futures_util::{StreamExt, stream};
use hybridrelay_tests::conformance::Wanted;
use hybridrelay_tests::program::patiently;
use serde_json::{Value, json};

use crate::life::{Life, each_at};

/// Handshakes of TLS would take most of the time.
const PLAIN: Wanted = Wanted { own: true, plain: true, events: false };

const CONNECTIONS: usize = 10_000;

/// Open at the same time.
const PARALLEL: usize = 8;

/// What a half may add, in KiB: an allocator's whims, and nothing for each of the connections. A byte of each would be 5 KiB, a
/// handle with its buffers more than 5 MiB.
const MOST: u64 = 4 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_connections_leave_nothing_behind() {
    each_at(PLAIN, &["accept", "connect", "flat-memory", "plain"], |life| async move {
        let before = life.ask(json!({"op": "counters"})).await;
        life.ask(json!({"op": "open", "as": "listener"})).await;
        half(&life, "first").await;
        let first = life.ask(json!({"op": "counters"})).await;
        half(&life, "second").await;
        let second = life.ask(json!({"op": "counters"})).await;
        let resident = |counters: &Value| counters["rssKib"].as_u64().expect("a number");
        let grown = resident(&second).saturating_sub(resident(&first));
        println!("{}: {} KiB, then {} KiB", life.member.name, resident(&first), resident(&second));
        assert!(grown <= MOST, "{} has grown by {grown} KiB", life.member.name);
        // The last sockets may still be on their way out.
        let descriptors = |counters: &Value| counters["descriptors"].as_u64().expect("a number");
        let more = descriptors(&second).saturating_sub(descriptors(&first));
        assert!(more <= 2 * PARALLEL as u64, "{} has {more} more descriptors", life.member.name);
        life.ask(json!({"op": "close", "on": "listener"})).await;
        life.ask(json!({"op": "release", "on": "listener"})).await;
        let end = settled(&life, &before).await;
        assert_eq!(end["objects"], 0, "{}", life.member.name);
        if !life.lacks("live-handles") {
            assert_eq!(end["liveHandles"], 0, "{}", life.member.name);
        }
    })
    .await;
}

/// What the program holds when its tasks, if it counts them, are those that it had before.
async fn settled(life: &Life, before: &Value) -> Value {
    let settling = async {
        loop {
            let now = life.ask(json!({"op": "counters"})).await;
            if now["tasks"] == before["tasks"] {
                return now;
            }
        }
    };
    patiently("the end of every task", settling).await
}

/// Half of the connections. Each end closes some of them.
async fn half(life: &Life, name: &str) {
    let connections = (0..CONNECTIONS / 2).map(|number| async move {
        let (accepted, connection) = (format!("{name}-{number}-accepted"), format!("{name}-{number}-connection"));
        life.connect(&format!("{name}-{number}")).await;
        life.ask(json!({"op": "send", "on": connection, "size": 100})).await;
        tokio::join!(
            life.ask(json!({"op": "close", "on": accepted})),
            life.ask(json!({"op": "close", "on": connection})),
        );
        life.ask(json!({"op": "release", "on": accepted})).await;
        life.ask(json!({"op": "release", "on": connection})).await;
    });
    stream::iter(connections).buffer_unordered(PARALLEL).collect::<Vec<()>>().await;
}
