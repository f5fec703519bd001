//! What subscribers get: every message, whole, in order, as it was.

use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{self, RawListener};
use hybridrelay_tests::wire::raw::{Door, Seen, binary, frame, op, ping, text};
use hybridrelay_tests::wire::setup::{self, HYCO};

use crate::common::{count, expect, joined, listeners, plain, plain_and_tls, publisher, subscribe};

#[tokio::test]
async fn every_listener_gets_everything_in_order() {
    for relay in plain_and_tls().await {
        let (mut publisher, mut subscribers, _controls) = joined(&relay, 3).await;
        for number in 0..100 {
            publisher.send(&text(&format!("event {number}"))).await;
        }
        for subscriber in &mut subscribers {
            for number in 0..100 {
                expect(subscriber, &format!("event {number}")).await;
            }
        }
        setup::until(|| count(&relay, "delivered") == 300.0).await;
        assert_eq!((count(&relay, "published"), count(&relay, "dropped")), (100.0, 0.0));
    }
}

#[tokio::test]
async fn a_message_stays_what_it_was_and_comes_in_one_frame() {
    for relay in plain_and_tls().await {
        let (mut publisher, mut subscribers, _controls) = joined(&relay, 2).await;
        let long: Vec<u8> = (0..200_000_u32).map(|byte| byte as u8).collect();
        publisher.send(&text("grün")).await;
        publisher.send(&text("")).await;
        publisher.send(&binary(b"")).await;
        publisher.send(&binary(&long)).await;
        // In fragments, one of them empty, with a Ping in between.
        publisher.send(&frame(op::TEXT, b"in ")).await;
        publisher.send(&frame(op::CONTINUATION, b"")).await;
        publisher.send(&ping(b"there?")).await;
        publisher.send(&frame(0x80 | op::CONTINUATION, b"pieces")).await;
        let expected = [
            (op::TEXT, "grün".as_bytes()),
            (op::TEXT, b""),
            (op::BINARY, b""),
            (op::BINARY, &long[..]),
            (op::TEXT, b"in pieces"),
        ];
        for subscriber in &mut subscribers {
            for (opcode, payload) in expected {
                let frame = subscriber.frame().await;
                assert!(frame.fin && !frame.masked && frame.opcode == opcode && frame.payload == payload, "{frame:?}");
            }
        }
        let pong = publisher.frame().await;
        assert_eq!((pong.opcode, &pong.payload[..]), (op::PONG, &b"there?"[..]));
    }
}

#[tokio::test]
async fn what_is_said_before_a_listener_has_dialled_is_kept_for_it() {
    for relay in plain_and_tls().await {
        let mut controls = listeners(&relay, 2).await;
        let mut publisher = publisher(&relay).await;
        publisher.send(&text("early")).await;
        publisher.send_close(Some(1000), "done").await;
        assert_eq!(publisher.close().await, (Some(1000), "done".to_owned()));
        assert_eq!(publisher.next().await, Seen::Eof);
        for subscriber in &mut subscribe(&mut controls).await {
            expect(subscriber, "early").await;
            assert_eq!(subscriber.close().await, (Some(1000), "done".to_owned()));
        }
    }
}

#[tokio::test]
async fn a_listener_that_comes_later_joins_and_gets_what_is_said_from_then_on() {
    let relay = plain(|_| {}).await;
    let mut publisher = publisher(&relay).await;
    publisher.send(&text("nobody hears this")).await;
    setup::until(|| count(&relay, "published") == 1.0).await;
    let mut first = RawListener::open(&relay).await;
    let mut one = first.accept().await;
    publisher.send(&text("one hears this")).await;
    expect(&mut one, "one hears this").await;
    let mut second = RawListener::open(&relay).await;
    let mut other = second.accept().await;
    publisher.send(&text("both hear this")).await;
    for subscriber in [&mut one, &mut other] {
        expect(subscriber, "both hear this").await;
    }
}

#[tokio::test]
async fn what_subscribers_say_is_read_and_dropped() {
    for relay in plain_and_tls().await {
        let (mut publisher, mut subscribers, _controls) = joined(&relay, 2).await;
        // Far more than any buffer holds.
        for _ in 0..64 {
            subscribers[0].send(&binary(&vec![7; 256 * 1024])).await;
        }
        subscribers[0].send(&ping(b"x")).await;
        let pong = subscribers[0].frame().await;
        assert_eq!((pong.opcode, &pong.payload[..]), (op::PONG, &b"x"[..]));
        publisher.send(&text("still heard")).await;
        for subscriber in &mut subscribers {
            expect(subscriber, "still heard").await;
        }
        publisher.send_close(None, "").await;
        assert_eq!(publisher.close().await, (None, String::new()), "nothing was said to the publisher");
    }
}

#[tokio::test]
async fn ten_publishers_reach_twenty_subscribers_and_each_order_is_kept() {
    let relay = plain(|_| {}).await;
    let mut controls = listeners(&relay, 20).await;
    let mut publishers = Vec::new();
    for number in 0..10 {
        let mut ws = publisher(&relay).await;
        ws.send(&text(&format!("publisher {number}"))).await;
        publishers.push((ws, subscribe(&mut controls).await));
    }
    let publishing = publishers.into_iter().enumerate().map(|(number, (mut publisher, subscribers))| async move {
        let sending = async {
            for event in 0..200 {
                publisher.send(&text(&format!("{event}"))).await;
            }
        };
        let receiving = subscribers.into_iter().map(|mut subscriber| async move {
            expect(&mut subscriber, &format!("publisher {number}")).await;
            for event in 0..200 {
                expect(&mut subscriber, &format!("{event}")).await;
            }
        });
        tokio::join!(sending, futures_util::future::join_all(receiving));
    });
    futures_util::future::join_all(publishing).soon().await;
    setup::until(|| count(&relay, "delivered") == 201.0 * 10.0 * 20.0).await;
    assert_eq!(count(&relay, "dropped"), 0.0);
}

#[tokio::test]
async fn ends_of_the_sdk_publish_and_subscribe() {
    for relay in plain_and_tls().await {
        let listeners = [
            setup::listener(&relay, HYCO).soon().await.expect("online"),
            setup::listener(&relay, HYCO).soon().await.expect("online"),
        ];
        let publisher = setup::sender(&relay, HYCO).build().expect("the options are right");
        let publisher = publisher.connect().soon().await.expect("nobody is waited for");
        publisher.send("hello").soon().await.expect("open");
        for listener in &listeners {
            let subscriber = setup::incoming(listener).await.accept().soon().await.expect("invited");
            assert_eq!(subscriber.receive().soon().await.expect("open"), Some("hello".into()));
        }
    }
}

#[tokio::test]
async fn the_publisher_gets_the_sub_protocol_it_named_first_and_subscribers_the_same_if_they_offer_it() {
    let relay = plain(|_| {}).await;
    let mut controls = listeners(&relay, 2).await;
    let door = Door::from(&relay);
    let ask = peers::connect(&relay, "").header("Sec-WebSocket-Protocol", "first, second");
    let answer = ask.send(&door).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some("first")));
    for (control, (offered, got)) in controls.iter_mut().zip([("second, first", Some("first")), ("second", None)]) {
        let ask = control.invitation().await.ask("").header("Sec-WebSocket-Protocol", offered);
        let answer = ask.send(&door).await;
        assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, got));
    }
}
