//! One-way requests as programs see them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use hybridrelay::{Body, Error, ErrorKind, Incoming, Listener, Sender};
use hybridrelay_relay::{Config, HttpSettings, LocalRelay};
use hybridrelay_tests::program::Program;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::fake::FakeRelay;
use hybridrelay_tests::wire::setup::{self, HYCO, entity, plain, plain_and_tls, until};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use super::common::{FEATURES, ID, LIMIT, Stage, response};
use super::lost::holding;
use super::round::pair;

/// A body for a number: those above 64 KiB do not fit the control channel.
fn body_of(number: usize) -> Vec<u8> {
    let size = [0, 10, 10_000, 65_536, 65_537, 150_000][number % 6];
    number.to_le_bytes().into_iter().cycle().take(size).collect()
}

fn post(path: String, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).expect("a request")
}

/// Who has got what, by the request's path.
type Got = Arc<Mutex<BTreeMap<String, Vec<&'static str>>>>;

/// Takes every request and answers some of them.
fn take(listener: &Listener, name: &'static str, got: &Got) {
    let (listener, got) = (listener.clone(), got.clone());
    tokio::spawn(async move {
        while let Ok(Some(Incoming::Request(request))) = listener.accept().await {
            assert!(request.is_one_way());
            let got = got.clone();
            tokio::spawn(async move {
                let (request, responder) = request.into_parts();
                let path = request.uri().path().to_owned();
                let number: usize = path[1..].parse().expect("a number");
                let body = request.into_body().bytes(LIMIT).soon().await.expect("a whole body");
                assert!(body == body_of(number), "request {number} is another's");
                got.lock().expect("nobody panics").entry(path).or_default().push(name);
                match number % 3 {
                    0 => drop(responder),
                    // A short answer, and one that takes a rendezvous.
                    1 => responder.send(Response::new("done")).soon().await.expect("it goes somewhere"),
                    _ => drop(responder.send(Response::new(vec![1; 200_000])).soon().await),
                }
            });
        }
    });
}

/// How many are sent, and how many at once.
const SENT: usize = 1_000;
const TOGETHER: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn each_of_a_thousand_reaches_exactly_one_of_two_listeners() {
    for relay in plain_and_tls().await {
        let mut http = HttpSettings::default();
        http.one_way_max = 1 << 20;
        assert!(relay.store().put_entity(relay.namespace(), entity(HYCO).with_http(http)));
        let (one, sender) = pair(&relay).await;
        let other = setup::listener(&relay, HYCO).soon().await.unwrap();
        let got = Got::default();
        take(&one, "one", &got);
        take(&other, "other", &got);
        let mut sending = JoinSet::new();
        for first in 0..TOGETHER {
            let sender = sender.clone();
            sending.spawn(async move {
                for number in (first..SENT).step_by(TOGETHER) {
                    let sent = sender.send_one_way(post(format!("/{number}"), body_of(number))).soon().await.unwrap();
                    assert_eq!(sent.listeners(), 1);
                    assert!(sent.tracking_id().len() > 36, "{sent:?}");
                }
            });
        }
        while let Some(sent) = sending.join_next().soon().await {
            sent.unwrap();
        }
        // Handed over is not yet read.
        until(|| got.lock().unwrap().len() == SENT).await;
        let got = got.lock().unwrap();
        assert!(got.values().all(|listeners| listeners.len() == 1), "each once");
        for name in ["one", "other"] {
            let share = got.values().filter(|listeners| listeners[0] == name).count();
            assert!(share > SENT / 4, "{name} got {share}");
        }
    }
}

#[tokio::test]
async fn why_it_was_not_sent_is_told_by_kind() {
    let relay = plain().await;
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    assert!(relay.store().put_entity(relay.namespace(), entity(HYCO)));
    let failed = async |sender: &Sender, body: Vec<u8>| {
        sender.send_one_way(post("/x".to_owned(), body)).soon().await.expect_err("it fails")
    };
    assert_eq!(failed(&sender, vec![]).await.kind(), ErrorKind::NoListeners);
    let _listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let error = failed(&sender, vec![1; 65_537]).await;
    assert_eq!((error.kind(), error.status(), error.is_retryable()), (ErrorKind::MessageTooLarge, Some(413), false));
    assert!(error.tracking_id().is_some(), "{error}");
    let absolute = Request::post("http://elsewhere/").body(()).unwrap();
    assert_eq!(sender.send_one_way(absolute).soon().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let nowhere = setup::sender(&relay, "nowhere").build().unwrap();
    assert_eq!(failed(&nowhere, vec![]).await.kind(), ErrorKind::EndpointNotFound);
}

#[tokio::test]
async fn a_relay_that_knows_none_is_recognised_by_its_answer() {
    let fake = FakeRelay::start().await;
    let sender = Sender::new(fake.connection_string()).unwrap();
    for (status, headers) in [
        ("200 OK", "Via: 1.1 azure\r\n"),
        ("202 Accepted", ""),
        ("404 Not Found", "Via: 1.1 azure\r\n"),
        ("202 Accepted", "Via: 1.1 azure\r\nRelay-Delivery: one-way\r\n"),
    ] {
        let answering = async {
            let visitor = fake.visitor().await;
            assert_eq!(visitor.header("relay-delivery"), Some("one-way"));
            visitor.refuse(status, &format!("Connection: close\r\n{headers}"), "").await;
        };
        let (sent, ()) = tokio::join!(sender.send_one_way(post("/x".to_owned(), ())).soon(), answering);
        let error = sent.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{status} {headers}");
        assert!(error.to_string().contains("one-way requests") && !error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn only_a_relay_that_knows_our_features_says_that_a_request_is_one_way() {
    for features in [FEATURES, ""] {
        let mut stage = Stage::set(features).await;
        let request = json!({
            "address": stage.address(), "id": ID, "requestTarget": "/hyco/x", "method": "POST",
            "requestHeaders": {"Relay-Delivery": "one-way"}, "body": false,
        });
        stage.control.command(json!({ "request": request })).await;
        let request = stage.incoming().await;
        assert_eq!(request.is_one_way(), !features.is_empty());
        let (request, responder) = request.into_parts();
        assert_eq!(request.headers()["relay-delivery"], "one-way");
        assert_eq!(responder.is_one_way(), !features.is_empty());
        drop(responder);
        assert_eq!(response(&mut stage.control).await.status(), if features.is_empty() { 500 } else { 202 });
    }
}

/// Sends numbers up to `until`, and returns those that were handed over.
async fn send_numbers(sender: &Sender, numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut handed = Vec::new();
    for number in numbers {
        match sender.send_one_way(post(format!("/{number}"), body_of(number))).soon().await {
            Ok(_) => handed.push(format!("/{number}")),
            // Whoever dies with a part of it.
            Err(error) => assert_eq!((error.status(), error.is_retryable()), (Some(502), true), "{error}"),
        }
    }
    handed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_killed_loses_only_what_it_had_and_the_other_gets_the_rest() {
    let relay = plain().await;
    let mut http = HttpSettings::default();
    http.one_way_max = 1 << 20;
    assert!(relay.store().put_entity(relay.namespace(), entity(HYCO).with_http(http)));
    let program = holding(&relay).await;
    let (listener, sender) = pair(&relay).await;
    let got = Got::default();
    take(&listener, "survivor", &got);
    let sending = tokio::spawn(async move { (send_numbers(&sender, 0..400).await, sender) });
    // It has some of them when it is killed, and more are on their way to it.
    for _ in 0..50 {
        program.expect("asked").await;
    }
    program.kill().await;
    let (handed, sender) = sending.soon().await.unwrap();
    relay.watch_listeners(HYCO).wait_for(|count| *count == 1).soon().await.unwrap();
    let later = send_numbers(&sender, 400..600).await;
    assert_eq!(later.len(), 200, "nothing is lost any more");
    until(|| later.iter().all(|path| got.lock().unwrap().contains_key(path))).await;
    let got = got.lock().unwrap();
    assert!(got.values().all(|listeners| listeners.len() == 1), "each once");
    assert!(got.keys().all(|path| handed.contains(path) || later.contains(path)), "nothing was told to have failed");
    assert!(handed.len() >= 350, "{} of 400 were handed over", handed.len());
}

#[tokio::test]
async fn a_listener_that_is_stopped_is_not_said_to_have_more_than_its_sockets_hold() {
    let mut config = Config::default();
    config.timings.write_stall = Duration::from_secs(1);
    let relay = LocalRelay::builder().config(config).start().soon().await.unwrap();
    let program: Program = holding(&relay).await;
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    program.signal(Signal::SIGSTOP);
    let refused: Error = loop {
        match sender.send_one_way(post("/x".to_owned(), vec![1; 65_536])).soon().await {
            Ok(sent) => assert_eq!(sent.listeners(), 1),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused.status(), Some(503 | 504)) && refused.is_retryable(), "{refused}");
    program.signal(Signal::SIGCONT);
    // It comes back by itself if it was given up.
    loop {
        match sender.send_one_way(post("/again".to_owned(), "x")).soon().await {
            Ok(_) => break,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    while program.expect("asked").await["path"] != "/again" {}
}
