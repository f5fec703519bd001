//! What the relay does between two sockets, byte for byte (protocol.md 6.2, 6.3, decisions 21, 53).

use hybridrelay_tests::wire::peers::{self, RawEnds};
use hybridrelay_tests::wire::raw::{Frame, Seen, binary, frame, header, op, ping, text};
use hybridrelay_tests::wire::setup;

/// The longest frame that passes with a header of its own.
const WHOLE: usize = 64 * 1024;

fn masked(payload: &[u8]) -> Vec<u8> {
    // Without its header: what a raw peer sends of a frame that it has begun.
    frame(0x80, payload).split_off(header(0x80, payload.len() as u64).len())
}

fn plain(fin: bool, opcode: u8, payload: &[u8]) -> Frame {
    Frame { fin, reserved: 0, opcode, masked: false, payload: payload.to_vec() }
}

#[tokio::test]
async fn frames_pass_as_they_are_up_to_the_longest_whole_one() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        for [from, to] in [[0, 1], [1, 0]] {
            let ends = [&mut sender, &mut accepted];
            for length in [0, 1, 125, 126, 65_535, WHOLE] {
                let payload = vec![length as u8; length];
                ends[from].send(&binary(&payload)).await;
                assert_eq!(ends[to].frame().await, plain(true, op::BINARY, &payload), "{length}");
            }
            // Fragments are kept as well, empty ones too.
            let fragments = [
                frame(op::TEXT, b"a"),
                frame(op::CONTINUATION, b""),
                frame(op::CONTINUATION, b"b"),
                frame(0x80 | op::CONTINUATION, b""),
            ];
            ends[from].send(&fragments.concat()).await;
            for (fin, opcode, payload) in
                [(false, op::TEXT, &b"a"[..]), (false, 0, b""), (false, 0, b"b"), (true, 0, b"")]
            {
                assert_eq!(ends[to].frame().await, plain(fin, opcode, payload));
            }
        }
    }
}

#[tokio::test]
async fn a_longer_frame_leaves_as_fragments_of_one_message() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        for length in [WHOLE + 1, 5 * WHOLE + 3] {
            let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let sent = text(&"x".repeat(length));
            let (_, (first, rest)) = tokio::join!(sender.send(&sent), async {
                let first = accepted.frame().await;
                let mut rest = Vec::new();
                while rest.last().is_none_or(|frame: &Frame| !frame.fin) {
                    rest.push(accepted.frame().await);
                }
                (first, rest)
            });
            assert_eq!((first.fin, first.opcode), (false, op::TEXT));
            assert!(rest.iter().all(|frame| frame.opcode == op::CONTINUATION && !frame.masked && frame.reserved == 0));
            assert!(rest.iter().chain([&first]).all(|frame| frame.payload.len() <= WHOLE));
            assert_eq!(first.payload.len() + rest.iter().map(|frame| frame.payload.len()).sum::<usize>(), length);
            // FIN of the original, not of the pieces.
            let unfinished = frame(op::BINARY, &payload);
            let finish = frame(0x80 | op::CONTINUATION, b"end");
            let (_, (opcode, received)) = tokio::join!(
                async {
                    sender.send(&unfinished).await;
                    sender.send(&finish).await;
                },
                accepted.message()
            );
            assert_eq!(opcode, op::BINARY);
            assert!(received == [&payload[..], b"end"].concat());
        }
    }
}

#[tokio::test]
async fn half_a_frame_arrives_before_the_other_half_was_sent() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        // A frame of a terabyte: nobody could wait for its end.
        sender.send(&header(0x80 | op::BINARY, 1 << 40)).await;
        for round in 0..3_u8 {
            sender.send(&masked(&vec![round; 1000])).await;
            let mut received = Vec::new();
            while received.len() < 1000 {
                let frame = accepted.frame().await;
                assert!(!frame.fin);
                received.extend(frame.payload);
            }
            assert_eq!(received, vec![round; 1000]);
        }
        // The other direction is not touched by that.
        accepted.send(&text("meanwhile")).await;
        assert_eq!(sender.text().await, "meanwhile");
        // A short frame streams too, behind the header that it came with.
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        sender.send(&header(0x80 | op::TEXT, 10)).await;
        sender.send(&masked(b"12345")).await;
        let mut begun = Vec::new();
        while begun.len() < 7 {
            assert!(accepted.socket().receive(&mut begun).await.unwrap() > 0);
        }
        assert_eq!(begun, b"\x81\x0a12345");
    }
}

#[tokio::test]
async fn a_ping_inside_the_other_sides_long_frame_is_answered_at_a_fragments_border() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        sender.send(&header(0x80 | op::BINARY, 1 << 30)).await;
        sender.send(&masked(&[1; 500])).await;
        let mut seen = 0;
        while seen < 500 {
            seen += accepted.frame().await.payload.len();
        }
        // The listener asks while the sender's frame is far from its end.
        accepted.send(&ping(b"now")).await;
        assert_eq!(accepted.frame().await, plain(true, op::PONG, b"now"));
        sender.send(&masked(&[2; 500])).await;
        assert_eq!(accepted.frame().await.opcode, op::CONTINUATION);
    }
}

#[tokio::test]
async fn a_ping_between_fragments_is_answered_and_not_forwarded() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        sender.send(&[frame(op::TEXT, b"a"), ping(b"?"), frame(0x80, b"b"), frame(0x8A, b"pong")].concat()).await;
        assert_eq!(sender.frame().await, plain(true, op::PONG, b"?"));
        assert_eq!(accepted.frame().await, plain(false, op::TEXT, b"a"));
        assert_eq!(accepted.frame().await, plain(true, op::CONTINUATION, b"b"));
        sender.send(&text("next")).await;
        assert_eq!(accepted.frame().await, plain(true, op::TEXT, b"next"), "no ping, no pong");
    }
}

#[tokio::test]
async fn a_reader_that_stalls_gets_one_pong_for_the_newest_ping() {
    let relay = setup::plain().await;
    let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
    // In one write, so in one buffer: the newest is answered for all (RFC 6455 5.5.3).
    let flood: Vec<u8> = (0..100_u8).flat_map(|number| ping(&[number])).collect();
    sender.send(&[flood, text("behind")].concat()).await;
    assert_eq!(accepted.text().await, "behind");
    let mut pongs = vec![sender.frame().await];
    while pongs.last().is_some_and(|pong| pong.payload != [99]) {
        pongs.push(sender.frame().await);
    }
    assert!(pongs.len() <= 100 && pongs.iter().all(|pong| pong.opcode == op::PONG));
}

#[tokio::test]
async fn who_breaks_the_framing_is_told_1002_and_the_other_is_cut() {
    for relay in setup::plain_and_tls().await {
        // Each takes a moment, in which the other side could still answer what came before.
        let mut verdicts = Vec::new();
        for (what, bytes) in [
            ("a reserved bit", frame(0xC0 | op::TEXT, b"x")),
            ("another reserved bit", frame(0x90 | op::TEXT, b"x")),
            ("an opcode of the future", frame(0x80 | 3, b"x")),
            ("a control opcode of the future", frame(0x80 | 0xB, b"x")),
            ("a frame without a mask", b"\x81\x01x".to_vec()),
            ("a fragmented ping", frame(op::PING, b"x")),
            ("a control frame of 126 bytes", frame(0x80 | op::PONG, &[0; 126])),
            ("a close of 126 bytes", frame(0x80 | op::CLOSE, &[3; 126])),
            ("a close of one byte", frame(0x80 | op::CLOSE, &[3])),
            ("a close code that may not travel", frame(0x80 | op::CLOSE, &1005_u16.to_be_bytes())),
            ("a close code of nobody", frame(0x80 | op::CLOSE, &2999_u16.to_be_bytes())),
            ("a continuation of nothing", frame(0x80 | op::CONTINUATION, b"x")),
            ("a message inside a message", [frame(op::TEXT, b"a"), frame(op::TEXT, b"b")].concat()),
            ("a length of 2^63", [&[0x82, 0xFF, 0x80][..], &[0; 11]].concat()),
        ] {
            for listener_violates in [false, true] {
                let RawEnds { sender, accepted, .. } = peers::raw_ends(&relay).await;
                let (mut violator, mut other) = if listener_violates { (accepted, sender) } else { (sender, accepted) };
                violator.send(&text("before")).await;
                assert_eq!(other.text().await, "before");
                violator.send(&bytes).await;
                verdicts.push(async move {
                    let (code, reason) = violator.close().await;
                    assert_eq!(code, Some(1002), "{what}");
                    assert!(!reason.is_empty(), "{what}");
                    let end = violator.next().await;
                    assert_eq!(end, Seen::Eof, "{what}: the explanation was not overtaken by a reset");
                    assert_eq!(other.end().await, Seen::Reset, "{what}");
                });
            }
        }
        futures_util::future::join_all(verdicts).await;
        setup::no_connection(&relay).await;
    }
}

#[tokio::test]
async fn the_relay_does_not_judge_what_is_in_a_message() {
    let relay = setup::plain().await;
    let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
    // A character cut by a fragment's border, and text that is none (decision 54).
    sender.send(&[frame(op::TEXT, b"\xC3"), frame(0x80, b"\xBC"), frame(0x81, b"\xFF\xFE")].concat()).await;
    assert_eq!(accepted.message().await, (op::TEXT, b"\xC3\xBC".to_vec()));
    assert_eq!(accepted.message().await, (op::TEXT, b"\xFF\xFE".to_vec()));
    // A reason that is none, too.
    sender.send(&frame(0x80 | op::CLOSE, b"\x03\xE8\xFF")).await;
    assert_eq!(accepted.frame().await, plain(true, op::CLOSE, b"\x03\xE8\xFF"));
}

#[tokio::test]
async fn frames_in_single_bytes_and_in_one_write_come_to_the_same() {
    for relay in setup::plain_and_tls().await {
        let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
        let frames =
            [text("one"), binary(&[7; 300]), binary(b""), frame(op::TEXT, b"th"), ping(b"p"), frame(0x80, b"ree")];
        let all = frames.concat();
        for pieces in [1, 2, 5, all.len()] {
            for piece in all.chunks(pieces) {
                sender.send(piece).await;
            }
            assert_eq!(accepted.message().await, (op::TEXT, b"one".to_vec()));
            assert_eq!(accepted.message().await, (op::BINARY, vec![7; 300]));
            assert_eq!(accepted.message().await, (op::BINARY, vec![]));
            assert_eq!(accepted.message().await, (op::TEXT, b"three".to_vec()));
            assert_eq!(sender.frame().await, plain(true, op::PONG, b"p"));
        }
    }
}

#[tokio::test]
async fn what_is_said_right_behind_the_handshake_is_not_lost() {
    for relay in setup::plain_and_tls().await {
        let door = hybridrelay_tests::wire::raw::Door::from(&relay);
        let mut control = peers::RawListener::open(&relay).await;
        // The sender does not wait for its 101.
        let mut socket = door.open().await;
        peers::connect(&relay, "").write(&door, &mut socket).await;
        socket.send(&[text("early"), binary(&[9; 20_000])].concat()).await;
        let mut accepted = control.accept().await;
        assert_eq!(accepted.text().await, "early");
        assert_eq!(accepted.message().await, (op::BINARY, vec![9; 20_000]));
        accepted.send(&text("answer")).await;
        let mut sender = hybridrelay_tests::wire::raw::Answer::read(socket).await.websocket();
        assert_eq!(sender.text().await, "answer");
    }
}

#[tokio::test]
async fn the_bridges_preamble_passes_as_it_is() {
    let relay = setup::plain().await;
    let RawEnds { mut sender, mut accepted, .. } = peers::raw_ends(&relay).await;
    sender.send(&binary(b"\x01\x00\x00\x04ssh1")).await;
    assert_eq!(accepted.frame().await, plain(true, op::BINARY, b"\x01\x00\x00\x04ssh1"));
    accepted.send(&binary(b"\x01\x00\x00")).await;
    assert_eq!(sender.frame().await, plain(true, op::BINARY, b"\x01\x00\x00"));
}
