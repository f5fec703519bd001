//! Senders that go, listeners that are full or close.

use http::Response;
use hybridrelay::{ErrorKind, Incoming};
use hybridrelay_tests::wire::Soon;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::common::{FEATURES, ID, Stage, ends_well, message, response};

#[tokio::test]
async fn a_cancel_message_reaches_whoever_makes_the_answer() {
    let mut stage = Stage::set(FEATURES).await;
    stage.ask("GET", "/hyco").await;
    let (request, responder) = stage.taken().await;
    let cancellation = responder.cancellation();
    assert!(!cancellation.is_cancelled());
    stage.control.command(json!({"cancel": {"requestId": "somebody else's"}})).await;
    stage.control.command(json!({"cancel": {"requestId": ID}})).await;
    cancellation.cancelled().soon().await;
    assert!(request.extensions().get::<hybridrelay::Cancellation>().unwrap().is_cancelled());
    let error = responder.send(Response::new("nobody waits")).soon().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
}

#[tokio::test]
async fn whoever_waits_for_a_sender_to_go_is_woken_by_its_answer() {
    let mut stage = Stage::set(FEATURES).await;
    stage.ask("GET", "/hyco").await;
    let (_, responder) = stage.taken().await;
    let cancellation = responder.cancellation();
    responder.send(Response::new("an answer")).soon().await.unwrap();
    cancellation.cancelled().soon().await;
    assert!(!cancellation.is_cancelled());
}

#[tokio::test]
async fn a_rendezvous_that_closes_is_a_sender_that_has_gone() {
    let mut stage = Stage::set("").await;
    let mut rendezvous = stage.invite("/hyco").await;
    rendezvous.send(Message::binary(b"body".to_vec())).await;
    let (request, responder) = stage.taken().await;
    assert_eq!(request.into_body().bytes(9).soon().await.unwrap(), "body");
    let mut writer = responder.start(Response::new(())).unwrap();
    writer.flush().soon().await.unwrap();
    assert!(rendezvous.message().await.is_text());
    let cancellation = writer.cancellation().unwrap();
    let closing = tokio::spawn(rendezvous.close(1001, "the sender has gone"));
    cancellation.cancelled().soon().await;
    assert_eq!(writer.write("more").soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    drop(writer);
    closing.soon().await.unwrap();
}

#[tokio::test]
async fn a_relay_that_closes_behind_a_whole_answer_is_no_sender_that_has_gone() {
    let mut stage = Stage::set("").await;
    let mut rendezvous = stage.invite("/hyco").await;
    rendezvous.send(Message::binary(b"body".to_vec())).await;
    let (_, responder) = stage.taken().await;
    let mut writer = responder.start(Response::builder().status(204).body(()).unwrap()).unwrap();
    let cancellation = writer.cancellation().unwrap();
    writer.flush().soon().await.unwrap();
    assert!(rendezvous.message().await.is_text());
    let closing = tokio::spawn(rendezvous.close(1000, ""));
    writer.finish().soon().await.unwrap();
    closing.soon().await.unwrap();
    cancellation.cancelled().soon().await;
    assert!(!cancellation.is_cancelled());
}

#[tokio::test]
async fn with_the_control_channel_everything_is_lost_that_it_delivered_and_nothing_else() {
    let mut stage = Stage::set(FEATURES).await;
    let mut other = message(&stage.address(), "GET", "/hyco/lost", false);
    other["request"]["id"] = "another".into();
    stage.control.command(other).await;
    let (_, lost) = stage.taken().await;
    stage.ask("GET", "/hyco/moved").await;
    let (_, moved) = stage.taken().await;
    let mut moved = moved.start(Response::new(())).unwrap();
    let (flushed, mut rendezvous) = tokio::join!(moved.flush().soon(), stage.fake.admit());
    flushed.unwrap();
    assert!(rendezvous.message().await.is_text());

    drop(stage.control);
    lost.cancellation().cancelled().soon().await;
    assert_eq!(lost.send(Response::new("x")).soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    moved.write("still there").soon().await.unwrap();
    moved.finish().soon().await.unwrap();
    assert_eq!(rendezvous.message().await.into_data(), "still there");
}

#[tokio::test]
async fn over_its_limit_a_listener_refuses_with_503_and_takes_on_again_what_it_can() {
    let mut stage = Stage::set_with(FEATURES, |builder| builder.max_concurrent(1)).await;
    stage.ask_with("/hyco", b"first").await;
    let (first, responder) = stage.taken().await;

    stage.ask_with("/hyco", b"second").await;
    let seen = response(&mut stage.control).await;
    assert_eq!((seen.status(), seen.header("Retry-After").as_str()), (503, Some("1")));
    let mut rendezvous = stage.invite("/hyco").await;
    let seen = response(&mut rendezvous).await;
    assert_eq!((seen.status(), seen.header("Retry-After").as_str()), (503, Some("1")));
    assert!(ends_well(&mut rendezvous).await);

    let (sent, seen) =
        tokio::join!(responder.send(Response::new(first.into_body())).soon(), response(&mut stage.control));
    sent.unwrap();
    assert_eq!(seen.body.unwrap(), "first");
    stage.ask_with("/hyco", b"third").await;
    assert_eq!(stage.taken().await.0.into_body().bytes(9).soon().await.unwrap(), "third");
}

#[tokio::test]
async fn a_listener_that_closes_answers_who_waits() {
    let mut stage = Stage::set(FEATURES).await;
    stage.ask("GET", "/hyco").await;
    stage.ask("GET", "/hyco").await;
    // The first shows that the second is about to be there.
    let (_, first) = stage.taken().await;
    stage.ask("GET", "/hyco").await;
    let (closed, ()) = tokio::join!(stage.listener.close().soon(), async {
        loop {
            match stage.control.message().await {
                Message::Text(text) => {
                    let message: serde_json::Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(message["response"]["statusCode"], 503, "{message}");
                }
                Message::Binary(_) => {}
                Message::Close(_) => break,
                other => panic!("{other:?}"),
            }
        }
    });
    let () = closed;
    assert_eq!(first.send(Response::new("too late")).soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    assert!(matches!(stage.listener.accept().soon().await, Ok(None) | Ok(Some(Incoming::Request(_)))));
}
