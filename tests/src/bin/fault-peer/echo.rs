//! A listener that sends everything back, and senders that hold connections to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hybridrelay::{Connection, Error, Incoming, Listener};
use hybridrelay_tests::faults::site::Target;
use hybridrelay_tests::faults::{now, tell};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How many connections are opened at once.
const AT_ONCE: usize = 10;

/// What a busy connection exchanges.
const BUSY_SIZE: usize = 16 * 1024;

/// A call on a connection that has ended returns at once; later than this, it hangs.
const HANGS: Duration = Duration::from_secs(10);

/// The listeners' ends of connections.
#[derive(Default)]
pub(super) struct Echo {
    open: AtomicU64,
    failed: AtomicU64,
    closed: AtomicU64,
}

impl Echo {
    /// Accepts everybody, to the listener's end.
    pub(super) async fn serve(self: Arc<Self>, listener: Listener) {
        while let Ok(Some(incoming)) = listener.accept().await {
            let echo = self.clone();
            tokio::spawn(async move {
                if let Incoming::Connect(connect) = incoming
                    && let Ok(connection) = connect.accept().await
                {
                    echo.open.fetch_add(1, Ordering::Relaxed);
                    let ended = match send_back(&connection).await {
                        Ok(()) => &echo.closed,
                        Err(_) => &echo.failed,
                    };
                    ended.fetch_add(1, Ordering::Relaxed);
                    echo.open.fetch_sub(1, Ordering::Relaxed);
                }
            });
        }
    }

    /// How many are open, and how the others have ended.
    pub(super) fn ends(&self, id: &str) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (open, failed, closed) = (count(&self.open), count(&self.failed), count(&self.closed));
        json!({"event": "ends", "id": id, "open": open, "failed": failed, "closed": closed})
    }
}

async fn send_back(connection: &Connection) -> Result<(), Error> {
    while let Some(message) = connection.receive().await? {
        connection.send(message).await?;
    }
    connection.close().await
}

/// Opens connections, tells `held` when all are there, and `ended` with how they have ended when none is left.
pub(super) async fn hold(id: String, target: Target, count: usize, busy: usize) {
    let sender = target.sender().build().expect("the options are right");
    let mut connections = Vec::new();
    while connections.len() < count {
        let more = (count - connections.len()).min(AT_ONCE);
        let opening = (0..more).map(|_| async {
            let connection = sender.connect().await.expect("the listener accepts");
            super::exchange(&connection, BUSY_SIZE).await.expect("the listener sends back");
            connection
        });
        connections.extend(futures_util::future::join_all(opening).await);
    }
    let mut held = JoinSet::new();
    for (number, connection) in connections.into_iter().enumerate() {
        held.spawn(until_it_ends(connection, number < busy));
    }
    tell(&json!({"event": "held", "id": id}));
    let ends = held.join_all().await;
    let count = |end: &str| ends.iter().filter(|found| **found == end).count();
    tell(&json!({
        "event": "ended", "id": id, "at": now(),
        "aborted": count("aborted"), "closed": count("closed"), "hanging": count("hanging"),
    }));
}

/// Exchanges payloads or waits for one, until the connection ends.
async fn until_it_ends(connection: Connection, busy: bool) -> &'static str {
    let end = loop {
        if busy {
            if super::exchange(&connection, BUSY_SIZE).await.is_err() {
                // What is waited for tells how it has ended.
                break connection.receive().await;
            }
        } else {
            match connection.receive().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        }
    };
    let afterwards = async {
        let _ = connection.send("too late").await;
        let _ = connection.receive().await;
        let _ = connection.flush().await;
        let _ = connection.close().await;
    };
    match (tokio::time::timeout(HANGS, afterwards).await, end) {
        (Err(_), _) => "hanging",
        (Ok(()), Ok(_)) => "closed",
        (Ok(()), Err(_)) => "aborted",
    }
}
