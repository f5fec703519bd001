//! How streams of events end.

use std::time::{Duration, SystemTime};

use hybridrelay_relay::{Config, Namespace, Rights, Rule};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::events::EventStream;
use hybridrelay_tests::wire::raw::Ask;
use hybridrelay_tests::wire::setup::{entity, serve};

use crate::common::{RULES, listen, token, token_until, world};

const PATH: &str = "/$relay/presence/hyco";

fn watch(rule: &str) -> Ask {
    Ask::http("GET", PATH).token(&token(rule, "hyco"))
}

#[tokio::test]
async fn a_stream_ends_when_the_relay_drains() {
    let relay = world(Namespace::with_discovery).await;
    let mut presence = EventStream::open(&relay.door, watch("send")).await;
    let mut endpoints = EventStream::open(&relay.door, Ask::http("GET", "/")).await;
    presence.expect("snapshot").await;
    endpoints.expect("snapshot").await;
    let shutdown = relay.handle.shutdown(Duration::from_secs(60));
    let ((), presence, endpoints) = tokio::join!(shutdown.soon(), presence.next(), endpoints.next());
    assert_eq!((presence, endpoints), (None, None), "in good order");
}

#[tokio::test]
async fn a_stream_ends_with_its_hybrid_connection() {
    let relay = world(|namespace| namespace).await;
    let mut stream = EventStream::open(&relay.door, watch("send")).await;
    let mut other = EventStream::open(&relay.door, Ask::http("GET", "/$relay/presence/open")).await;
    stream.expect("snapshot").await;
    other.expect("snapshot").await;
    assert!(relay.store.delete_entity("n", "hyco"));
    assert_eq!(stream.next().await, None);
    let _listener = listen(&relay, "open").await;
    other.expect("listener-connected").await;
}

#[tokio::test]
async fn a_stream_ends_when_its_right_is_another_one() {
    let relay = world(|namespace| namespace).await;
    let mut manager = EventStream::open(&relay.door, watch("manage")).await;
    let mut sender = EventStream::open(&relay.door, watch("send")).await;
    let mut stranger = EventStream::open(&relay.door, Ask::http("GET", "/$relay/presence/open")).await;
    for stream in [&mut manager, &mut sender, &mut stranger] {
        stream.expect("snapshot").await;
    }
    // The manager may still send, and see less.
    relay.store.edit("n", |namespace| {
        let manage = namespace.rules.iter_mut().find(|rule| rule.name == "manage").expect("it is there");
        manage.rights = Rights::SEND;
    });
    assert_eq!(manager.next().await, None);
    relay.store.put_entity("n", entity("open"));
    assert_eq!(stranger.next().await, None);
    relay.store.edit("n", |namespace| namespace.rules.retain(|rule| rule.name != "send"));
    assert_eq!(sender.next().await, None);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_ends() {
    let mut config = Config::default();
    config.timings.clock_skew = Duration::ZERO;
    let namespace = Namespace::new("n").with_entity(entity("hyco")).with_discovery();
    let namespace =
        RULES.iter().fold(namespace, |namespace, (name, rights)| namespace.with_rule(Rule::new(*name, *rights, *name)));
    let relay = serve([namespace], config).await;
    let soon = token_until("send", "", SystemTime::now() + Duration::from_secs(2));
    let mut presence = EventStream::open(&relay.door, Ask::http("GET", PATH).token(&soon)).await;
    let mut endpoints = EventStream::open(&relay.door, Ask::http("GET", "/").token(&soon)).await;
    presence.expect("snapshot").await;
    endpoints.expect("snapshot").await;
    assert_eq!((presence.next().await, endpoints.next().await), (None, None));
}
