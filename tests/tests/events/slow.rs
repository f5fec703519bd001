//! Subscribers that do not keep up: nobody waits for them, and nothing grows.

use std::time::Duration;

use hybridrelay_relay::{EventSettings, LocalRelay, SlowSubscriber};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::RawListener;
use hybridrelay_tests::wire::process::{RelayProcess, Vitals};
use hybridrelay_tests::wire::raw::{Door, RawWebSocket, Seen, binary, op, ping};
use hybridrelay_tests::wire::setup;
use serde_json::Value;

use crate::common::{count, plain, publisher};

const RELAY: &str = env!("CARGO_BIN_EXE_relay_process");

/// Far more than the kernel holds for somebody who does not read.
const EVENTS: u32 = 400;
const SIZE: usize = 64 * 1024;

fn event(number: u32) -> Vec<u8> {
    number.to_be_bytes().repeat(SIZE / 4)
}

async fn number(subscriber: &mut RawWebSocket) -> Option<u32> {
    let Seen::Frame(frame) = subscriber.next().await else { return None };
    if frame.opcode == op::CLOSE {
        assert_eq!(&frame.payload[..2], 1008_u16.to_be_bytes());
        assert_eq!(&frame.payload[2..], b"too slow");
        return None;
    }
    let number = frame.payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).expect("a number");
    assert!(frame.payload == event(number), "whole events only");
    Some(number)
}

/// A publisher, a subscriber that reads, and one that does not, with its control channel.
struct Stalled {
    relay: LocalRelay,
    publisher: RawWebSocket,
    keeper: RawWebSocket,
    stalled: RawWebSocket,
    control: RawListener,
    _other: RawListener,
}

async fn stalled(features: &str, edit: impl FnOnce(&mut EventSettings)) -> Stalled {
    let relay = plain(edit).await;
    let small = Door::from(&relay).with_kernel_buffers(8 * 1024);
    let mut control = RawListener::open_with(&relay, features).await.by(small);
    let mut other = RawListener::open(&relay).await;
    let publisher = publisher(&relay).await;
    let (stalled, keeper) = (control.accept().await, other.accept().await);
    Stalled { relay, publisher, keeper, stalled, control, _other: other }
}

/// Publishes in step with the one that reads.
async fn publish(publisher: &mut RawWebSocket, keeper: &mut RawWebSocket) {
    for event_number in 0..EVENTS {
        let message = binary(&event(event_number));
        let ((), got) = tokio::join!(publisher.send(&message), number(keeper));
        assert_eq!(got, Some(event_number));
    }
}

#[tokio::test]
async fn a_subscriber_that_stalls_misses_the_oldest_events_and_is_told_how_many() {
    let Stalled { relay, mut publisher, mut keeper, mut stalled, mut control, _other } =
        stalled("events", |_| {}).await;
    publish(&mut publisher, &mut keeper).await;
    let dropped = count(&relay, "dropped") as u64;
    assert!(dropped > 0, "the queue holds a mebibyte, the kernel a few");

    let (mut got, mut last) = (0, None);
    while last != Some(EVENTS - 1) {
        let next = number(&mut stalled).await;
        assert!(next > last, "{next:?} after {last:?}");
        (got, last) = (got + 1, next);
    }
    assert_eq!(u64::from(EVENTS) - got, dropped, "what is not dropped arrives");
    // It is told as the number grows, and in the end the right one.
    let mut told = 0;
    while told < dropped {
        let notice: Value = serde_json::from_str(&control.ws.text().await).expect("JSON");
        let now = notice["events"]["dropped"].as_u64().expect("a number");
        assert!(notice["events"]["id"].as_str().is_some_and(|id| id.ends_with("_G0")), "{notice}");
        assert!(now > told && now <= dropped, "{now} after {told} of {dropped}");
        told = now;
    }
    setup::until(|| count(&relay, "delivered") as u64 == u64::from(EVENTS) + got).await;
}

#[tokio::test]
async fn a_listener_that_did_not_ask_is_told_nothing_of_what_it_missed() {
    let Stalled { relay, mut publisher, mut keeper, stalled, mut control, _other } = stalled("cancel", |_| {}).await;
    publish(&mut publisher, &mut keeper).await;
    assert!(count(&relay, "dropped") > 0.0);
    // The next message on its channel is the next invitation.
    let _second = self::publisher(&relay).await;
    control.invitation().await;
    drop(stalled);
}

#[tokio::test]
async fn where_that_is_wanted_a_slow_subscriber_is_closed_with_1008() {
    let Stalled { relay, mut publisher, mut keeper, mut stalled, control: _control, _other } =
        stalled("", |settings| settings.slow_subscriber = SlowSubscriber::Disconnect).await;
    for event_number in 0..EVENTS {
        let message = binary(&event(event_number));
        let ((), got) = tokio::join!(publisher.send(&message), number(&mut keeper));
        assert_eq!(got, Some(event_number), "nobody else notices");
        if count(&relay, "slow_subscribers") > 0.0 {
            break;
        }
    }
    let mut expected = 0;
    while let Some(got) = number(&mut stalled).await {
        assert_eq!(got, expected, "nothing is missing before the end");
        expected += 1;
    }
    assert!(expected > 0 && expected < EVENTS);
    assert_eq!(count(&relay, "slow_subscribers"), 1.0);
}

#[tokio::test]
async fn where_that_is_wanted_the_publisher_waits_for_a_slow_subscriber_and_nothing_is_lost() {
    let Stalled { relay, mut publisher, mut keeper, mut stalled, control: _control, _other } =
        stalled("", |settings| settings.slow_subscriber = SlowSubscriber::Block).await;
    let publishing = tokio::spawn(async move {
        for number in 0..EVENTS {
            publisher.send(&binary(&event(number))).await;
        }
        publisher
    });
    // The keeper gets what the stalled one has room for, and then nothing.
    let mut kept = 0;
    while let Ok(next) = tokio::time::timeout(Duration::from_millis(1500), number(&mut keeper)).await {
        assert_eq!(next, Some(kept));
        kept += 1;
    }
    assert!(kept < EVENTS && !publishing.is_finished(), "the publisher waits");
    tokio::join!(
        async {
            for expected in 0..EVENTS {
                assert_eq!(number(&mut stalled).await, Some(expected));
            }
        },
        async {
            for expected in kept..EVENTS {
                assert_eq!(number(&mut keeper).await, Some(expected));
            }
        }
    );
    publishing.soon().await.expect("it goes on");
    assert_eq!(count(&relay, "dropped"), 0.0);
}

#[tokio::test]
async fn a_subscriber_that_asks_for_pongs_and_does_not_take_them_holds_nobody_up() {
    let Stalled { relay, mut publisher, mut keeper, mut stalled, control: _control, _other } =
        stalled("", |_| {}).await;
    // More than the kernel holds for it: then Pongs wait in the relay.
    let pings = ping(&[7; 125]).repeat(1000);
    for _ in 0..100 {
        stalled.send(&pings).await;
    }
    publish(&mut publisher, &mut keeper).await;
    drop((relay, stalled));
}

#[tokio::test]
async fn a_queue_shorter_than_an_event_still_lets_one_wait() {
    let relay = plain(|settings| settings.queue = 1).await;
    let mut control = RawListener::open(&relay).await;
    let mut publisher = publisher(&relay).await;
    publisher.send(&binary(&event(1))).await;
    setup::until(|| count(&relay, "published") == 1.0).await;
    assert_eq!(number(&mut control.accept().await).await, Some(1));
}

#[tokio::test]
async fn subscribers_that_are_idle_or_stalled_cost_what_is_promised() {
    const SUBSCRIBERS: u64 = 200;
    // KiB for each: its TLS is what an idle one costs beside.
    for (tls, idle, stalled) in [(false, 8, 16), (true, 32, 160)] {
        let mut relay = RelayProcess::start_for_events(RELAY, tls).await;
        let mut controls = Vec::new();
        let mut warm_up = relay.websocket("/$hc/hyco").send(&relay.door).await.websocket();
        for _ in 0..25 {
            let mut control = relay.listen().await;
            drop(control.accept().await);
            controls.push(control);
        }
        warm_up.send_close(None, "").await;
        warm_up.close().await;
        let before = relay.vitals().await;
        let small = relay.door.clone().with_kernel_buffers(8 * 1024);
        let mut controls: Vec<_> = controls.into_iter().map(|control| control.by(small.clone())).collect();
        let (mut publishers, mut subscribers) = (Vec::new(), Vec::new());
        for _ in 0..SUBSCRIBERS / 25 {
            publishers.push(relay.websocket("/$hc/hyco").send(&relay.door).await.websocket());
            for control in &mut controls {
                subscribers.push(control.accept().await);
            }
        }
        let quiet = relay.vitals().await;
        for publisher in &mut publishers {
            for number in 0..100 {
                publisher.send(&binary(&event(number))).await;
            }
            // Its Close is answered when everything before it was heard.
            publisher.send_close(None, "").await;
            publisher.close().await;
        }
        let full = relay.vitals().await;
        let per_subscriber = |vitals: Vitals| vitals.resident.saturating_sub(before.resident) / SUBSCRIBERS;
        println!("tls {tls}: {} KiB idle, {} KiB stalled", per_subscriber(quiet), per_subscriber(full));
        assert!(per_subscriber(quiet) <= idle, "{} KiB for an idle one", per_subscriber(quiet));
        // One queue of a mebibyte for the subscribers of each publisher, and what each was given last.
        let queue = 1024 / 25 + 2 * 64;
        assert!(per_subscriber(full) <= queue + stalled, "{} KiB for a stalled one", per_subscriber(full));
        drop(subscribers);
    }
}
