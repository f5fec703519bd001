//! The native `WebSocket` of a page in Chromium. Its `fetch` is in [`cors`](super::cors).

use hybridrelay_tests::payload::{self, Kind};
use serde_json::json;

use crate::end::End;
use crate::relay::{ENTITY, TestRelay, next_sender};
use crate::stacks;

const SIZES: [usize; 7] = [0, 1, 125, 126, 65_535, 65_537, 1 << 20];

#[tokio::test]
async fn a_page_exchanges_messages_with_our_listener() {
    let (relay, home) = (TestRelay::start().await, tempfile::tempdir().expect("a directory"));
    let listener = relay.listener().await.expect("online");
    let page = stacks::page(&relay, home.path()).await;

    let connect = json!({"url": relay.sender_url_with_token(ENTITY), "protocols": ["a", "b"]});
    let ((mut theirs, agreed), ours) = tokio::join!(End::open(&page, connect), async {
        next_sender(&listener).await.accept().await.expect("accepted")
    });
    assert_eq!((agreed.as_deref(), ours.subprotocol()), (Some("a"), Some("a")));
    let mut ours = End::Sdk(ours);

    for (sent_as, kind, received_as) in
        [("text", Kind::Text, "String"), ("blob", Kind::Binary, "Blob"), ("arraybuffer", Kind::Binary, "ArrayBuffer")]
    {
        if received_as != "String" {
            theirs.command(json!({"do": "receive", "as": sent_as})).await;
        }
        for size in SIZES {
            let expected = payload::digested(&payload::message(kind, size));
            theirs.command(json!({"do": "send", "kind": sent_as, "size": size})).await;
            assert_eq!(ours.receive().await, expected, "sent as {sent_as}");

            ours.send(kind, size).await;
            let event = theirs.event("message").await;
            assert_eq!(event["as"], received_as);
            assert_eq!(event["size"], expected.size);
            assert_eq!(event["sha256"], expected.sha256);
        }
    }
    page.finish().await;
}

#[tokio::test]
async fn a_page_sees_how_our_listener_closes_and_is_seen_closing() {
    let (relay, home) = (TestRelay::start().await, tempfile::tempdir().expect("a directory"));
    let listener = relay.listener().await.expect("online");
    let page = stacks::page(&relay, home.path()).await;
    let connected = async |id: &str| {
        let connect = json!({"id": id, "url": relay.sender_url_with_token(ENTITY)});
        tokio::join!(End::open(&page, connect), async {
            next_sender(&listener).await.accept().await.expect("accepted")
        })
    };

    let ((mut theirs, _), ours) = connected("closed").await;
    let (closing, seen) = tokio::join!(ours.close_with(4001, "fertig – das war's"), theirs.event("closed"));
    closing.expect("closed");
    assert_eq!((&seen["code"], &seen["reason"]), (&json!(4001), &json!("fertig – das war's")));
    assert_eq!(seen["wasClean"], true);

    let ((mut theirs, _), ours) = connected("closes").await;
    let mut ours = End::Sdk(ours);
    let (seen, ()) = tokio::join!(ours.closed_by_peer(), theirs.close(4002, "genug"));
    assert_eq!(seen, (4002, "genug".to_owned()));
    assert_eq!(theirs.event("closed").await["wasClean"], true);
    page.finish().await;
}

/// Browsers tell a page nothing about a refused handshake but that it failed.
#[tokio::test]
async fn a_page_without_a_valid_token_does_not_get_in() {
    let (relay, home) = (TestRelay::start().await, tempfile::tempdir().expect("a directory"));
    let listener = relay.listener().await.expect("online");
    let page = stacks::page(&relay, home.path()).await;

    let refused = End::refused(&page, json!({"id": "1", "url": relay.sender_url(ENTITY)})).await;
    assert_eq!((&refused["code"], &refused["wasClean"]), (&json!(1006), &json!(false)));

    // The one that has a token is the first that the listener hears of.
    let connect = json!({"id": "2", "url": relay.sender_url_with_token(&format!("{ENTITY}/second"))});
    let (_theirs, _ours) = tokio::join!(End::open(&page, connect), async {
        let sender = next_sender(&listener).await;
        assert_eq!(sender.path(), "/second");
        sender.accept().await.expect("accepted")
    });
    page.finish().await;
}
