//! The codec against itself and against an independent one, on random frames, splits and garbage.

use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode as PeerOpCode};
use tungstenite::protocol::frame::{Frame as PeerFrame, FrameHeader as PeerHeader, FrameSocket};

use super::*;

/// One whole frame: what both codecs must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Frame {
    fin: bool,
    opcode: OpCode,
    payload: Vec<u8>,
}

/// Frames in an order that RFC 6455 allows: messages in fragments, control frames anywhere.
fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let payload = prop_oneof![
        4 => vec(any::<u8>(), 0..200),
        1 => (120usize..131, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => (65_530usize..65_541, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ];
    let fragment = (payload, vec(control(), 0..2));
    let message = (prop_oneof![Just(OpCode::Text), Just(OpCode::Binary)], vec(fragment, 1..4));
    vec(message, 0..5).prop_map(|messages| {
        let mut frames = Vec::new();
        for (kind, fragments) in messages {
            let last = fragments.len() - 1;
            for (at, (payload, controls)) in fragments.into_iter().enumerate() {
                let opcode = if at == 0 { kind } else { OpCode::Continuation };
                frames.push(Frame { fin: at == last, opcode, payload });
                frames.extend(controls);
            }
        }
        frames
    })
}

fn control() -> impl Strategy<Value = Frame> {
    let opcode = prop_oneof![Just(OpCode::Ping), Just(OpCode::Pong), Just(OpCode::Close)];
    (opcode, vec(any::<u8>(), 0..126)).prop_map(|(opcode, payload)| Frame { fin: true, opcode, payload })
}

fn masked_for(role: Role, key: [u8; 4]) -> Option<[u8; 4]> {
    (role == Role::Server).then_some(key)
}

/// Our writer, as the peer of `role`.
fn encode(frames: &[Frame], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut wire = Vec::new();
    for Frame { fin, opcode, payload } in frames {
        if opcode.is_control() {
            let payload = ControlPayload::new(payload).unwrap();
            wire.extend_from_slice(control_frame(*opcode, &payload, mask).as_ref());
            continue;
        }
        let mut header = [0; FrameHeader::MAX_LEN];
        let len = FrameHeader { fin: *fin, opcode: *opcode, mask, len: payload.len() as u64 }.encode(&mut header);
        wire.extend_from_slice(&header[..len]);
        let start = wire.len();
        wire.extend_from_slice(payload);
        if let Some(key) = mask {
            Mask::new(key).apply(&mut wire[start..]);
        }
    }
    wire
}

fn encode_by_peer(frames: &[Frame], mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut wire = Vec::new();
    for Frame { fin, opcode, payload } in frames {
        let opcode = match opcode {
            OpCode::Continuation => PeerOpCode::Data(Data::Continue),
            OpCode::Text => PeerOpCode::Data(Data::Text),
            OpCode::Binary => PeerOpCode::Data(Data::Binary),
            OpCode::Close => PeerOpCode::Control(Control::Close),
            OpCode::Ping => PeerOpCode::Control(Control::Ping),
            OpCode::Pong => PeerOpCode::Control(Control::Pong),
        };
        let header = PeerHeader { is_final: *fin, opcode, mask, ..PeerHeader::default() };
        PeerFrame::from_payload(header, payload.clone().into()).format(&mut wire).unwrap();
    }
    wire
}

fn decode_by_peer(wire: &[u8]) -> Vec<Frame> {
    let mut socket = FrameSocket::new(Cursor::new(wire.to_vec()));
    let mut frames = Vec::new();
    while let Some(frame) = socket.read(None).unwrap() {
        let opcode = match frame.header().opcode {
            PeerOpCode::Data(Data::Continue) => OpCode::Continuation,
            PeerOpCode::Data(Data::Text) => OpCode::Text,
            PeerOpCode::Data(Data::Binary) => OpCode::Binary,
            PeerOpCode::Control(Control::Close) => OpCode::Close,
            PeerOpCode::Control(Control::Ping) => OpCode::Ping,
            PeerOpCode::Control(Control::Pong) => OpCode::Pong,
            other => panic!("the peer read {other:?}"),
        };
        // At this level tungstenite leaves the payload as it stands on the wire.
        let mut payload = frame.payload().to_vec();
        if let Some(key) = frame.header().mask {
            Mask::new(key).apply(&mut payload);
        }
        frames.push(Frame { fin: frame.header().is_final, opcode, payload });
    }
    frames
}

/// Our reader, fed in pieces of the given sizes. Checks on the way what the documentation promises.
fn decode(role: Role, wire: &[u8], sizes: &[usize]) -> Result<Vec<Frame>, (Vec<Frame>, FrameError)> {
    let mut decoder = Decoder::new(role);
    let mut frames: Vec<Frame> = Vec::new();
    // Control frames between fragments come out beside the data frame that is being filled.
    let mut filling = None;
    let mut rest = wire;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut piece, behind) = rest.split_at((*size).min(rest.len()));
        rest = behind;
        loop {
            let Decoded { consumed, event } = decoder.decode(piece).map_err(|error| (frames.clone(), error))?;
            assert!(consumed <= piece.len());
            match event {
                Some(Event::Frame { opcode, fin, len, kind }) => {
                    let named = match kind {
                        MessageKind::Text => OpCode::Text,
                        MessageKind::Binary => OpCode::Binary,
                    };
                    assert!(opcode == OpCode::Continuation || opcode == named);
                    let frame = Frame { fin, opcode, payload: Vec::new() };
                    match len {
                        0 => frames.push(frame),
                        _ => filling = Some(frame),
                    }
                }
                Some(Event::Payload { range, mask, frame_remaining, fin }) => {
                    let frame = filling.as_mut().expect("payload belongs to a frame");
                    assert!(!range.is_empty());
                    assert_eq!(fin, frame.fin);
                    let start = frame.payload.len();
                    frame.payload.extend_from_slice(&piece[range]);
                    if let Some(mut mask) = mask {
                        mask.apply(&mut frame.payload[start..]);
                    }
                    if frame_remaining == 0 {
                        frames.extend(filling.take());
                    }
                }
                Some(Event::Ping(payload)) => frames.push(whole(OpCode::Ping, &payload)),
                Some(Event::Pong(payload)) => frames.push(whole(OpCode::Pong, &payload)),
                Some(Event::Close(payload)) => frames.push(whole(OpCode::Close, &payload)),
                None => {
                    assert_eq!(consumed, piece.len());
                    break;
                }
            }
            piece = &piece[consumed..];
        }
    }
    Ok(frames)
}

fn whole(opcode: OpCode, payload: &ControlPayload) -> Frame {
    Frame { fin: true, opcode, payload: payload.to_vec() }
}

fn roles() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Client), Just(Role::Server)]
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![vec(1usize..20, 1..30), vec(1usize..5_000, 1..10), Just(vec![usize::MAX])]
}

proptest! {
    #[test]
    fn what_we_write_we_read_on_any_split(frames in frames(), role in roles(), key: [u8; 4], sizes in sizes()) {
        let wire = encode(&frames, masked_for(role, key));
        prop_assert_eq!(decode(role, &wire, &sizes), Ok(frames));
    }

    #[test]
    fn what_tungstenite_writes_we_read_and_write_byte_for_byte(
        frames in frames(), role in roles(), key: [u8; 4], sizes in sizes(),
    ) {
        let mask = masked_for(role, key);
        let wire = encode_by_peer(&frames, mask);
        prop_assert_eq!(&encode(&frames, mask), &wire);
        prop_assert_eq!(decode(role, &wire, &sizes), Ok(frames));
    }

    #[test]
    fn what_we_write_tungstenite_reads(frames in frames(), role in roles(), key: [u8; 4]) {
        prop_assert_eq!(decode_by_peer(&encode(&frames, masked_for(role, key))), frames);
    }

    #[test]
    fn garbage_neither_panics_nor_depends_on_the_split(
        garbage in vec(prop_oneof![any::<u8>(), Just(0x82), Just(0x02), Just(0x80), Just(0x85)], 0..300),
        role in roles(),
        sizes in sizes(),
    ) {
        prop_assert_eq!(decode(role, &garbage, &sizes), decode(role, &garbage, &[usize::MAX]));
    }

    #[test]
    fn a_frame_with_one_changed_byte_neither_panics_nor_depends_on_the_split(
        frames in frames(), role in roles(), key: [u8; 4], sizes in sizes(), at: prop::sample::Index, byte: u8,
    ) {
        let mut wire = encode(&frames, masked_for(role, key));
        if !wire.is_empty() {
            let at = at.index(wire.len().min(400));
            wire[at] = byte;
        }
        prop_assert_eq!(decode(role, &wire, &sizes), decode(role, &wire, &[usize::MAX]));
    }
}
