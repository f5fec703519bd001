//! How publishers and subscribers part.

use std::time::Duration;

use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::raw::{Seen, binary, frame, header, op, text};
use hybridrelay_tests::wire::setup;

use crate::common::{expect, joined, plain, plain_and_tls, publisher, subscribe};

#[tokio::test]
async fn a_publishers_close_comes_behind_its_last_event_with_its_code() {
    for relay in plain_and_tls().await {
        for (code, reason) in [(Some(1000), "bye"), (Some(4321), ""), (None, "")] {
            let (mut publisher, subscribers, _controls) = joined(&relay, 3).await;
            publisher.send(&binary(&vec![1; 100_000])).await;
            publisher.send(&text("last")).await;
            publisher.send_close(code, reason).await;
            assert_eq!(publisher.close().await, (code, reason.to_owned()));
            assert_eq!(publisher.next().await, Seen::Eof);
            for mut subscriber in subscribers {
                assert_eq!(subscriber.message().await.1.len(), 100_000);
                expect(&mut subscriber, "last").await;
                assert_eq!(subscriber.close().await, (code, reason.to_owned()));
                subscriber.send_close(code, "").await;
                assert_eq!(subscriber.next().await, Seen::Eof);
            }
            setup::no_connection(&relay).await;
        }
    }
}

#[tokio::test]
async fn when_a_publisher_vanishes_its_events_arrive_and_then_1001() {
    for relay in plain_and_tls().await {
        let (mut publisher, mut subscribers, _controls) = joined(&relay, 2).await;
        publisher.send(&text("last words")).await;
        // Half an event is none.
        publisher.send(&header(0x80 | op::TEXT, 100)).await;
        expect(&mut subscribers[0], "last words").await;
        publisher.reset();
        let reason = "the publisher has gone".to_owned();
        assert_eq!(subscribers[0].close().await, (Some(1001), reason.clone()));
        expect(&mut subscribers[1], "last words").await;
        assert_eq!(subscribers[1].close().await, (Some(1001), reason));
    }
}

#[tokio::test]
async fn an_event_that_is_too_long_closes_its_publisher_with_1009() {
    let relay = plain(|settings| settings.max_event = 1000).await;
    let whole = binary(&[7; 1001]);
    let fragments = [frame(op::BINARY, &[7; 600]), frame(0x80 | op::CONTINUATION, &[7; 401])].concat();
    // It need not come to its end.
    let announced = [header(0x80 | op::BINARY, 1 << 40), vec![7; 1001]].concat();
    for too_long in [whole, fragments, announced] {
        let (mut publisher, mut subscribers, _controls) = joined(&relay, 2).await;
        publisher.send(&binary(&[7; 1000])).await;
        publisher.send(&too_long).await;
        assert_eq!(publisher.close().await.0, Some(1009));
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.message().await.1.len(), 1000);
            assert_eq!(subscriber.close().await.0, Some(1001));
        }
    }
}

#[tokio::test]
async fn a_publisher_that_breaks_the_protocol_is_told_so() {
    for relay in plain_and_tls().await {
        for (bad, code) in [
            (frame(0x80 | op::TEXT, &[0xFF]), 1007),
            (frame(0x80 | op::CONTINUATION, b"x"), 1002),
            (vec![0x82, 1, 7], 1002),
        ] {
            let (mut publisher, mut subscribers, _controls) = joined(&relay, 1).await;
            publisher.send(&[text("good"), bad].concat()).await;
            assert_eq!(publisher.close().await.0, Some(code));
            expect(&mut subscribers[0], "good").await;
            assert_eq!(subscribers[0].close().await.0, Some(1001));
        }
    }
}

#[tokio::test]
async fn a_subscriber_that_breaks_the_protocol_is_told_so_and_nobody_else_notices() {
    let relay = plain(|_| {}).await;
    let (mut publisher, mut subscribers, _controls) = joined(&relay, 2).await;
    subscribers[0].send(&frame(0x80 | op::CONTINUATION, b"x")).await;
    assert_eq!(subscribers[0].close().await.0, Some(1002));
    publisher.send(&text("for one")).await;
    expect(&mut subscribers[1], "for one").await;
}

#[tokio::test]
async fn a_relay_that_drains_tells_everybody_1001_and_waits_for_nobody_who_has_not_dialled() {
    for relay in plain_and_tls().await {
        let (mut publisher, mut subscribers, mut controls) = joined(&relay, 2).await;
        let mut second = self::publisher(&relay).await;
        controls[0].invitation().await;
        publisher.send(&text("before")).await;
        expect(&mut subscribers[0], "before").await;
        let (_, ()) = tokio::join!(relay.shutdown(Duration::from_millis(500)).soon(), async {
            for ws in [&mut publisher, &mut second] {
                assert_eq!(ws.close().await, (Some(1001), "ServiceShuttingDown".to_owned()));
                ws.send_close(Some(1001), "").await;
                assert_eq!(ws.next().await, Seen::Eof);
            }
            expect(&mut subscribers[1], "before").await;
            for subscriber in &mut subscribers {
                assert_eq!(subscriber.close().await, (Some(1001), "ServiceShuttingDown".to_owned()));
                subscriber.send_close(Some(1001), "").await;
                assert_eq!(subscriber.next().await, Seen::Eof);
            }
            drop(controls);
        });
    }
}

#[tokio::test]
async fn publishers_may_end_by_themselves_while_a_relay_drains() {
    let relay = plain(|_| {}).await;
    let (mut publisher, mut subscribers, controls) = joined(&relay, 1).await;
    let (_, ()) = tokio::join!(relay.shutdown(Duration::from_secs(3600)).soon(), async {
        drop(controls);
        publisher.send(&text("to the end")).await;
        expect(&mut subscribers[0], "to the end").await;
        publisher.send_close(Some(1000), "").await;
        assert_eq!(publisher.close().await.0, Some(1000));
        assert_eq!(subscribers[0].close().await.0, Some(1000));
        subscribers[0].send_close(Some(1000), "").await;
    });
}

#[tokio::test]
async fn a_relay_that_is_dropped_cuts_publishers_and_subscribers() {
    for relay in plain_and_tls().await {
        let (mut publisher, mut subscribers, _controls) = joined(&relay, 2).await;
        drop(relay);
        assert_eq!(publisher.end().await, Seen::Reset);
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.end().await, Seen::Reset);
        }
    }
}

#[tokio::test]
async fn a_hybrid_connection_that_is_deleted_ends_its_publishers_and_subscribers_with_1001() {
    for relay in plain_and_tls().await {
        let (mut publisher, mut subscribers, mut controls) = joined(&relay, 2).await;
        assert!(relay.store().delete_entity(relay.namespace(), "hyco"));
        let deleted = (Some(1001), "The endpoint was deleted".to_owned());
        assert_eq!(publisher.close().await, deleted);
        publisher.send_close(Some(1001), "").await;
        for subscriber in &mut subscribers {
            assert_eq!(subscriber.close().await, deleted);
        }
        for control in &mut controls {
            assert_eq!(control.ws.close().await.0, Some(1001));
        }
    }
}

#[tokio::test]
async fn a_lost_control_channel_does_not_end_what_its_listener_subscribed_to() {
    let relay = plain(|_| {}).await;
    let (mut publisher, mut subscribers, controls) = joined(&relay, 1).await;
    drop(controls);
    setup::until(|| *relay.watch_listeners("hyco").borrow() == 0).await;
    publisher.send(&text("still here")).await;
    expect(&mut subscribers[0], "still here").await;
    // The same listener, online again, is a new one for the publisher.
    let mut again = crate::common::listeners(&relay, 1).await;
    let mut second = subscribe(&mut again).await;
    publisher.send(&text("twice")).await;
    expect(&mut subscribers[0], "twice").await;
    expect(&mut second[0], "twice").await;
}
