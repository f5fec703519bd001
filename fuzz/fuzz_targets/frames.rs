//! The frame decoder on arbitrary bytes: it never panics, never consumes more than it was given, and sees the same frames
//! however the input is split.
//!
//! The first byte of the input chooses the role, the second the size of the pieces; the rest is what the peer sent.
#![no_main]

use hybridrelay::ws::{CloseFrame, Decoded, Decoder, Event, FrameError, Role, Utf8Validator};
use libfuzzer_sys::fuzz_target;

/// What was read, with the payload of a frame joined: the same for every split.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    frames: Vec<Event>,
    payload: Vec<u8>,
    error: Option<FrameError>,
}

fuzz_target!(|data: &[u8]| {
    let [role, size, wire @ ..] = data else { return };
    let role = if role & 1 == 0 { Role::Server } else { Role::Client };
    let whole = read(role, wire, wire.len().max(1));
    let pieces = read(role, wire, usize::from(*size).max(1));
    assert_eq!(whole, pieces);

    let mut validator = Utf8Validator::new();
    let by_pieces = wire.chunks(usize::from(*size).max(1)).try_for_each(|piece| validator.push(piece));
    assert_eq!(by_pieces.and_then(|()| validator.finish()).is_ok(), std::str::from_utf8(wire).is_ok());
});

fn read(role: Role, wire: &[u8], size: usize) -> Seen {
    let mut decoder = Decoder::new(role).with_message_limit(1 << 40);
    let mut seen = Seen::default();
    for mut piece in wire.chunks(size) {
        loop {
            let Decoded { consumed, event } = match decoder.decode(piece) {
                Ok(decoded) => decoded,
                Err(error) => {
                    seen.error = Some(error);
                    return seen;
                }
            };
            assert!(consumed <= piece.len());
            match event {
                Some(Event::Payload { range, mask, .. }) => {
                    assert!(range.end <= consumed && !range.is_empty());
                    let start = seen.payload.len();
                    seen.payload.extend_from_slice(&piece[range]);
                    if let Some(mut mask) = mask {
                        mask.apply(&mut seen.payload[start..]);
                    }
                }
                Some(event) => {
                    if let Event::Close(payload) = &event
                        && let Ok(Some(close)) = CloseFrame::parse(payload)
                    {
                        assert_eq!(close.encode(), *payload);
                    }
                    seen.frames.push(event);
                }
                None => {
                    assert_eq!(consumed, piece.len());
                    break;
                }
            }
            piece = &piece[consumed..];
        }
    }
    seen
}
