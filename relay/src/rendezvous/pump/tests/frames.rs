//! What becomes of frames: nothing, as far as messages are concerned.

use hybridrelay::ws::MessageKind;

use super::*;

#[test]
fn frames_keep_their_kind_their_end_and_their_payload() {
    play(async |_, Running { mut sender, mut listener, .. }| {
        for (fin, opcode, payload) in [
            (true, OpCode::Text, "whole"),
            (true, OpCode::Binary, ""),
            (false, OpCode::Text, "first"),
            (false, OpCode::Continuation, ""),
            (true, OpCode::Continuation, "last"),
        ] {
            sender.send(fin, opcode, payload.as_bytes()).await;
            let forwarded = Frame { fin, opcode, payload: payload.into() };
            assert_eq!(listener.frame().await, forwarded);
        }
        listener.text("and back").await;
        sender.expect(OpCode::Text, "and back").await;
    });
}

#[test]
fn what_came_with_the_handshake_is_forwarded_first() {
    sim::run(1, async |sim| {
        let relay = sim.env("relay");
        let mut acceptor = relay.bind(([0, 0, 0, 0], 80).into()).await.unwrap();
        let mut sender = Peer(sim.env("sender").dial(acceptor.local_addr()).await.unwrap());
        let early = [masked(true, OpCode::Text, b"early"), masked(true, OpCode::Text, b"cut")].concat();
        let (early, late) = early.split_at(early.len() - 2);
        let sender_leg = Leg { socket: acceptor.accept().await.unwrap(), read_buf: early.to_vec().into() };
        let mut listener = Peer(sim.env("listener").dial(acceptor.local_addr()).await.unwrap());
        let listener_leg = Leg { socket: acceptor.accept().await.unwrap(), read_buf: Bytes::new() };
        let (_ending, end) = watch::channel(None);
        let pump = tokio::spawn(run(relay, sender_leg, listener_leg, PumpConfig::default(), end));
        listener.expect(OpCode::Text, "early").await;
        sender.write(late).await;
        listener.expect(OpCode::Text, "cut").await;
        pump.abort();
    });
}

#[test]
fn a_ping_is_answered_by_the_relay_and_goes_no_further() {
    play(async |sim, Running { mut sender, mut listener, .. }| {
        sender.send(true, OpCode::Ping, b"are you there?").await;
        sender.expect(OpCode::Pong, "are you there?").await;
        sender.send(true, OpCode::Pong, b"unasked").await;
        listener.expect_silence(&sim).await;
        sender.expect_silence(&sim).await;
    });
}

#[test]
fn pings_that_come_together_are_answered_in_their_order_sixteen_at_most() {
    play(async |sim, Running { mut sender, .. }| {
        let pings: Vec<_> = (0..20_u8).map(|n| masked(true, OpCode::Ping, &[n])).collect();
        sender.write(&pings.concat()).await;
        for n in 4..20 {
            sender.expect(OpCode::Pong, [n]).await;
        }
        sender.expect_silence(&sim).await;
    });
}

#[test]
fn an_answer_waits_for_the_border_of_a_frame_that_is_being_forwarded() {
    play(async |sim, Running { mut sender, mut listener, .. }| {
        let frame = masked(true, OpCode::Binary, &[7; 1000]);
        sender.write(&frame[..600]).await;
        // The header and what has come of the payload.
        listener.0.read_exact(&mut [0; 4 + 592]).await.unwrap();
        listener.send(true, OpCode::Ping, b"?").await;
        listener.expect_silence(&sim).await;
        sender.write(&frame[600..]).await;
        listener.0.read_exact(&mut [0; 408]).await.unwrap();
        listener.expect(OpCode::Pong, "?").await;
    });
}

#[test]
fn inside_a_long_frame_an_answer_comes_at_once() {
    play(async |_, Running { mut sender, mut listener, .. }| {
        let payload: Vec<u8> = (0..200_000u32).map(|index| index as u8).collect();
        let frame = masked(true, OpCode::Text, &payload);
        let mut received = Vec::new();
        let mut opcodes = Vec::new();
        for piece in frame.chunks(30_000) {
            sender.write(piece).await;
            listener.send(true, OpCode::Ping, b"?").await;
            loop {
                let frame = listener.frame().await;
                if frame.opcode == OpCode::Pong {
                    break;
                }
                opcodes.push((frame.opcode, frame.fin));
                received.extend(frame.payload);
                if received.len() == payload.len() {
                    listener.expect(OpCode::Pong, "?").await;
                    break;
                }
                if received.len() + 64 * 1024 >= payload.len() {
                    // What is left passes as one frame, which has to be finished first.
                    break;
                }
            }
        }
        while received.len() < payload.len() {
            let frame = listener.frame().await;
            if frame.opcode != OpCode::Pong {
                opcodes.push((frame.opcode, frame.fin));
                received.extend(frame.payload);
            }
        }
        assert_eq!(received, payload);
        let (last, first) = opcodes.split_last().unwrap();
        assert_eq!(*last, (OpCode::Continuation, true));
        assert_eq!(first[0], (OpCode::Text, false));
        assert!(first[1..].iter().all(|fragment| *fragment == (OpCode::Continuation, false)), "{opcodes:?}");
        assert!(first.len() >= 4, "{opcodes:?}");
    });
}

/// A message as it is sent: its kind and its frames, with a Ping before some of them.
#[derive(Clone, Debug)]
struct Message {
    kind: MessageKind,
    frames: Vec<(bool, Vec<u8>)>,
}

impl Message {
    fn payload(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|(_, payload)| payload.clone()).collect()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut opcode = match self.kind {
            MessageKind::Text => OpCode::Text,
            MessageKind::Binary => OpCode::Binary,
        };
        for (index, (ping, payload)) in self.frames.iter().enumerate() {
            if *ping {
                out.extend(masked(true, OpCode::Ping, b"p"));
            }
            out.extend(masked(index + 1 == self.frames.len(), opcode, payload));
            opcode = OpCode::Continuation;
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let len = prop_oneof![6 => 0..200usize, 2 => 0..70_000usize, 1 => 65_000..200_000usize];
    let frame = (any::<bool>(), len, any::<u8>());
    let frame = frame.prop_map(|(ping, len, seed)| (ping, (0..len).map(|index| seed ^ (index >> 3) as u8).collect()));
    let kind = prop_oneof![Just(MessageKind::Text), Just(MessageKind::Binary)];
    (kind, prop::collection::vec(frame, 1..4)).prop_map(|(kind, frames)| Message { kind, frames })
}

/// Reads messages until Close; fragments are put together again.
async fn messages(peer: &mut Peer) -> Vec<(MessageKind, Vec<u8>)> {
    let mut messages = Vec::new();
    let mut begun: Option<(MessageKind, Vec<u8>)> = None;
    loop {
        let Frame { fin, opcode, payload } = peer.frame().await;
        let (kind, mut data) = match (opcode, begun.take()) {
            (OpCode::Text, None) => (MessageKind::Text, Vec::new()),
            (OpCode::Binary, None) => (MessageKind::Binary, Vec::new()),
            (OpCode::Continuation, Some(begun)) => begun,
            (OpCode::Close, None) => return messages,
            (opcode, begun) => panic!("{opcode:?} came where begun is {}", begun.is_some()),
        };
        data.extend(payload);
        if fin {
            messages.push((kind, data));
        } else {
            begun = Some((kind, data));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn however_the_input_is_split_the_same_messages_come_out(
        sent in prop::collection::vec(message(), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        small in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        sent.iter().for_each(|message| message.write(&mut bytes));
        bytes.extend(masked(true, OpCode::Close, b""));
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        if small {
            // Also inside of headers, everywhere near the front.
            cuts.extend(1..bytes.len().min(200));
        }
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();

        let expected: Vec<_> = sent.iter().map(|message| (message.kind, message.payload())).collect();
        let frames: usize = sent.iter().map(|message| message.frames.len()).sum();
        let payload: usize = expected.iter().map(|(_, payload)| payload.len()).sum();
        let (received, outcome) = sim::run(1, async |sim| {
            let Running { mut sender, mut listener, pump, ending: _ending } = start(&sim).await;
            let sending = async {
                for cut in cuts.windows(2) {
                    sender.write(&bytes[cut[0]..cut[1]]).await;
                    // The pump reads this piece before the next one comes.
                    sim.sleep(Duration::from_millis(1)).await;
                }
            };
            let ((), received) = tokio::join!(sending, messages(&mut listener));
            listener.close(1000, "").await;
            drop((sender, listener));
            (received, pump.await.unwrap())
        });
        prop_assert!(received == expected, "messages differ");
        let traffic = Traffic { bytes: payload as u64, frames: frames as u64 };
        prop_assert_eq!(outcome.sender_to_listener, traffic);
    }
}
