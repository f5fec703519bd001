//! Many requests at once: every one is answered, whole and by its own answer, and the relay holds little for each.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use hybridrelay::{Body, Listener, RemoteAddr, Responder, Sender};
use hybridrelay_tests::payload::sha256;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::process::RelayProcess;
use hybridrelay_tests::wire::setup::plain_and_tls;
use tokio::task::JoinSet;

use super::common::{LIMIT, incoming};
use super::round::{answer, pair};

const RELAY: &str = env!("CARGO_BIN_EXE_relay_process");

/// Requests that wait for the listener at once.
const WAITING: usize = 5_000;

/// How many a sender asks at once: its one HTTP/2 connection has room for 128.
const TOGETHER: usize = 125;

/// What the relay holds for a request that waits for its answer, KiB (relay/README.md).
const KIB_PER_REQUEST: u64 = 32;

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// By its own answer.
    Answered,
    /// 503, with the advice when to come again: the listener's or the relay's.
    ComeAgain,
}

async fn ask(sender: Sender, path: String) -> Outcome {
    match sender.request(get(&path)).soon().await {
        Ok(response) if response.status() == 503 => {
            assert_eq!(response.headers()["retry-after"], "1");
            Outcome::ComeAgain
        }
        Ok(response) => {
            assert_eq!(response.status(), 200);
            let body = response.into_body().bytes(99).soon().await.expect("a whole body");
            assert_eq!(body, path, "an answer to another request");
            Outcome::Answered
        }
        Err(error) => {
            assert_eq!(error.status(), Some(503), "{error}");
            assert!(error.retry_after().is_some() && error.is_retryable(), "{error}");
            Outcome::ComeAgain
        }
    }
}

/// Answers with the path that was asked for.
async fn answer_with_path((request, responder): (Request<Body>, Responder)) {
    let path = request.uri().path().to_owned();
    responder.send(Response::new(path)).soon().await.expect("the sender waits");
}

async fn taken(listener: &Listener) -> (Request<Body>, Responder) {
    incoming(listener).await.into_parts()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_wait_for_a_handler_of_four_and_those_beyond_are_told_to_come_again() {
    let mut relay = RelayProcess::start(RELAY, true).await;
    let listener = relay.listener().max_concurrent(WAITING).soon().await.unwrap();
    // What is made once is made before the measurement.
    let first = tokio::spawn(ask(relay.sender().build().unwrap(), "/first".to_owned()));
    answer_with_path(taken(&listener).await).await;
    first.soon().await.unwrap();

    let before = relay.vitals().await.resident;
    let (mut asking, mut waiting) = (JoinSet::new(), Vec::new());
    for wave in 0..WAITING / TOGETHER {
        let sender = relay.sender().build().unwrap();
        for number in 0..TOGETHER {
            asking.spawn(ask(sender.clone(), format!("/{wave}/{number}")));
        }
        for _ in 0..TOGETHER {
            waiting.push(taken(&listener).await);
        }
    }
    let held = relay.vitals().await.resident.saturating_sub(before) / WAITING as u64;
    println!("{held} KiB for a request that waits");
    assert!(held <= KIB_PER_REQUEST, "{held} KiB for a request that waits");

    let mut beyond = JoinSet::new();
    let sender = relay.sender().build().unwrap();
    for number in 0..TOGETHER {
        beyond.spawn(ask(sender.clone(), format!("/beyond/{number}")));
    }
    assert!(beyond.join_all().soon().await.iter().all(|outcome| *outcome == Outcome::ComeAgain));

    let waiting = Arc::new(Mutex::new(waiting));
    let mut handlers = JoinSet::new();
    for _ in 0..4 {
        let waiting = waiting.clone();
        handlers.spawn(async move {
            loop {
                let next = waiting.lock().unwrap().pop();
                let Some(next) = next else { return };
                answer_with_path(next).await;
            }
        });
    }
    handlers.join_all().soon().await;
    let answered = asking.join_all().soon().await;
    assert_eq!(answered.len(), WAITING);
    assert!(!answered.contains(&Outcome::ComeAgain), "every one that was taken is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_five_thousand_at_once_a_listener_of_four_takes_four_and_none_of_the_others_hangs() {
    let mut relay = RelayProcess::start(RELAY, true).await;
    let listener = relay.listener().max_concurrent(4).soon().await.unwrap();
    let before = relay.vitals().await.resident;
    let mut asking = JoinSet::new();
    for wave in 0..WAITING / TOGETHER {
        let sender = relay.sender().build().unwrap();
        for number in 0..TOGETHER {
            asking.spawn(ask(sender.clone(), format!("/{wave}/{number}")));
        }
    }
    let mut taken_by_four = Vec::new();
    for _ in 0..4 {
        taken_by_four.push(taken(&listener).await);
    }
    for _ in 4..WAITING {
        assert_eq!(asking.join_next().soon().await.unwrap().unwrap(), Outcome::ComeAgain);
    }
    for one in taken_by_four {
        answer_with_path(one).await;
    }
    let answered = asking.join_all().soon().await;
    assert!(answered.len() == 4 && answered.iter().all(|it| *it == Outcome::Answered), "{answered:?}");
    let grown = relay.vitals().await.resident.saturating_sub(before);
    println!("{grown} KiB after {WAITING} requests");
    assert!(grown <= KIB_PER_REQUEST * WAITING as u64, "{grown} KiB");
}

/// Bytes that no other number has.
fn bytes_of(number: u64, size: usize) -> Bytes {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// On both sides of every border: of the control channel, of a frame, of a buffer.
const SIZES: [usize; 9] = [0, 1, 1_000, 16_384, 65_535, 65_536, 65_537, 200_000, 1 << 20];

/// Requests at once, and how many each asker makes one after the other.
const ASKERS: u64 = 200;
const EACH: u64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once_of_all_sizes_keep_every_byte_and_their_connections() {
    for relay in plain_and_tls().await {
        let (listener, sender) = pair(&relay).await;
        let ports = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = ports.clone();
        answer(&listener, move |request, responder| {
            seen.lock().unwrap().insert(request.extensions().get::<RemoteAddr>().unwrap().0.port());
            async move {
                let number: u64 = request.uri().path()[1..].parse().unwrap();
                let body = request.into_body().bytes(LIMIT).soon().await.unwrap();
                let response = Response::builder().header("x-sha256", sha256(&body));
                let size = SIZES[(number / 9 % 9) as usize];
                responder.send(response.body(bytes_of(!number, size)).unwrap()).soon().await.unwrap();
            }
        });
        let mut askers = JoinSet::new();
        for asker in 0..ASKERS {
            let sender = sender.clone();
            askers.spawn(async move {
                for number in (asker * EACH..).take(EACH as usize) {
                    let body = bytes_of(number, SIZES[(number % 9) as usize]);
                    let digest = sha256(&body);
                    let request = Request::post(format!("/{number}")).body(body).unwrap();
                    let response = sender.request(request).soon().await.unwrap();
                    assert_eq!(response.headers()["x-sha256"], digest, "request {number}");
                    let body = response.into_body().bytes(LIMIT).soon().await.unwrap();
                    let expected = bytes_of(!number, SIZES[(number / 9 % 9) as usize]);
                    assert_eq!(sha256(&body), sha256(&expected), "response {number}");
                }
            });
        }
        while let Some(asker) = askers.join_next().soon().await {
            asker.unwrap();
        }
        let ports = ports.lock().unwrap().len() as u64;
        // HTTP/2 needs one, and whoever travels alone. HTTP/1.1 needs one for each that is under way; one that has just become free may be missed.
        let most = if relay.ca_pem().is_some() { 2 } else { ASKERS * EACH * 2 / 3 };
        assert!(ports <= most, "{ports} connections");
    }
}
