//! Rejections: what the listener says is what the sender's status line says (protocol.md 4.4, 10.2 point 5).

use hybridrelay::{ErrorKind, Listener};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{self, Invitation, RawListener};
use hybridrelay_tests::wire::raw::{Answer, Door};
use hybridrelay_tests::wire::setup::{self, HYCO};

#[tokio::test]
async fn a_rejection_reaches_the_sender_exactly_and_the_listener_sees_success() {
    for relay in setup::plain_and_tls().await {
        let listener: Listener = setup::listener(&relay, HYCO).soon().await.unwrap();
        let sender = setup::sender(&relay, HYCO).build().unwrap();
        for (status, reason) in [(451, "Not for you"), (200, "OK?"), (999, "+ & = % ? #"), (302, "")] {
            let (connected, rejected) = tokio::join!(sender.connect().soon(), async {
                setup::incoming(&listener).await.reject(status, reason).soon().await
            });
            rejected.unwrap();
            let error = connected.unwrap_err();
            assert_eq!((error.kind(), error.status()), (ErrorKind::Rejected, Some(status)));
            assert_eq!(error.reason().unwrap_or_default(), reason);
            assert!(error.tracking_id().is_some());
            assert!(!error.is_retryable() || status >= 500);
        }
        let (connected, rejected) = tokio::join!(sender.connect().soon(), async {
            setup::incoming(&listener).await.reject(500, "grün\r\nX: y").soon().await
        });
        rejected.unwrap();
        let error = connected.unwrap_err();
        assert_eq!((error.reason(), error.is_retryable()), (Some("gr%C3%BCnX: y"), true));
    }
}

#[tokio::test]
async fn a_status_that_cannot_be_is_refused_locally_and_the_sender_is_rejected_with_503() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    for status in [0, 101, 199, 1000] {
        let (connected, rejected) = tokio::join!(sender.connect().soon(), async {
            setup::incoming(&listener).await.reject(status, "x").soon().await
        });
        assert_eq!(rejected.unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(connected.unwrap_err().status(), Some(503));
    }
}

/// A sender that is rejected by a raw listener: the sender's answer and the listener's.
async fn rejected(rest: &str, more: impl Fn(&Invitation) -> String) -> (Answer, Answer) {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let mut control = RawListener::open(&relay).await;
    tokio::join!(peers::connect(&relay, rest).send(&door), async {
        let invitation = control.invitation().await;
        invitation.dial_with(&more(&invitation)).await
    })
}

#[tokio::test]
async fn both_spellings_of_a_rejection_are_understood() {
    for more in [
        "&sb-hc-statusCode=451&sb-hc-statusDescription=Not+for+you",
        "&sb-hc-statusCode=451&sb-hc-statusDescription=Not%20for%20you",
        "&SB-HC-STATUSCODE=451&SB-HC-STATUSDESCRIPTION=Not+for+you",
        "&sb-hc-statusDescription=Not+for+you&sb-hc-statusCode=451",
        "&statusCode=451&statusDescription=Not%20for%20you",
        "&statusCode=451&statusDescriptionNot%20for%20you",
    ] {
        let (sender, listener) = rejected("", |_| more.to_owned()).await;
        assert_eq!(sender.status_line, "HTTP/1.1 451 Not for you", "{more}");
        assert!(sender.header("trackingid").is_some_and(|id| id.ends_with("_G0")));
        assert_eq!(listener.status, 410, "{more}");
        assert!(listener.reason.contains("TrackingId:"));
    }
    let (sender, listener) = rejected("", |_| "&statusCode=404&statusDescriptionundefined".to_owned()).await;
    assert_eq!((sender.status_line.as_str(), listener.status), ("HTTP/1.1 404 undefined", 410));
}

#[tokio::test]
async fn a_rejection_without_a_description_has_a_status_line_all_the_same() {
    let (sender, listener) = rejected("", |_| "&sb-hc-statusCode=404".to_owned()).await;
    assert_eq!((sender.status, listener.status), (404, 410));
    assert!(sender.status_line.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_senders_own_status_code_is_no_rejection() {
    for rest in ["?statusCode=5", "?x=1&statusCode=451&statusDescription=no", "?sb-hc-statusCode=451"] {
        let (sender, listener) = rejected(rest, |_| String::new()).await;
        assert_eq!((sender.status, listener.status), (101, 101), "{rest}");
    }
    // Not even where the listener does reject.
    let (sender, listener) = rejected("?statusCode=5", |_| "&sb-hc-statusCode=451".to_owned()).await;
    assert_eq!((sender.status, listener.status), (451, 410));
}

#[tokio::test]
async fn statuses_outside_200_to_999_are_400_both_ways() {
    for status in ["101", "199", "1000", "0", "-451", "abc", ""] {
        for prefix in ["sb-hc-", ""] {
            let (sender, listener) = rejected("", |_| format!("&{prefix}statusCode={status}")).await;
            assert_eq!((sender.status, listener.status), (400, 400), "{prefix}{status}");
        }
    }
}

#[tokio::test]
async fn a_description_can_neither_break_the_status_line_nor_flood_it() {
    let (sender, listener) = rejected("", |_| {
        format!("&sb-hc-statusCode=403&sb-hc-statusDescription=a%0D%0ASet-Cookie:%20x=1%00{}", "b".repeat(2000))
    })
    .await;
    assert_eq!((sender.status, listener.status), (403, 410));
    assert!(sender.reason.starts_with("aSet-Cookie: x=1bbb") && sender.reason.len() <= 512);
    assert_eq!(sender.header("set-cookie"), None);
}

#[tokio::test]
async fn a_rejection_ends_the_connect_although_another_listener_is_there() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let (mut one, mut other) = (RawListener::open(&relay).await, RawListener::open(&relay).await);
    let (sender, listener) = tokio::join!(peers::connect(&relay, "").send(&door), async {
        let invitation = tokio::select! {
            invitation = one.invitation() => invitation,
            invitation = other.invitation() => invitation,
        };
        invitation.dial_with("&sb-hc-statusCode=503&sb-hc-statusDescription=full").await
    });
    assert_eq!((sender.status_line.as_str(), listener.status), ("HTTP/1.1 503 full", 410));
}

#[tokio::test]
async fn a_rejected_socket_can_be_used_again() {
    let relay = setup::plain().await;
    let door = Door::from(&relay);
    let mut control = RawListener::open(&relay).await;
    let ask = peers::connect(&relay, "");
    let (sender, _) = tokio::join!(ask.clone().send(&door), async {
        control.invitation().await.dial_with("&sb-hc-statusCode=404").await
    });
    let mut socket = sender.into_socket();
    let (again, mut accepted) = tokio::join!(
        async {
            ask.write(&door, &mut socket).await;
            Answer::read(socket).await
        },
        control.accept()
    );
    let mut sender = again.websocket();
    sender.send(&hybridrelay_tests::wire::raw::text("second try")).await;
    assert_eq!(accepted.text().await, "second try");
}
