//! How connections end: in good order, by halves, and by abort (protocol.md 6.3).

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use hybridrelay::{CloseFrame, Connection, ErrorKind};
use hybridrelay_tests::wire::Soon;
use hybridrelay_tests::wire::peers::{self, RawEnds};
use hybridrelay_tests::wire::raw::{Seen, frame, op, ping, text};
use hybridrelay_tests::wire::setup::{self, Ends, HYCO};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn code_and_reason_of_a_close_reach_the_other_side() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, listener } = setup::ends(&relay).await;
        let (second, accepted_second) = setup::meet(&setup::sender(&relay, HYCO).build().unwrap(), &listener).await;
        for (closing, seeing) in [(sender, accepted), (accepted_second, second)] {
            let (closed, ()) = tokio::join!(closing.close_with(3999, "grün").soon(), async {
                assert_eq!(seeing.receive().soon().await.unwrap(), None);
                assert_eq!(seeing.peer_close(), Some(Some(CloseFrame { code: 3999, reason: "grün".to_owned() })));
                seeing.close_with(4000, "as well").soon().await.unwrap();
            });
            closed.unwrap();
            assert_eq!(closing.peer_close().flatten().map(|close| close.code), Some(4000));
            closing.close().soon().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_close_is_answered_with_its_own_code() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, listener } = setup::ends(&relay).await;
        let (second, accepted_second) = setup::meet(&setup::sender(&relay, HYCO).build().unwrap(), &listener).await;
        let closing = sender.close_with(3999, "enough");
        let answering = async {
            assert_eq!(accepted.receive().soon().await.unwrap(), None);
            accepted.close().soon().await.unwrap();
        };
        let (closed, ()) = tokio::join!(closing, answering);
        closed.unwrap();
        assert_eq!(sender.peer_close(), Some(Some(CloseFrame { code: 3999, reason: String::new() })));

        let closing = second.close_with(1001, "leaving");
        let answering = async {
            assert_eq!(accepted_second.receive().soon().await.unwrap(), None);
            accepted_second.shutdown().soon().await.unwrap();
        };
        let (closed, ()) = tokio::join!(closing, answering);
        closed.unwrap();
        assert_eq!(second.peer_close().flatten().map(|close| close.code), Some(1001));
    }
}

#[tokio::test]
async fn a_close_goes_behind_everything_that_was_sent() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        let sending = async {
            for number in 0..200_u32 {
                sender.send(vec![number as u8; 10_000]).soon().await.unwrap();
            }
            sender.close().soon().await
        };
        let receiving = async {
            let mut seen = 0;
            while let Some(message) = accepted.receive().soon().await.unwrap() {
                assert!(message == vec![seen as u8; 10_000].into());
                seen += 1;
            }
            accepted.close().soon().await.unwrap();
            seen
        };
        let (closed, seen) = tokio::join!(sending, receiving);
        closed.unwrap();
        assert_eq!(seen, 200);
    }
}

#[tokio::test]
async fn after_a_half_close_the_other_side_sends_a_mebibyte_more() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        sender.send("the last word").soon().await.unwrap();
        sender.shutdown().soon().await.unwrap();
        assert_eq!(sender.send("too late").soon().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(accepted.receive().soon().await.unwrap(), Some("the last word".into()));
        assert_eq!(accepted.receive().soon().await.unwrap(), None);
        let answering = async {
            for number in 0..16_u8 {
                accepted.send(vec![number; 64 * 1024]).soon().await.unwrap();
            }
            accepted.close().soon().await.unwrap();
        };
        let receiving = async {
            for number in 0..16_u8 {
                let message = sender.receive().soon().await.unwrap().expect("a mebibyte in sixteen messages");
                assert!(message == vec![number; 64 * 1024].into());
            }
            assert_eq!(sender.receive().soon().await.unwrap(), None);
        };
        tokio::join!(answering, receiving);
        sender.close().soon().await.unwrap();
        setup::no_connection(&relay).await;
    }
}

/// The ways in which a program or its machine lets a connection go without a close.
fn abort(connection: Connection, way: usize) {
    match way {
        0 => connection.abort(),
        1 => drop(connection),
        _ => drop(connection.into_stream().unwrap()),
    }
}

#[tokio::test]
async fn an_abort_of_either_side_is_an_error_and_not_an_end_at_the_other() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, listener } = setup::ends(&relay).await;
        drop((sender, accepted));
        let sender = setup::sender(&relay, HYCO).build().unwrap();
        for way in 0..3 {
            for listener_aborts in [false, true] {
                let (a, b) = setup::meet(&sender, &listener).await;
                let (aborting, seeing) = if listener_aborts { (b, a) } else { (a, b) };
                aborting.send("before").soon().await.unwrap();
                assert_eq!(seeing.receive().soon().await.unwrap(), Some("before".into()));
                abort(aborting, way);
                let error = seeing.receive().soon().await.expect_err("an abort is no end of stream");
                assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
                assert!(error.is_retryable());
                assert_eq!(seeing.peer_close(), None);
                assert_eq!(seeing.send("x").soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
                assert_eq!(seeing.close().soon().await.unwrap_err().kind(), ErrorKind::ConnectionLost);
            }
        }
        setup::no_connection(&relay).await;
    }
}

#[tokio::test]
async fn an_abort_wakes_every_waiting_call_of_its_own_side() {
    let relay = setup::plain().await;
    let Ends { sender, accepted: _unread, .. } = setup::ends(&relay).await;
    setup::fill(&sender).await;
    let mut receiving = pin!(sender.receive());
    let mut sending = pin!(sender.send("no room"));
    assert!(receiving.as_mut().now_or_never().is_none());
    assert!(sending.as_mut().now_or_never().is_none());
    sender.abort();
    assert_eq!(receiving.soon().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sending.soon().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn an_end_without_close_is_an_abort_however_the_transport_ends() {
    for relay in setup::plain_and_tls().await {
        let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
        for way in ["reset", "orderly end of the transport", "end inside a frame"] {
            let (mut sender, accepted) = peers::raw_sender(&relay, &listener).await;
            sender.send(&text("before")).await;
            assert_eq!(accepted.receive().soon().await.unwrap(), Some("before".into()));
            match way {
                "reset" => sender.reset(),
                "end inside a frame" => {
                    sender.send(&text("never ends")[..9]).await;
                    sender.socket().shutdown().soon().await.unwrap();
                }
                _ => sender.socket().shutdown().soon().await.unwrap(),
            }
            let error = accepted.receive().soon().await.expect_err(way);
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{way}: {error}");
        }
    }
}

#[tokio::test]
async fn a_reset_of_one_raw_peer_is_a_reset_at_the_other() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        sender.reset();
        assert_eq!(accepted.next().await, Seen::Reset);
        let RawEnds { mut sender, accepted, .. } = peers::raw_ends(&relay).await;
        accepted.reset();
        assert_eq!(sender.next().await, Seen::Reset);
    }
}

#[tokio::test]
async fn what_was_written_before_the_end_of_a_stream_arrives_although_the_program_has_gone() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        let mut stream = sender.into_stream().unwrap();
        stream.write_all(&vec![7; 300_000]).soon().await.unwrap();
        let ended = async move {
            stream.shutdown().soon().await.unwrap();
            drop(stream);
        };
        let (_, read) = tokio::join!(ended, async {
            let mut read = 0;
            while let Some(message) = accepted.receive().soon().await.unwrap() {
                read += message.len();
            }
            read
        });
        assert_eq!(read, 300_000);
        accepted.close().soon().await.unwrap();
        setup::no_connection(&relay).await;
    }
}

#[tokio::test]
async fn a_close_that_nobody_answers_times_out_and_aborts() {
    let relay = setup::plain().await;
    let listener = setup::listener(&relay, HYCO).soon().await.unwrap();
    let sender = setup::sender(&relay, HYCO).close_timeout(Duration::from_millis(200)).build().unwrap();
    let (sender, accepted) = setup::meet(&sender, &listener).await;
    assert_eq!(sender.close().soon().await.unwrap_err().kind(), ErrorKind::Timeout);
    // The close arrived before the abort did; whoever goes on speaking learns of that too.
    assert_eq!(accepted.receive().soon().await.unwrap(), None);
    let speaking = async {
        loop {
            if let Err(error) = accepted.send("is anybody there?").await {
                return error;
            }
        }
    };
    assert_eq!(speaking.soon().await.kind(), ErrorKind::ConnectionLost);
}

#[tokio::test]
async fn codes_that_may_not_travel_and_long_reasons_are_refused_before_anything_is_sent() {
    let relay = setup::plain().await;
    let Ends { sender, accepted, .. } = setup::ends(&relay).await;
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        let error = sender.close_with(code, "").soon().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{code}");
    }
    assert_eq!(sender.close_with(1000, &"x".repeat(124)).soon().await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    sender.send("still open").soon().await.unwrap();
    assert_eq!(accepted.receive().soon().await.unwrap(), Some("still open".into()));
}

#[tokio::test]
async fn a_cancelled_close_is_finished_by_the_next_call() {
    let relay = setup::plain().await;
    let Ends { sender, accepted, .. } = setup::ends(&relay).await;
    assert!(sender.close_with(3001, "once").now_or_never().is_none(), "the peer has not closed");
    assert_eq!(accepted.receive().soon().await.unwrap(), None);
    let (closed, answered) = tokio::join!(sender.close().soon(), accepted.close().soon());
    closed.unwrap();
    answered.unwrap();
    assert_eq!(accepted.peer_close().flatten().map(|close| close.code), Some(3001));
}

#[tokio::test]
async fn a_close_leaves_the_next_message_to_a_receive_that_waits() {
    let relay = setup::plain().await;
    let Ends { sender, accepted, .. } = setup::ends(&relay).await;
    let mut receiving = pin!(sender.receive());
    assert!(receiving.as_mut().now_or_never().is_none());
    let (received, closed, ()) = tokio::join!(receiving.soon(), sender.close().soon(), async {
        assert_eq!(accepted.receive().soon().await.unwrap(), None);
        accepted.send("on the way").soon().await.unwrap();
        accepted.close().soon().await.unwrap();
    });
    assert_eq!(received.unwrap(), Some("on the way".into()));
    closed.unwrap();
}

#[tokio::test]
async fn a_close_without_a_code_is_forwarded_without_one_and_the_relay_ends_the_transport_first() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        sender.send_close(None, "").await;
        assert_eq!(accepted.close().await, (None, String::new()));
        accepted.send_close(Some(1000), "bye").await;
        assert_eq!(sender.close().await, (Some(1000), "bye".to_owned()));
        // Neither has ended its own transport.
        assert_eq!(sender.next().await, Seen::Eof);
        assert_eq!(accepted.next().await, Seen::Eof);
    }
}

#[tokio::test]
async fn data_behind_a_close_is_discarded_and_the_other_direction_lives() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        let close = frame(0x80 | op::CLOSE, &[3, 232]);
        sender.send(&[text("before"), close, text("behind"), vec![0xFF; 100]].concat()).await;
        sender.send(&ping(b"and more")).await;
        assert_eq!(accepted.text().await, "before");
        assert_eq!(accepted.close().await, (Some(1000), String::new()));
        accepted.send(&text("still here")).await;
        assert_eq!(sender.text().await, "still here");
        accepted.send_close(Some(1000), "").await;
        assert_eq!(sender.close().await.0, Some(1000));
        assert_eq!(accepted.next().await, Seen::Eof);
    }
}

#[tokio::test]
async fn a_connection_that_both_closed_leaves_nothing_behind() {
    for relay in setup::plain_and_tls().await {
        let Ends { sender, accepted, .. } = setup::ends(&relay).await;
        assert_eq!(relay.connections(), 1);
        let (one, other) = tokio::join!(sender.close().soon(), async {
            assert_eq!(accepted.receive().soon().await.unwrap(), None);
            accepted.close().soon().await
        });
        one.unwrap();
        other.unwrap();
        setup::no_connection(&relay).await;
    }
}
