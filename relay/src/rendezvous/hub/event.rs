//! A publisher's messages, put together: each becomes one frame that every subscriber is sent.

use bytes::Bytes;
use hybridrelay::ws::{Decoded, Decoder, Event, FrameError, FrameHeader, OpCode, Role};

/// Room in front of a message that comes in pieces, for the header of its frame.
const ROOM: usize = FrameHeader::MAX_LEN;

/// Reads frames as a server sends them, and puts messages together.
///
/// Text is checked: one publisher must not be able to end the connections of all subscribers.
pub(super) struct Assembler {
    decoder: Decoder,
    opcode: OpCode,
    /// What has come of a message that comes in pieces, behind the room for its header.
    begun: Vec<u8>,
}

impl Assembler {
    /// For messages of at most so many bytes.
    pub(super) fn new(longest: usize) -> Self {
        let decoder = Decoder::new(Role::Client).with_message_limit(longest as u64);
        Self { decoder, opcode: OpCode::Binary, begun: Vec::new() }
    }

    /// Reads on, and adds a frame for each message that has come whole.
    ///
    /// # Errors
    ///
    /// A message that is too long, and text that is none. Those before it have been added.
    pub(super) fn read(&mut self, mut input: &[u8], events: &mut Vec<Bytes>) -> Result<(), FrameError> {
        loop {
            if let Some(frame) = self.decoder.decode_whole(input) {
                let payload = &input[frame.payload.clone()];
                input = &input[frame.payload.end..];
                if frame.fin && frame.opcode != OpCode::Continuation {
                    // By far most messages are one frame, which has come at once.
                    events.push(whole(frame.opcode, payload)?);
                    continue;
                }
                self.begin(frame.opcode);
                self.begun.extend_from_slice(payload);
                if frame.fin {
                    events.push(self.end()?);
                }
                continue;
            }
            let Decoded { consumed, event } = self.decoder.decode(input)?;
            let ends = match event {
                None => return Ok(()),
                Some(Event::Frame { opcode, fin, len, .. }) => {
                    self.begin(opcode);
                    fin && len == 0
                }
                Some(Event::Payload { range, frame_remaining, fin, .. }) => {
                    self.begun.extend_from_slice(&input[range]);
                    fin && frame_remaining == 0
                }
                // Control frames are not for subscribers.
                Some(_) => false,
            };
            if ends {
                events.push(self.end()?);
            }
            input = &input[consumed..];
        }
    }

    fn begin(&mut self, opcode: OpCode) {
        if opcode != OpCode::Continuation {
            self.opcode = opcode;
            self.begun.resize(ROOM, 0);
        }
    }

    fn end(&mut self) -> Result<Bytes, FrameError> {
        let mut message = std::mem::take(&mut self.begun);
        let payload = &message[ROOM..];
        check(self.opcode, payload)?;
        let (header, len) = header(self.opcode, payload.len());
        let start = ROOM - len;
        message[start..ROOM].copy_from_slice(&header[..len]);
        message.shrink_to_fit();
        Ok(Bytes::from(message).slice(start..))
    }
}

/// How many bytes of a frame that was made here are payload.
pub(super) fn payload_len(frame: &[u8]) -> usize {
    match FrameHeader::parse(frame) {
        Ok(Some((_, len))) => frame.len() - len,
        _ => 0,
    }
}

fn whole(opcode: OpCode, payload: &[u8]) -> Result<Bytes, FrameError> {
    check(opcode, payload)?;
    let (header, len) = header(opcode, payload.len());
    let mut frame = Vec::with_capacity(len + payload.len());
    frame.extend_from_slice(&header[..len]);
    frame.extend_from_slice(payload);
    Ok(frame.into())
}

fn check(opcode: OpCode, payload: &[u8]) -> Result<(), FrameError> {
    if opcode == OpCode::Text && std::str::from_utf8(payload).is_err() {
        return Err(FrameError::InvalidUtf8);
    }
    Ok(())
}

fn header(opcode: OpCode, len: usize) -> ([u8; FrameHeader::MAX_LEN], usize) {
    let mut header = [0; FrameHeader::MAX_LEN];
    let len = FrameHeader { fin: true, opcode, mask: None, len: len as u64 }.encode(&mut header);
    (header, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [0; FrameHeader::MAX_LEN];
        let len = FrameHeader { fin, opcode, mask: None, len: payload.len() as u64 }.encode(&mut bytes);
        [&bytes[..len], payload].concat()
    }

    /// Reads the input in pieces of this size.
    fn read(longest: usize, input: &[u8], size: usize) -> (Vec<Bytes>, Result<(), FrameError>) {
        let (mut assembler, mut events) = (Assembler::new(longest), Vec::new());
        let result = input.chunks(size).try_for_each(|piece| assembler.read(piece, &mut events));
        (events, result)
    }

    #[test]
    fn each_message_becomes_one_frame_however_it_came() {
        let long = vec![7; 70_000];
        let input = [
            frame(true, OpCode::Text, "grün".as_bytes()),
            frame(true, OpCode::Binary, b""),
            frame(false, OpCode::Binary, &long[..200]),
            frame(false, OpCode::Continuation, b""),
            frame(true, OpCode::Continuation, &long[200..]),
            // A character in two fragments is text.
            frame(false, OpCode::Text, &[0xC3]),
            frame(true, OpCode::Continuation, &[0xBC]),
            frame(false, OpCode::Text, b""),
            frame(true, OpCode::Continuation, b""),
        ]
        .concat();
        let expected = [
            frame(true, OpCode::Text, "grün".as_bytes()),
            frame(true, OpCode::Binary, b""),
            frame(true, OpCode::Binary, &long),
            frame(true, OpCode::Text, "ü".as_bytes()),
            frame(true, OpCode::Text, b""),
        ];
        for size in [1, 2, 3, 100, input.len()] {
            let (events, result) = read(70_000, &input, size);
            assert_eq!(result, Ok(()));
            assert!(events.iter().map(|event| &event[..]).eq(expected.iter().map(|frame| &frame[..])), "{size}");
        }
        let lengths = expected.iter().map(|frame| payload_len(frame));
        assert!(lengths.eq([5, 0, 70_000, 2, 0]));
    }

    #[test]
    fn what_comes_before_a_message_that_is_too_long_or_no_text_is_handed_out() {
        let good = frame(true, OpCode::Text, b"ok");
        for (bad, error) in [
            (frame(true, OpCode::Binary, &[0; 11]), FrameError::MessageTooLarge(10)),
            (
                [frame(false, OpCode::Binary, &[0; 6]), frame(true, OpCode::Continuation, &[0; 5])].concat(),
                FrameError::MessageTooLarge(10),
            ),
            (frame(true, OpCode::Text, &[0xFF]), FrameError::InvalidUtf8),
            (
                [frame(false, OpCode::Text, &[0xC3]), frame(true, OpCode::Continuation, b"x")].concat(),
                FrameError::InvalidUtf8,
            ),
        ] {
            let (events, result) = read(10, &[&good[..], &bad].concat(), 1000);
            assert_eq!(result, Err(error));
            assert_eq!(events, [&good[..]]);
        }
    }
}
