//! Guessing tokens: twenty a minute for each address, and then none is looked at.

use std::time::Duration;

use hybridrelay::env::sim;
use hybridrelay::{ErrorKind, Listener};
use hybridrelay_relay::Config;
use hybridrelay_tests::metrics::Samples;
use hybridrelay_tests::wire::raw::{Ask, Door};
use hybridrelay_tests::wire::setup;

use crate::common::{A, LISTEN, SEND, World, connect, connection_string, listen, seconds, serve};

/// A rule that exists, with a key that is not its key.
const GUESS: (&str, &str) = ("send", "a guess");
const LIMIT: &str = "failed_authorizations_per_minute";

/// A minute's wait after the first bad token: longer than a test takes.
fn strict(config: &mut Config) {
    config.limits.failed_authorizations_per_minute = 1;
}

async fn guess(door: &Door, ask: Ask) {
    assert_eq!(ask.send(door).await.status, 401);
}

#[tokio::test]
async fn after_too_many_bad_tokens_no_token_of_the_address_is_looked_at() {
    let relay = serve(strict).await;
    let here = relay.door.from_address([127, 0, 0, 2]);
    guess(&here, connect(A, GUESS)).await;

    for ask in [connect(A, GUESS), connect(A, SEND), listen(A, LISTEN)] {
        let refused = ask.send(&here).await;
        assert_eq!((refused.status, refused.text()), (503, "Too many tokens from this address were refused"));
        let wait: u64 = refused.header("retry-after").expect("a wait").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
    }
    let http = Ask::http("GET", "/a").token("SharedAccessSignature sr=a&sig=AA==&se=1&skn=n").send(&here).await;
    assert_eq!(http.status, 429);
    assert!(http.header("retry-after").is_some());
    assert!(http.body.contains("\"code\":\"ServerBusy\""), "{}", http.body);
    assert_eq!(Samples::from(&relay.handle).refusals(LIMIT), 4.0);
    assert_eq!(Samples::from(&relay.handle).refusals("invalid_signature"), 1.0);

    // Nobody else is concerned, and here nothing but tokens is.
    listen(A, LISTEN).send(&relay.door.from_address([127, 0, 0, 3])).await.websocket();
    assert_eq!(Ask::websocket("/$hc/a").send(&here).await.status, 401);
    assert_eq!(Ask::http("GET", "/$relay/healthz").send(&here).await.status, 200);
}

#[tokio::test]
async fn requests_without_a_token_guess_nothing() {
    let relay = serve(strict).await;
    for _ in 0..3 {
        assert_eq!(Ask::websocket("/$hc/a").send(&relay.door).await.status, 401);
    }
    listen(A, LISTEN).send(&relay.door).await.websocket();
}

#[tokio::test]
async fn a_hybrid_connection_that_needs_no_token_looks_at_none() {
    let relay = serve(strict).await;
    let public = setup::entity("public").anonymous();
    relay.store.put_entity(crate::common::NAMESPACE, public);
    guess(&relay.door, connect(A, GUESS)).await;
    let answer = connect("public", GUESS).send(&relay.door).await;
    assert_eq!((answer.status, answer.text()), (404, "There are no listeners connected for the endpoint"));
}

#[test]
fn twenty_bad_tokens_are_looked_at_and_the_wait_that_is_told_is_long_enough() {
    sim::run(1, async |sim| {
        let world = World::start(sim.clone(), |_| {}).await;
        let wrong = || {
            let target = connection_string("relay", A, (LISTEN.0, "a guess"));
            Listener::builder(target).env(world.env("office")).open()
        };
        for _ in 0..20 {
            assert_eq!(wrong().await.expect_err("no such key").kind(), ErrorKind::Unauthorized);
        }
        let error = wrong().await.expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::ServerBusy, "{error}");
        let wait = error.retry_after().expect("a wait");
        assert!(wait <= seconds(3), "{wait:?}");
        sim.sleep(wait).await;
        world.listener("office", A).open().await.expect("the right key is looked at again");
        // One failure more, and the wait is as long again; after a minute of peace everything is as before.
        wrong().await.expect_err("no such key");
        assert_eq!(wrong().await.expect_err("too many").kind(), ErrorKind::ServerBusy);
        sim.sleep(Duration::from_secs(60)).await;
        for _ in 0..20 {
            assert_eq!(wrong().await.expect_err("no such key").kind(), ErrorKind::Unauthorized);
        }
    });
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_that_it_names_counts() {
    let relay = serve(|config| {
        strict(config);
        config.trusted_proxies = vec![[127, 0, 0, 1].into(), [10, 0, 0, 1].into()];
    })
    .await;
    let via = |ask: Ask, named: &str| ask.header("X-Forwarded-For", named);
    let door = &relay.door;
    // What the client itself wrote stands in front, and the addresses of proxies behind.
    guess(door, via(connect(A, GUESS), "192.0.2.99, 192.0.2.1, 10.0.0.1")).await;
    assert_eq!(via(listen(A, LISTEN), "192.0.2.1").send(door).await.status, 503);
    via(listen(A, LISTEN), "192.0.2.99").send(door).await.websocket();
    // All addresses of one IPv6 network are one.
    guess(door, via(connect(A, GUESS), "2001:db8:1:2::1")).await;
    assert_eq!(via(listen(A, LISTEN), "[2001:db8:1:2:9::9]:1234").send(door).await.status, 503);
    via(listen(A, LISTEN), "2001:db8:1:3::1").send(door).await.websocket();
    // A proxy that names nobody speaks for many.
    for _ in 0..3 {
        assert_eq!(connect(A, GUESS).send(door).await.status, 401);
    }
    // Who is not trusted is not believed.
    let stranger = door.from_address([127, 0, 0, 2]);
    guess(&stranger, via(connect(A, GUESS), "192.0.2.7")).await;
    assert_eq!(via(connect(A, GUESS), "192.0.2.8").send(&stranger).await.status, 503);
    via(listen(A, LISTEN), "192.0.2.7").send(door).await.websocket();
}

#[tokio::test]
async fn the_limit_can_be_lifted() {
    let relay = serve(|config| config.limits.failed_authorizations_per_minute = u64::MAX).await;
    for _ in 0..50 {
        assert_eq!(connect(A, GUESS).send(&relay.door).await.status, 401);
    }
}
