//! Bodies of every size, by length and in chunks, both ways and on both paths (protocol.md 5.3, 5.4, 10.2).

use hybridrelay_tests::wire::peers::RawListener;
use hybridrelay_tests::wire::raw::{Framing, RawWebSocket, frame, op};
use hybridrelay_tests::wire::requests::{Asked, closed, respond};
use hybridrelay_tests::wire::setup;

use crate::common::{World, body};

const SIZES: [usize; 6] = [0, 1, 65_535, 65_536, 65_537, 1 << 20];

/// What the control channel takes (protocol.md 5.3 and 10, decision 22).
const TO_LISTENER: usize = 65_536;
const TO_SENDER: usize = 256 * 1024;

#[tokio::test]
async fn request_bodies_of_every_size_and_framing_arrive() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        for size in SIZES {
            for chunked in [false, true] {
                let sent = body(size);
                let ask = world.request("POST", "/x");
                let ask = if chunked { ask.chunked(&sent, 10_000) } else { ask.body(sent.clone()) };
                let by_control = !chunked && size <= TO_LISTENER;
                let (listener, sender, door) = (&mut world.listener, &mut world.sender, &world.door);
                let (_, (asked, ws)) = tokio::join!(sender.ask(door, &ask), take(listener));
                assert_eq!(ws.is_none(), by_control, "{size} bytes, chunked: {chunked}");
                // Of a body of unknown length nobody knows in time that it is empty.
                assert_eq!(asked.fields["body"], chunked || size > 0);
                assert!(asked.body.as_deref().unwrap_or_default() == sent, "{size} bytes, chunked: {chunked}");
                assert_eq!(asked.header("Content-Length"), None);
                assert_eq!(asked.header("Transfer-Encoding"), None);
                answer(listener, ws, &asked, b"done", 1).await;
                assert_eq!(world.sender.response().await.text(), "done");
            }
        }
        world.works().await;
    }
}

#[tokio::test]
async fn response_bodies_of_every_size_and_framing_arrive() {
    for relay in setup::plain_and_tls().await {
        let mut world = World::new(relay).await;
        for size in SIZES {
            for path in [Path::Control, Path::Upgraded, Path::Fetched] {
                if path == Path::Control && size > TO_SENDER {
                    continue;
                }
                for fragments in [1, 3] {
                    let ask = world.request("POST", "/x");
                    let ask = if path == Path::Fetched { ask.chunked(b"body", 4) } else { ask };
                    world.ask(&ask).await;
                    let (asked, mut ws) = take(&mut world.listener).await;
                    if path == Path::Upgraded {
                        ws = Some(asked.upgrade().await);
                    }
                    let sent = body(size);
                    let listener = &mut world.listener;
                    let (response, ()) =
                        tokio::join!(world.sender.response(), answer(listener, ws, &asked, &sent, fragments));
                    assert!(response.body == sent, "{size} bytes on {path:?} in {fragments} fragments");
                    let whole = path == Path::Control;
                    let framing = if whole { Framing::Length(size) } else { Framing::Chunked };
                    assert_eq!(response.framing(), framing, "{size} bytes on {path:?}");
                }
            }
        }
        world.works().await;
    }
}

/// Where a response goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Control,
    /// To the rendezvous, although the request came by the control channel.
    Upgraded,
    /// To the rendezvous at which the request was fetched.
    Fetched,
}

/// The next request with its body, and the rendezvous if it had to be fetched.
async fn take(listener: &mut RawListener) -> (Asked, Option<RawWebSocket>) {
    let asked = listener.request().await;
    if !asked.is_marker() {
        return (asked, None);
    }
    let (ws, asked) = asked.fetch().await;
    (asked, Some(ws))
}

/// Answers 200 with a body in so many fragments.
async fn answer(listener: &mut RawListener, ws: Option<RawWebSocket>, asked: &Asked, body: &[u8], fragments: usize) {
    let response = asked.response(200, true);
    let frames = fragmented(body, fragments);
    match ws {
        None => {
            respond(&mut listener.ws, response, None).await;
            listener.ws.send(&frames).await;
        }
        Some(mut ws) => {
            respond(&mut ws, response, None).await;
            ws.send(&frames).await;
            closed(&mut ws, 1000).await;
        }
    }
}

/// A binary message in so many frames.
fn fragmented(body: &[u8], fragments: usize) -> Vec<u8> {
    let size = body.len().div_ceil(fragments).max(1);
    let mut parts: Vec<&[u8]> = body.chunks(size).collect();
    parts.resize(fragments, &[]);
    let last = fragments - 1;
    let frames = parts.iter().enumerate().map(|(at, part)| {
        let opcode = if at == 0 { op::BINARY } else { op::CONTINUATION };
        frame(if at == last { 0x80 } else { 0 } | opcode, part)
    });
    frames.flatten().collect()
}
