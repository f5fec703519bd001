//! Close, half-close and abort (protocol.md 6.3).

use super::*;

#[test]
fn a_close_is_forwarded_as_it_is_and_not_answered() {
    play(async |sim, Running { mut sender, mut listener, pump, .. }| {
        sender.close(4321, "grün").await;
        let forwarded = listener.frame().await;
        assert_eq!(forwarded.opcode, OpCode::Close);
        assert_eq!(forwarded.payload, b"\x10\xE1gr\xC3\xBCn");
        sender.expect_silence(&sim).await;

        // The other direction lives on.
        listener.text("one more thing").await;
        sender.expect(OpCode::Text, "one more thing").await;
        listener.close(1000, "").await;
        sender.expect_close(1000).await;
        assert_eq!(ended(pump).await, Ended::Closed { by: Party::Sender, code: Some(4321) });
    });
}

#[test]
fn an_empty_close_stays_empty() {
    play(async |_, Running { mut sender, mut listener, pump, .. }| {
        listener.send(true, OpCode::Close, b"").await;
        sender.expect(OpCode::Close, "").await;
        sender.send(true, OpCode::Close, b"").await;
        listener.expect(OpCode::Close, "").await;
        assert_eq!(ended(pump).await, Ended::Closed { by: Party::Listener, code: None });
    });
}

#[test]
fn after_both_closes_the_relay_ends_tcp_first() {
    play(async |sim, Running { mut sender, mut listener, pump, .. }| {
        sender.close(1000, "").await;
        listener.close(1000, "").await;
        for peer in [&mut sender, &mut listener] {
            peer.expect_close(1000).await;
            peer.expect_end().await;
        }
        assert!(!pump.is_finished(), "it waits for the peers to end as well");
        drop((sender, listener));
        let begun = sim.elapsed();
        assert!(matches!(ended(pump).await, Ended::Closed { .. }));
        assert_eq!(sim.elapsed(), begun);
    });
}

#[test]
fn peers_that_do_not_end_tcp_are_not_waited_for_long() {
    play(async |sim, Running { mut sender, mut listener, pump, .. }| {
        sender.close(1000, "").await;
        listener.close(1000, "").await;
        let begun = sim.elapsed();
        assert!(matches!(ended(pump).await, Ended::Closed { .. }));
        assert_eq!(sim.elapsed() - begun, FAREWELL);
    });
}

#[test]
fn data_behind_a_close_is_discarded() {
    play(async |sim, Running { mut sender, mut listener, pump, .. }| {
        let behind = [masked(true, OpCode::Text, b"late"), masked(true, OpCode::Ping, b"")].concat();
        let close = masked(true, OpCode::Close, &CloseFrame { code: 1000, reason: String::new() }.encode());
        sender.write(&[masked(true, OpCode::Text, b"in time"), close, behind.clone()].concat()).await;
        listener.expect(OpCode::Text, "in time").await;
        listener.expect_close(1000).await;
        sender.write(&behind).await;
        // Not even its framing counts.
        sender.write(b"\xFF\xFF\xFF garbage").await;
        listener.expect_silence(&sim).await;
        sender.expect_silence(&sim).await;
        listener.close(1000, "").await;
        sender.expect_close(1000).await;
        assert!(matches!(ended(pump).await, Ended::Closed { .. }));
    });
}

#[test]
fn closes_that_cross_end_the_pair() {
    play(async |_, Running { mut sender, mut listener, pump, .. }| {
        sender.close(3001, "a").await;
        listener.close(3002, "b").await;
        assert_eq!(sender.expect_close(3002).await, "b");
        assert_eq!(listener.expect_close(3001).await, "a");
        assert!(matches!(ended(pump).await, Ended::Closed { .. }));
    });
}

#[test]
fn an_abort_and_an_end_without_close_are_aborts_at_the_other_side() {
    for party in [Party::Sender, Party::Listener] {
        for reset in [true, false] {
            play(async |_, Running { sender, listener, pump, .. }| {
                let (vanishing, mut other) = match party {
                    Party::Sender => (sender, listener),
                    Party::Listener => (listener, sender),
                };
                if reset {
                    vanishing.abort();
                } else {
                    drop(vanishing);
                }
                other.expect_reset().await;
                assert_eq!(ended(pump).await, Ended::Aborted(party));
            });
        }
    }
}

#[test]
fn an_abort_in_the_middle_of_a_frame_is_an_abort_at_the_other_side() {
    play(async |_, Running { mut sender, mut listener, pump, .. }| {
        let frame = masked(true, OpCode::Binary, &[7; 1000]);
        sender.write(&frame[..500]).await;
        assert_eq!(listener.0.read_u16().await.unwrap(), 0x827E);
        sender.abort();
        let mut rest = Vec::new();
        let error = listener.0.read_to_end(&mut rest).await.expect_err("no end of the stream");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(ended(pump).await, Ended::Aborted(Party::Sender));
    });
}

#[test]
fn a_side_that_closes_and_vanishes_aborts_whoever_still_speaks_to_it() {
    play(async |_, Running { mut sender, mut listener, pump, .. }| {
        sender.close(1000, "").await;
        listener.expect_close(1000).await;
        sender.abort();
        listener.text("is anybody there?").await;
        listener.expect_reset().await;
        assert_eq!(ended(pump).await, Ended::Aborted(Party::Sender));
    });
}

#[test]
fn a_side_that_closes_and_ends_tcp_still_gets_an_orderly_end() {
    play(async |_, Running { mut sender, mut listener, pump, .. }| {
        sender.close(1000, "").await;
        sender.0.shutdown().await.unwrap();
        listener.expect_close(1000).await;
        listener.text("the answer").await;
        listener.close(1000, "").await;
        sender.expect(OpCode::Text, "the answer").await;
        sender.expect_close(1000).await;
        assert!(matches!(ended(pump).await, Ended::Closed { by: Party::Sender, .. }));
    });
}

#[test]
fn what_was_said_before_a_violation_is_delivered_and_its_answer_comes_back() {
    for party in [Party::Sender, Party::Listener] {
        play(async |_, Running { sender, listener, pump, .. }| {
            let (mut violator, mut other) = match party {
                Party::Sender => (sender, listener),
                Party::Listener => (listener, sender),
            };
            violator.write(&[masked(true, OpCode::Text, b"question"), b"\xC1\x80\0\0\0\0".to_vec()].concat()).await;
            other.expect(OpCode::Text, "question").await;
            other.text("answer").await;
            violator.expect(OpCode::Text, "answer").await;
            violator.expect_close(1002).await;
            other.expect_reset().await;
            drop(violator);
            assert_eq!(ended(pump).await, Ended::Violation { by: party, error: FrameError::ReservedBits });
        });
    }
}

#[test]
fn who_broke_the_framing_is_told_at_once_when_the_other_has_nothing_more_to_say() {
    for abort in [false, true] {
        play(async |sim, Running { mut sender, mut listener, pump, .. }| {
            sender.write(b"\xC1\x80\0\0\0\0").await;
            let before = sim.env("relay").now();
            if abort {
                listener.abort();
                sender.expect_close(1002).await;
            } else {
                listener.close(1000, "").await;
                sender.expect_close(1002).await;
                listener.expect_reset().await;
            }
            assert!(sim.env("relay").now() - before < Duration::from_millis(250));
            drop(sender);
            let error = FrameError::ReservedBits;
            assert_eq!(ended(pump).await, Ended::Violation { by: Party::Sender, error });
        });
    }
}

#[test]
fn a_violation_is_told_to_the_violator_and_aborts_the_other() {
    let invalid_close = masked(true, OpCode::Close, &1005u16.to_be_bytes());
    let half_a_code = masked(true, OpCode::Close, &[3]);
    for (bytes, error) in [
        (b"\x81\x01x".to_vec(), FrameError::Unmasked),
        (b"\xC1\x80\0\0\0\0".to_vec(), FrameError::ReservedBits),
        (b"\x83\x80\0\0\0\0".to_vec(), FrameError::UnknownOpCode(3)),
        (masked(true, OpCode::Continuation, b"x"), FrameError::UnexpectedContinuation),
        (masked(false, OpCode::Ping, b"x"), FrameError::FragmentedControl),
        (masked(true, OpCode::Ping, &[0; 126]), FrameError::LongControl),
        (invalid_close, FrameError::InvalidCloseCode(1005)),
        (half_a_code, FrameError::TruncatedCloseCode),
    ] {
        for party in [Party::Sender, Party::Listener] {
            play(async |_, Running { sender, listener, pump, .. }| {
                let (mut violator, mut other) = match party {
                    Party::Sender => (sender, listener),
                    Party::Listener => (listener, sender),
                };
                violator.text("so far so good").await;
                other.expect(OpCode::Text, "so far so good").await;
                violator.write(&bytes).await;
                violator.expect_close(1002).await;
                other.expect_reset().await;
                drop(violator);
                assert_eq!(ended(pump).await, Ended::Violation { by: party, error });
            });
        }
    }
}
