//! What the choice among listeners does to how long senders wait.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, Response};
use hybridrelay::env::sim::{self, Sim};
use hybridrelay::{Incoming, Listener, Sender};
use hybridrelay_relay::{Choice, Entity};

use crate::world::{ENTITY, NAMESPACE, World, connection_string};

/// What one of the listeners takes for a request, one after the other; each of its three peers takes a tenth.
const SLOW: Duration = Duration::from_millis(100);
const FAST: Duration = Duration::from_millis(10);
const PEERS: [&str; 3] = ["one", "two", "three"];

/// There and back between sender, relay and listener.
const PATH: Duration = Duration::from_millis(4);

/// A request every 5 ms: two thirds of what the peers can do.
const EVERY: Duration = Duration::from_millis(5);
const REQUESTS: u32 = 1_000;

/// How long each request waited for its answer, by whether the slow one gave it, in order.
struct Waits {
    of_peers: Vec<Duration>,
    of_the_slow_one: Vec<Duration>,
}

async fn play(sim: Sim, choice: Choice) -> Waits {
    sim.network().set_latency(PATH / 4);
    let world = World::start(sim.clone()).await;
    let entity = Entity::new(ENTITY.parse().expect("a valid name")).with_choice(choice);
    assert!(world.store.put_entity(NAMESPACE, entity));
    for (name, takes) in PEERS.map(|name| (name, FAST)).into_iter().chain([("slow", SLOW)]) {
        let env = sim.env(name);
        let listener = Listener::builder(connection_string()).env(env.clone()).open().await.expect("online");
        env.spawn(work(sim.clone(), listener, name, takes));
    }
    let sender = world.sender().build().expect("a valid target");
    let mut waits = Waits { of_peers: Vec::new(), of_the_slow_one: Vec::new() };
    for (waited, name) in join_all((0..REQUESTS).map(|number| ask(&sim, &sender, number * EVERY))).await {
        let of = if name == "slow" { &mut waits.of_the_slow_one } else { &mut waits.of_peers };
        of.push(waited);
    }
    waits.of_peers.sort();
    waits.of_the_slow_one.sort();
    waits
}

/// Answers with its name, one request after the other.
async fn work(sim: Sim, listener: Listener, name: &'static str, takes: Duration) {
    while let Ok(Some(Incoming::Request(request))) = listener.accept().await {
        sim.sleep(takes).await;
        // One whose sender was told that it takes too long.
        let _ = request.into_parts().1.send(Response::new(name)).await;
    }
}

async fn ask(sim: &Sim, sender: &Sender, after: Duration) -> (Duration, String) {
    sim.sleep(after).await;
    let began = sim.elapsed();
    let answered = sender.request(Request::get("/x").body(()).expect("a request")).await;
    let name = match answered {
        Ok(response) => response.into_body().bytes(99).await.expect("a name"),
        Err(error) => {
            // Only the slow one lets anybody wait for so long.
            assert_eq!(error.status(), Some(504), "{error}");
            "slow".into()
        }
    };
    (sim.elapsed() - began, String::from_utf8_lossy(&name).into_owned())
}

/// What all but this share of the waits stayed below.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

#[test]
fn with_one_listener_ten_times_slower_the_least_busy_keeps_the_others_latency() {
    for seed in 1..=3 {
        let least_busy = sim::run(seed, |sim| play(sim, Choice::LeastBusy));
        let random = sim::run(seed, |sim| play(sim, Choice::Random));

        // Nobody waits for more than one other at a peer; and the slow one never gets a second before all peers have one.
        let at_most = PATH + 2 * FAST;
        assert!(percentile(&least_busy.of_peers, 100) <= at_most, "{:?}", percentile(&least_busy.of_peers, 100));
        assert!(percentile(&least_busy.of_the_slow_one, 100) <= PATH + 2 * SLOW);
        // It works all the time, and gets no more than it can do.
        let most = (REQUESTS * EVERY).as_millis() / SLOW.as_millis();
        let share = least_busy.of_the_slow_one.len() as u128;
        assert!(share <= most + 2, "{share} of {REQUESTS} to the slow one");
        assert_eq!(least_busy.of_peers.len() as u128 + share, u128::from(REQUESTS));

        // At random a quarter of all meet the slow one, which falls behind.
        assert!(random.of_the_slow_one.len() > 200, "{}", random.of_the_slow_one.len());
        assert!(percentile(&random.of_the_slow_one, 50) >= Duration::from_secs(5));
        println!(
            "seed {seed}: peers {:?} and {:?} at most, the slow one {} and {} times",
            percentile(&least_busy.of_peers, 100),
            percentile(&random.of_peers, 100),
            share,
            random.of_the_slow_one.len()
        );
    }
}
