//! Many connections at once whose reader does not read for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hybridrelay::{Connection, Error, Incoming, Listener};
use hybridrelay_tests::faults::site::Target;
use hybridrelay_tests::faults::{now, tell};
use hybridrelay_tests::payload::hexadecimal;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// How much one message holds.
const PIECE: usize = 64 * 1024;

/// Accepts everybody and reads once `heard` is true; then tells each connection's path with the SHA-256 of its bytes.
pub(super) async fn hear(listener: Listener, id: String, heard: watch::Receiver<bool>) {
    while let Ok(Some(incoming)) = listener.accept().await {
        let (id, mut heard) = (id.clone(), heard.clone());
        tokio::spawn(async move {
            let Incoming::Connect(connect) = incoming else { return };
            let path = connect.path().to_owned();
            let connection = connect.accept().await.expect("the sender waits");
            if heard.wait_for(|heard| *heard).await.is_ok() {
                let sha256 = read_all(&connection).await.unwrap_or_else(|error| error.to_string());
                tell(&json!({"event": "heard", "id": id, "path": path, "sha256": sha256}));
            }
        });
    }
}

async fn read_all(connection: &Connection) -> Result<String, Error> {
    let mut hash = Sha256::new();
    while let Some(message) = connection.receive().await? {
        hash.update(message.as_bytes());
    }
    connection.close().await?;
    Ok(hexadecimal(&hash.finalize()))
}

/// Opens connections, sends `size` bytes over each at once, and tells each one's path with the SHA-256 of its bytes when it has
/// closed. Tells `stalled` when nothing moves any more on any of them.
pub(super) async fn flood(id: String, target: Target, count: usize, size: usize) {
    let sender = target.sender().build().expect("the options are right");
    let mut connections = Vec::new();
    for number in 0..count {
        let path = format!("/{number}");
        let connection = sender.connect().path(&path).await.expect("the listener accepts");
        connections.push((path, connection));
    }
    tell(&json!({"event": "open", "id": id}));
    let sent = Arc::new(AtomicU64::new(0));
    for (number, (path, connection)) in connections.into_iter().enumerate() {
        let (id, sent) = (id.clone(), sent.clone());
        tokio::spawn(async move {
            let sha256 = send_all(&connection, number, size, &sent).await.unwrap_or_else(|error| error.to_string());
            tell(&json!({"event": "flooded", "id": id, "path": path, "sha256": sha256}));
        });
    }
    // Only that nothing moves for a while shows that nothing moves; loopback moves a piece in a fraction of this.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let moved = sent.load(Ordering::Relaxed);
        if moved == before {
            break;
        }
        before = moved;
    }
    tell(&json!({"event": "stalled", "id": id, "at": now(), "sent": before}));
}

/// Sends bytes that repeat nowhere and are others on each connection.
async fn send_all(connection: &Connection, number: usize, size: usize, sent: &AtomicU64) -> Result<String, Error> {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let (mut hash, mut left) = (Sha256::new(), size);
    while left > 0 {
        let mut piece = vec![0; left.min(PIECE)];
        random.fill(&mut piece);
        hash.update(&piece);
        left -= piece.len();
        let len = piece.len();
        connection.send(piece).await?;
        sent.fetch_add(len as u64, Ordering::Relaxed);
    }
    connection.close().await?;
    Ok(hexadecimal(&hash.finalize()))
}
