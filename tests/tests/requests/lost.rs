//! Listeners that are killed and relays that go, with requests under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use http::{Request, Response};
use hybridrelay::{Body, Error, ErrorKind, Sender};
use hybridrelay_relay::LocalRelay;
use hybridrelay_tests::program::Program;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::setup::{self, HYCO, plain, until};
use tokio::process::Command;

use super::common::LIMIT;
use super::round::{answer, pair};

/// A listener in a process of its own that answers nothing, or only the beginning.
pub(crate) async fn holding(relay: &LocalRelay) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_request-listener"));
    command.env("HYBRIDRELAY_CONNECTION_STRING", relay.connection_string(HYCO));
    let program = Program::start("request-listener", &mut command);
    program.expect("online").await;
    program
}

#[tokio::test]
async fn a_listener_that_is_killed_fails_what_waits_for_it_and_breaks_off_what_it_had_begun() {
    let relay = plain().await;
    let program = holding(&relay).await;
    let sender = setup::sender(&relay, HYCO).build().unwrap();
    let ask = |request: Request<Body>| {
        let sender = sender.clone();
        tokio::spawn(async move { sender.request(request).soon().await })
    };
    let chunked = || Body::from_stream(stream::iter([Ok::<_, Error>(vec![1; 100_000]), Ok(vec![2; 100_000])]));
    let mut waiting = Vec::new();
    for _ in 0..20 {
        // On the control channel, without and with a body; and at a rendezvous.
        for body in [Body::empty(), "short".into(), chunked()] {
            waiting.push(ask(Request::post("/hold").body(body).unwrap()));
        }
    }
    let mut begun = Vec::new();
    for _ in 0..20 {
        begun.push(ask(Request::get("/stream").body(Body::empty()).unwrap()));
    }
    for _ in 0..waiting.len() + begun.len() {
        program.expect("asked").await;
    }
    let mut bodies = Vec::new();
    for response in begun {
        let mut body = response.soon().await.unwrap().unwrap().into_body();
        assert_eq!(body.chunk().soon().await.unwrap().unwrap(), "begun");
        bodies.push(body);
    }
    program.kill().await;
    for one in waiting {
        // The relay would give up by itself, but with 504.
        let error = one.soon().await.unwrap().unwrap_err();
        assert_eq!((error.status(), error.is_retryable()), (Some(502), true), "{error}");
    }
    for mut body in bodies {
        assert_eq!(body.chunk().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    }
    relay.watch_listeners(HYCO).wait_for(|count| *count == 0).soon().await.unwrap();
    let nobody = sender.request(Request::get("/").body(()).unwrap()).soon().await.unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NoListeners);
}

/// How many ask all the time.
const ASKERS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_starts_anew_under_load_costs_only_what_was_under_way() {
    let mut relay = plain().await;
    let (listener, sender) = pair(&relay).await;
    answer(&listener, |request, responder| async move {
        // An answer that finds no way back was lost with its request.
        if let Ok(body) = request.into_body().bytes(LIMIT).soon().await {
            let _ = responder.send(Response::new(body)).soon().await;
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let answered: Arc<[AtomicUsize; ASKERS]> = Arc::default();
    let askers: Vec<_> = (0..ASKERS)
        .map(|asker| tokio::spawn(keep_asking(sender.clone(), asker, answered.clone(), stop.clone())))
        .collect();
    let everybody_is_served = async || {
        let before: Vec<_> = answered.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        until(|| answered.iter().zip(&before).all(|(now, before)| now.load(Ordering::SeqCst) >= before + 5)).await;
    };
    everybody_is_served().await;
    for graceful in [false, true, false] {
        let (port, key) = (relay.local_addr().port(), relay.key().to_owned());
        if graceful {
            relay.shutdown(Duration::from_secs(10)).soon().await;
        } else {
            drop(relay);
        }
        relay = setup::again(port, &key).await;
        everybody_is_served().await;
    }
    stop.store(true, Ordering::SeqCst);
    for asker in askers {
        asker.soon().await.unwrap();
    }
}

/// Asks again and again, with bodies for both ways of delivery, and judges every answer.
async fn keep_asking(sender: Sender, asker: usize, answered: Arc<[AtomicUsize; ASKERS]>, stop: Arc<AtomicBool>) {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let size = if number % 4 == 0 { 100_000 } else { 100 };
        let body: Vec<u8> = format!("{asker} {number} ").into_bytes().into_iter().cycle().take(size).collect();
        let request = Request::post("/").body(body.clone()).unwrap();
        let outcome = match sender.request(request).soon().await {
            Ok(response) => {
                assert_eq!(response.status(), 200);
                response.into_body().bytes(LIMIT).soon().await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(echoed) => {
                assert!(echoed == body, "an answer to another request");
                answered[asker].fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                use ErrorKind::{ConnectionLost, EndpointNotFound, Network, NoListeners};
                // Nobody there, or nobody behind it, or not any more; and a relay that is new knows no hybrid connection yet.
                let expected = matches!(error.kind(), ConnectionLost | EndpointNotFound | Network | NoListeners)
                    || matches!(error.status(), Some(502 | 503));
                assert!(expected, "{error:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
