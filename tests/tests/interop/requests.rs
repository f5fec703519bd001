//! Relayed HTTP between the ends of all stacks: each listener answers each sender.

mod hyco_https;
pub(crate) mod listeners;
mod senders;

use hybridrelay_tests::payload::sha256;

use crate::relay::{ENTITY, TestRelay};
use listeners::RequestListener;
use senders::{Ask, Client, Senders};

const SIZES: [usize; 6] = [0, 1, 65_535, 65_536, 65_537, 1 << 20];

/// A value that HTTP allows and few send.
const TABBED: &str = "a\tb";

/// How a body travels: its size, and whether request and response tell it or come in chunks.
#[derive(Clone, Copy, Debug)]
struct Case {
    size: usize,
    chunked_request: bool,
    chunked_response: bool,
}

/// All 24 of them.
fn cases() -> impl Iterator<Item = Case> {
    let framings = [(false, false), (true, false), (false, true), (true, true)];
    SIZES.into_iter().flat_map(move |size| {
        framings.map(|(chunked_request, chunked_response)| Case { size, chunked_request, chunked_response })
    })
}

/// Bytes that are not all the same.
fn body(size: usize) -> Vec<u8> {
    (0..251).cycle().take(size).collect()
}

#[tokio::test]
async fn bodies_of_every_size_and_framing_go_to_our_listener_and_back() {
    let relay = TestRelay::start().await;
    let listener = RequestListener::ours(&relay).await;
    every_case(&relay, listener).await;
}

#[tokio::test]
async fn bodies_of_every_size_and_framing_go_to_hyco_https_and_back() {
    let relay = TestRelay::start().await;
    let listener = RequestListener::hyco_https(&relay).await;
    every_case(&relay, listener).await;
}

/// Every sender asks the listener in every way.
async fn every_case(relay: &TestRelay, mut listener: RequestListener) {
    let senders = Senders::start(relay).await;
    for client in Client::ALL {
        for case in cases() {
            let Case { size, chunked_request, chunked_response } = case;
            let what = format!("{client:?}, {case:?}");
            let path = if chunked_response { "/echo?pieces" } else { "/echo" };
            let sent = body(size);
            let ask = Ask { path, body: &sent, chunked: chunked_request, header: ("x-tab", TABBED) };
            let (got, asked) = tokio::join!(senders.ask(relay, client, &ask), listener.asked());
            let digest = (size, sha256(&sent));
            assert_eq!((asked.size, asked.sha256), digest, "{what}: what the listener got");
            assert_eq!((asked.url, asked.tab.as_deref()), (format!("/{ENTITY}{path}"), Some(TABBED)), "{what}");
            assert_eq!((got.status, got.via.as_deref()), (200, Some("1.1 localhost")), "{what}");
            assert_eq!((got.size, got.sha256), digest, "{what}: what the sender got");
        }
    }
    senders.finish().await;
    listener.finish().await;
}
