//! One-way requests while connections are reset: what was handed over was handed to one listener, once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use http::{Request, Response};
use hybridrelay::env::sim::{self, Sim};
use hybridrelay::{ErrorKind, Incoming, Listener, Sender};
use hybridrelay_relay::{Entity, HttpSettings};

use crate::world::{ENTITY, NAMESPACE, RELAY, SENDER, World, connection_string};

const LISTENERS: [&str; 3] = ["office", "barn", "shed"];
const LATENCY: Duration = Duration::from_millis(3);
const SENT: usize = 60;

/// What was read, by number: when, and by whom.
type Got = Arc<Mutex<BTreeMap<usize, Vec<&'static str>>>>;

/// A request's fate in the eyes of its sender, and when that was known.
struct Told {
    number: usize,
    at: Duration,
    outcome: Result<(), hybridrelay::Error>,
}

fn body_of(number: usize) -> Vec<u8> {
    vec![number as u8; [0, 100, 30_000, 65_536, 100_000, 300_000][number % 6]]
}

/// Reads every request that comes, and answers in several ways.
async fn read_all(listener: Listener, name: &'static str, got: Got) {
    while let Ok(Some(Incoming::Request(request))) = listener.accept().await {
        assert!(request.is_one_way());
        let number: usize = request.path()[1..].parse().expect("a number");
        let (request, responder) = request.into_parts();
        // A body that breaks off has not been handed over.
        let Ok(body) = request.into_body().bytes(1 << 20).await else { continue };
        assert!(body == body_of(number), "{number} is another's");
        got.lock().expect("nobody panics").entry(number).or_default().push(name);
        if number.is_multiple_of(2) {
            let answer = vec![0; if number.is_multiple_of(4) { 10 } else { 100_000 }];
            // Whose answer finds no way is not of interest.
            let _ = responder.send(Response::new(answer)).await;
        }
    }
}

/// Sends one after the other, from here and there at once, and resets connections in between. Returns how many were handed over.
async fn play(sim: Sim, seed: u64) -> usize {
    let mut random = Rng::with_seed(seed);
    sim.network().set_latency(LATENCY);
    let world = World::start(sim.clone()).await;
    let mut http = HttpSettings::default();
    http.one_way_max = 1 << 20;
    let entity = Entity::new(ENTITY.parse().expect("a valid name")).with_http(http);
    assert!(world.store.put_entity(NAMESPACE, entity));
    let (got, mut listeners) = (Got::default(), Vec::new());
    for name in LISTENERS {
        let env = sim.env(name);
        let listener = Listener::builder(connection_string()).env(env.clone()).open().await.expect("online");
        env.spawn(read_all(listener.clone(), name, got.clone()));
        listeners.push(listener);
    }
    let sender = world.sender().build().expect("a valid target");
    let told: Vec<(Duration, usize)> =
        (0..SENT).map(|number| (Duration::from_millis(random.u64(0..400)), number)).collect();
    let sending = told.into_iter().map(|(after, number)| send(&sim, &sender, number, after));
    let mut resets = Vec::new();
    let resetting = async {
        for _ in 0..random.usize(1..12) {
            sim.sleep(Duration::from_millis(random.u64(1..80))).await;
            let host = if random.u8(0..4) == 0 { SENDER } else { LISTENERS[random.usize(..LISTENERS.len())] };
            sim.network().cut(host, RELAY);
            resets.push((sim.elapsed(), host));
        }
    };
    let (told, ()) = tokio::join!(join_all(sending), resetting);
    // What is on its way arrives, and those who were cut off are back.
    sim.sleep(Duration::from_secs(100)).await;
    assert_eq!(world.online(), LISTENERS.len());
    let in_flight: usize =
        world.relay.listeners(NAMESPACE, ENTITY).into_iter().map(|listener| listener.in_flight).sum();
    assert_eq!(in_flight, 0, "nobody is busy any more");
    judge(&told, &got.lock().expect("nobody panics"), &resets);
    told.iter().filter(|told| told.outcome.is_ok()).count()
}

async fn send(sim: &Sim, sender: &Sender, number: usize, after: Duration) -> Told {
    sim.sleep(after).await;
    let request = Request::post(format!("/{number}")).body(body_of(number)).expect("a request");
    let outcome = sender.send_one_way(request).await.map(|sent| assert_eq!(sent.listeners(), 1));
    Told { number, at: sim.elapsed(), outcome }
}

fn judge(told: &[Told], got: &BTreeMap<usize, Vec<&'static str>>, resets: &[(Duration, &str)]) {
    for Told { number, at, outcome } in told {
        let readers = got.get(number).map_or(0, Vec::len);
        assert!(readers <= 1, "{number} was read by {:?}", got[number]);
        match outcome {
            Ok(()) => {
                // Between the relay's socket and its reader a reset destroys what is on its way.
                let destroyed = |(reset, host): &(Duration, &str)| {
                    *host != SENDER && *reset + 4 * LATENCY >= *at && *reset <= *at + 40 * LATENCY
                };
                assert!(
                    readers == 1 || resets.iter().any(destroyed),
                    "{number}, told at {at:?}, is nowhere: {resets:?}"
                );
            }
            // Of these the relay says that nobody has them.
            Err(error) if matches!(error.kind(), ErrorKind::ServerBusy | ErrorKind::NoListeners) => {
                assert_eq!(readers, 0, "{number}: {error}");
            }
            Err(error) => assert!(error.is_retryable(), "{number}: {error}"),
        }
    }
}

#[test]
fn what_is_handed_over_is_handed_to_one_listener_whatever_is_reset() {
    let (mut handed, mut sent) = (0, 0);
    for seed in 1..=50 {
        handed += sim::run(seed, |sim| play(sim, seed));
        sent += SENT;
    }
    println!("{handed} of {sent} were handed over");
    assert!(handed > sent * 3 / 4 && handed < sent, "{handed} of {sent}: resets meet some, and not most");
}
