//! Long bodies between a fast and a slow end: the fast one waits, and the relay holds next to nothing of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use hybridrelay::{Body, Error};
use hybridrelay_tests::payload::hexadecimal;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::process::RelayProcess;
use sha2::{Digest, Sha256};

use super::common::incoming;

const RELAY: &str = env!("CARGO_BIN_EXE_relay_process");

const PIECE: usize = 64 * 1024;
const BODY: usize = 64 << 20;

/// How much more memory the relay's process may hold while a body of 64 MiB stands still, KiB (relay/README.md).
const GROWTH: u64 = 2 * 1024;

/// A body that is made as it is taken, and how much of it was taken.
fn body() -> (Body, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let pieces = (0..BODY / PIECE).map(move |number| {
        counter.fetch_add(PIECE, Ordering::SeqCst);
        Ok::<_, Error>(piece(number))
    });
    (Body::from_stream(stream::iter(pieces)), taken)
}

fn piece(number: usize) -> Bytes {
    (number as u64..)
        .map(|word| word.wrapping_mul(0x9E37_79B9_7F4A_7C15))
        .flat_map(u64::to_le_bytes)
        .take(PIECE)
        .collect()
}

/// The hash of the whole body.
fn digest() -> String {
    let mut hash = Sha256::new();
    (0..BODY / PIECE).for_each(|number| hash.update(piece(number)));
    hexadecimal(&hash.finalize())
}

/// Reads a body to its end.
async fn digest_of(mut body: Body) -> String {
    let mut hash = Sha256::new();
    while let Some(chunk) = body.chunk().soon().await.expect("a whole body") {
        hash.update(&chunk);
    }
    hexadecimal(&hash.finalize())
}

/// Waits until nothing more is taken of a body that nobody reads. Loopback moves all of it in a fraction of that time.
async fn stands_still(taken: &AtomicUsize) {
    let standing = async {
        loop {
            let before = taken.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(500)).await;
            if before > 0 && taken.load(Ordering::SeqCst) == before {
                return;
            }
        }
    };
    standing.soon().await;
    assert!(taken.load(Ordering::SeqCst) < BODY, "nothing slows the writer down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_end_stops_the_fast_one_and_costs_the_relay_nothing() {
    let digest = digest();
    for tls in [false, true] {
        let mut relay = RelayProcess::start(RELAY, tls).await;
        let listener = relay.listener().soon().await.unwrap();
        let sender = relay.sender().build().unwrap();
        let mut before = None;
        // What is made once is made in the first round.
        for round in 0..2 {
            let (up, sent) = body();
            let asking = tokio::spawn({
                let sender = sender.clone();
                async move { sender.request(Request::post("/").body(up).unwrap()).soon().await }
            });
            let (request, responder) = incoming(&listener).await.into_parts();
            stands_still(&sent).await;
            let uploading = relay.vitals().await.resident;
            assert_eq!(digest_of(request.into_body()).await, digest);

            let (down, made) = body();
            let answering = tokio::spawn(async move { responder.send(Response::new(down)).soon().await });
            let response = asking.soon().await.unwrap().unwrap();
            stands_still(&made).await;
            let downloading = relay.vitals().await.resident;
            assert_eq!(digest_of(response.into_body()).await, digest);
            answering.soon().await.unwrap().unwrap();

            if let Some(before) = before {
                let grown = |now: u64| now.saturating_sub(before);
                let (up, down) = (grown(uploading), grown(downloading));
                println!(
                    "tls {tls}, round {round}: {up} KiB for a request, {down} KiB for a response that stands still"
                );
                assert!(up <= GROWTH && down <= GROWTH, "tls {tls}: {up} and {down} KiB");
            }
            before = Some(relay.vitals().await.resident);
        }
    }
}
