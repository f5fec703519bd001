//! hyco-ws reconnects without a pause, each listener with two sockets at once (protocol.md 3.8).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hybridrelay::{Connection, Message, Sender};
use hybridrelay_relay::raise_descriptor_limit;
use hybridrelay_tests::metrics::Samples;
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::RawListener;
use hybridrelay_tests::wire::raw::Door;

use crate::common::{A, LISTEN, SEND, accept_all, connect, connection_string, listen, serve};

const LISTENERS: usize = 1_000;
const ROUNDS: usize = 3;

/// Comes back at once, on two sockets, as often as it is refused.
async fn reconnect(door: Door) -> Vec<u16> {
    let mut answers = Vec::new();
    for _ in 0..ROUNDS {
        let ask = || listen(A, ("listen", "not its key any more")).send(&door);
        let (one, other) = tokio::join!(ask(), ask());
        answers.extend([one.status, other.status]);
    }
    answers
}

/// Sends and receives until it is told to stop; returns how often.
async fn exchange(sender: Connection, listener: Connection, stop: Arc<AtomicBool>) -> u64 {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        let message = Message::from(format!("round {rounds}"));
        sender.send(message.clone()).soon().await.expect("the pair lives");
        assert_eq!(listener.receive().soon().await.expect("the pair lives"), Some(message.clone()));
        listener.send(message.clone()).soon().await.expect("the pair lives");
        assert_eq!(sender.receive().soon().await.expect("the pair lives"), Some(message));
        rounds += 1;
    }
    rounds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_listeners_that_come_back_at_once_leave_the_others_alone() {
    raise_descriptor_limit().expect("allowed to everybody");
    let relay = serve(|_| {}).await;
    let target = |rule| connection_string(&relay.door.authority, A, rule);
    let listener = hybridrelay::listen(target(LISTEN)).soon().await.expect("online");
    let sender = Sender::new(target(SEND)).expect("a valid target");
    let (sent, accepted) = crate::common::meet(&sender, &listener).soon().await;
    // All of them behind one address; the pair and those who come meanwhile have others.
    let stormy = relay.door.from_address([127, 0, 0, 9]);
    let stop = Arc::new(AtomicBool::new(false));
    let pair = tokio::spawn(exchange(sent, accepted, stop.clone()));
    let storm: Vec<_> = (0..LISTENERS).map(|_| tokio::spawn(reconnect(stormy.clone()))).collect();
    let accepting = accept_all(listener.clone());

    // In the midst of it senders from elsewhere get in.
    let mut meanwhile = Vec::new();
    for _ in 0..20 {
        meanwhile.push(connect(A, SEND).send(&relay.door).await.websocket());
    }
    let mut answers = Vec::new();
    for listener in storm {
        answers.extend(listener.await.expect("each is answered"));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(pair.await.expect("the pair lives") > 0);

    assert_eq!(answers.len(), LISTENERS * ROUNDS * 2);
    let (looked_at, turned_away) = answers.into_iter().partition::<Vec<_>, _>(|status| *status == 401);
    assert!(looked_at.len() >= 20, "{}", looked_at.len());
    assert!(turned_away.iter().all(|status| *status == 503));
    // Most of them were turned away before anything was computed.
    let samples = Samples::from(&relay.handle);
    assert_eq!(samples.refusals("failed_authorizations_per_minute"), turned_away.len() as f64);
    assert_eq!(samples.refusals("invalid_signature"), looked_at.len() as f64);
    assert!(turned_away.len() > looked_at.len());

    // And when it is over everything is as it was.
    let control = RawListener::new(&relay.door, listen("b", LISTEN).send(&relay.door).await);
    drop(control);
    listener.close().soon().await;
    accepting.soon().await.expect("no panic");
}
