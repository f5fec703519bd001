//! The streaming reader: right on any split of the input, without a buffer for payload.

use std::ops::Range;

use super::{ControlPayload, FrameError, FrameHeader, Mask, OpCode};

/// Who reads: it decides whether the peer must mask (RFC 6455 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The peer is a server and must not mask.
    Client,
    /// The peer is a client and must mask. A relay is the server on both of its legs.
    Server,
}

/// The type of a message, which all its frames share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
}

/// What one call of [`Decoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes at the front of the input are done with.
    pub consumed: usize,
    /// What they said; `None` if all input is consumed and more is needed.
    pub event: Option<Event>,
}

/// A piece of what the peer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The header of a data frame is complete. A frame with `len` 0 is all of it: no [`Payload`](Self::Payload) follows.
    Frame {
        /// The type of the message, also for continuations.
        kind: MessageKind,
        /// Text or binary for the first frame of a message, continuation for the others.
        opcode: OpCode,
        /// Whether this frame ends the message.
        fin: bool,
        /// Payload length of this frame.
        len: u64,
    },
    /// Some payload of the current data frame, never empty.
    Payload {
        /// Where it stands in the input of this call.
        range: Range<usize>,
        /// What unmasks this piece; `None` from a server.
        mask: Option<Mask>,
        /// How much of the frame is still to come; 0 ends the frame.
        frame_remaining: u64,
        /// Whether this frame ends the message.
        fin: bool,
    },
    /// A whole Ping. It may stand between the fragments of a message, as the two below.
    Ping(ControlPayload),
    /// A whole Pong.
    Pong(ControlPayload),
    /// A whole Close; its payload is not checked yet, see [`CloseFrame::parse`](super::CloseFrame::parse). What follows is
    /// decoded as before: whoever wants to ignore it has to.
    Close(ControlPayload),
}

/// What [`Decoder::decode_whole`] took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeFrame {
    /// Text or binary for the first frame of a message, continuation for the others.
    pub opcode: OpCode,
    /// Whether this frame ends the message.
    pub fin: bool,
    /// Where its payload stands in the input, never empty. What follows begins at its end.
    pub payload: Range<usize>,
    /// What unmasks it; `None` from a server.
    pub mask: Option<Mask>,
}

/// Reads frames from input that comes in pieces of any size.
///
/// Call [`decode`](Self::decode) again with the input behind `consumed` until it returns no event, then with what arrives
/// next. After an error every further call returns the same one.
#[derive(Clone, Debug)]
pub struct Decoder {
    role: Role,
    state: State,
    /// The message that has begun and not ended.
    message: Option<MessageKind>,
    message_len: u64,
    message_limit: u64,
}

#[derive(Clone, Debug)]
enum State {
    /// At a frame border, or inside a header of which `len` bytes have come.
    Header {
        bytes: [u8; FrameHeader::MAX_LEN],
        len: usize,
    },
    /// Inside a data frame; `remaining` is never 0.
    Payload {
        remaining: u64,
        mask: Option<Mask>,
        fin: bool,
    },
    /// Inside a control frame. Boxed, since it is rare that one comes in pieces, and there are as many decoders as connections.
    Control(Box<Control>),
    Failed(FrameError),
}

/// A control frame of which `remaining` bytes have not come.
#[derive(Clone, Debug)]
struct Control {
    opcode: OpCode,
    payload: ControlPayload,
    remaining: usize,
    mask: Option<[u8; 4]>,
}

impl State {
    const BORDER: Self = Self::Header { bytes: [0; FrameHeader::MAX_LEN], len: 0 };
}

impl Decoder {
    /// A decoder at the first frame border, for messages of any length.
    pub fn new(role: Role) -> Self {
        Self { role, state: State::BORDER, message: None, message_len: 0, message_limit: u64::MAX }
    }

    /// Refuses messages longer than `bytes`, at the header of the frame that goes too far and before any of its payload.
    pub fn with_message_limit(mut self, bytes: u64) -> Self {
        self.message_limit = bytes;
        self
    }

    /// Takes the next step through `input`. Consumes only what it understood, and all of it if no event comes out.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, FrameError> {
        let result = match &mut self.state {
            State::Header { .. } => self.decode_header(input),
            State::Payload { .. } => Ok(self.decode_payload(input)),
            State::Control(control) => {
                let decoded = control.decode(input, 0);
                if decoded.event.is_some() {
                    self.state = State::BORDER;
                }
                Ok(decoded)
            }
            State::Failed(error) => Err(*error),
        };
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// Takes a data frame that stands at the front of `input` whole, in one step: what a batch of short messages is made of.
    ///
    /// `None`, and nothing is consumed, if something else stands there, or if we are inside a frame:
    /// [`decode`](Self::decode) then says what. It would also say the same of such a frame, in two steps.
    #[inline]
    pub fn decode_whole(&mut self, input: &[u8]) -> Option<WholeFrame> {
        let (State::Header { len: 0, .. }, &[first, second, ref rest @ ..]) = (&self.state, input) else { return None };
        let (len, header_len) = match (second & 0x7F, rest) {
            (len @ 1..126, _) => (usize::from(len), 2),
            (126, &[high, low, ..]) => (usize::from(u16::from_be_bytes([high, low])), 4),
            _ => return None,
        };
        let (mask, start) = match (self.role, second & 0x80 != 0) {
            (Role::Client, false) => (None, header_len),
            (Role::Server, true) => (Some(Mask::new(*input[header_len..].first_chunk()?)), header_len + 4),
            _ => return None,
        };
        let message_len = self.message_len.saturating_add(len as u64);
        if len == 0 || input.len() - start < len || message_len > self.message_limit {
            return None;
        }
        // Reserved bits and control frames match none of these.
        let (opcode, kind) = match (first & 0x7F, self.message) {
            (0, Some(kind)) => (OpCode::Continuation, kind),
            (1, None) => (OpCode::Text, MessageKind::Text),
            (2, None) => (OpCode::Binary, MessageKind::Binary),
            _ => return None,
        };
        let fin = first & 0x80 != 0;
        self.message = if fin { None } else { Some(kind) };
        self.message_len = if fin { 0 } else { message_len };
        Some(WholeFrame { opcode, fin, payload: start..start + len, mask })
    }

    /// Whether the input consumed so far ends between two frames. A message may nevertheless be unfinished.
    pub fn at_frame_border(&self) -> bool {
        matches!(self.state, State::Header { len: 0, .. })
    }

    /// The type of the message that has begun and whose last frame's header has not come.
    pub fn open_message(&self) -> Option<MessageKind> {
        self.message
    }

    fn decode_header(&mut self, input: &[u8]) -> Result<Decoded, FrameError> {
        let State::Header { bytes, len } = &mut self.state else { unreachable!("called in this state only") };
        let before = *len;
        let parsed = match before {
            // The whole header lies in the input, nearly always.
            0 => self.role.parse_header(input)?,
            _ => {
                let added = input.len().min(FrameHeader::MAX_LEN - before);
                bytes[before..before + added].copy_from_slice(&input[..added]);
                self.role.parse_header(&bytes[..before + added])?
            }
        };
        let Some((header, header_len)) = parsed else {
            // An unfinished header is shorter than the longest, so all of the input belongs to it and fits.
            bytes[before..before + input.len()].copy_from_slice(input);
            *len += input.len();
            return Ok(Decoded { consumed: input.len(), event: None });
        };
        let consumed = header_len - before;
        if header.opcode.is_control() {
            Ok(self.begin_control(header, input, consumed))
        } else {
            self.begin_data(header, consumed)
        }
    }

    fn begin_data(&mut self, header: FrameHeader, consumed: usize) -> Result<Decoded, FrameError> {
        let kind = match (header.opcode, self.message) {
            (OpCode::Continuation, Some(kind)) => kind,
            (OpCode::Continuation, None) => return Err(FrameError::UnexpectedContinuation),
            (_, Some(_)) => return Err(FrameError::MissingContinuation),
            (OpCode::Text, None) => MessageKind::Text,
            (_, None) => MessageKind::Binary,
        };
        self.message_len = self.message_len.saturating_add(header.len);
        if self.message_len > self.message_limit {
            return Err(FrameError::MessageTooLarge(self.message_limit));
        }
        if header.fin {
            self.message = None;
            self.message_len = 0;
        } else {
            self.message = Some(kind);
        }
        self.state = match header.len {
            0 => State::BORDER,
            remaining => State::Payload { remaining, mask: header.mask.map(Mask::new), fin: header.fin },
        };
        let FrameHeader { opcode, fin, len, .. } = header;
        Ok(Decoded { consumed, event: Some(Event::Frame { kind, opcode, fin, len }) })
    }

    fn decode_payload(&mut self, input: &[u8]) -> Decoded {
        let State::Payload { remaining, mask, fin } = &mut self.state else {
            unreachable!("called in this state only")
        };
        if input.is_empty() {
            return Decoded { consumed: 0, event: None };
        }
        let taken = usize::try_from(*remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
        *remaining -= taken as u64;
        let event = Event::Payload { range: 0..taken, mask: *mask, frame_remaining: *remaining, fin: *fin };
        match mask {
            _ if *remaining == 0 => self.state = State::BORDER,
            Some(mask) => mask.advance(taken),
            None => {}
        }
        Decoded { consumed: taken, event: Some(event) }
    }

    fn begin_control(&mut self, header: FrameHeader, input: &[u8], header_len: usize) -> Decoded {
        // The header's own check holds this to 125 bytes.
        let remaining = header.len as usize;
        let payload = ControlPayload::EMPTY;
        let mut control = Control { opcode: header.opcode, payload, remaining, mask: header.mask };
        let decoded = control.decode(input, header_len);
        self.state = if decoded.event.is_some() { State::BORDER } else { State::Control(Box::new(control)) };
        decoded
    }
}

impl Control {
    /// Collects the payload from `input[from..]`.
    fn decode(&mut self, input: &[u8], from: usize) -> Decoded {
        let taken = self.remaining.min(input.len() - from);
        self.payload.push(&input[from..from + taken]);
        self.remaining -= taken;
        let consumed = from + taken;
        if self.remaining > 0 {
            return Decoded { consumed, event: None };
        }
        if let Some(key) = self.mask {
            self.payload.unmask(key);
        }
        let event = match self.opcode {
            OpCode::Ping => Event::Ping(self.payload),
            OpCode::Pong => Event::Pong(self.payload),
            _ => Event::Close(self.payload),
        };
        Decoded { consumed, event: Some(event) }
    }
}

impl Role {
    /// Parses a header and checks its mask bit, which the second byte shows, also before the rest has come. So that the
    /// verdict does not depend on the split, this comes before what only later bytes show to be wrong.
    fn parse_header(self, bytes: &[u8]) -> Result<Option<(FrameHeader, usize)>, FrameError> {
        let parsed = FrameHeader::parse(bytes);
        if let (Ok(_) | Err(FrameError::LengthOverflow), [_, second, ..]) = (&parsed, bytes) {
            match (self, second & 0x80 != 0) {
                (Self::Server, false) => return Err(FrameError::Unmasked),
                (Self::Client, true) => return Err(FrameError::Masked),
                _ => {}
            }
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `pieces` one after the other and collects the events, which have to be the same with the short cut and without.
    fn events<'a>(
        decoder: Decoder,
        pieces: impl IntoIterator<Item = &'a [u8]> + Clone,
    ) -> Result<Vec<Event>, FrameError> {
        let events = stepwise(decoder.clone(), pieces.clone());
        assert_eq!(in_whole_frames(decoder, pieces), events);
        events
    }

    /// As [`stepwise`], by way of `decode_whole` wherever it takes something.
    fn in_whole_frames<'a>(
        mut decoder: Decoder,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<Event>, FrameError> {
        let mut events = Vec::new();
        for mut piece in pieces {
            loop {
                let kind_before = decoder.open_message();
                if let Some(WholeFrame { opcode, fin, payload, mask }) = decoder.decode_whole(piece) {
                    let kind = match opcode {
                        OpCode::Text => MessageKind::Text,
                        OpCode::Binary => MessageKind::Binary,
                        _ => kind_before.expect("a continuation continues a message"),
                    };
                    events.push(frame(kind, opcode, fin, payload.len() as u64));
                    events.push(Event::Payload { range: 0..payload.len(), mask, frame_remaining: 0, fin });
                    piece = &piece[payload.end..];
                    continue;
                }
                let Decoded { consumed, event } = decoder.decode(piece)?;
                piece = &piece[consumed..];
                let Some(event) = event else { break };
                events.push(event);
            }
        }
        Ok(events)
    }

    fn stepwise<'a>(
        mut decoder: Decoder,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<Event>, FrameError> {
        let mut events = Vec::new();
        for mut piece in pieces {
            loop {
                let Decoded { consumed, event } = decoder.decode(piece)?;
                piece = &piece[consumed..];
                let Some(event) = event else { break };
                events.push(event);
            }
            assert!(piece.is_empty(), "everything is consumed when no event comes out");
        }
        Ok(events)
    }

    fn client(input: &[u8]) -> Result<Vec<Event>, FrameError> {
        events(Decoder::new(Role::Client), [input])
    }

    fn frame(kind: MessageKind, opcode: OpCode, fin: bool, len: u64) -> Event {
        Event::Frame { kind, opcode, fin, len }
    }

    #[test]
    fn a_message_in_fragments_keeps_its_kind_and_lets_a_ping_through() {
        let expected = vec![
            frame(MessageKind::Text, OpCode::Text, false, 3),
            Event::Payload { range: 0..3, mask: None, frame_remaining: 0, fin: false },
            Event::Ping(ControlPayload::new(b"?").unwrap()),
            frame(MessageKind::Text, OpCode::Continuation, true, 2),
            Event::Payload { range: 0..2, mask: None, frame_remaining: 0, fin: true },
        ];
        assert_eq!(client(b"\x01\x03Hel\x89\x01?\x80\x02lo"), Ok(expected));
    }

    #[test]
    fn an_empty_frame_is_a_header_and_nothing_else() {
        let expected = vec![frame(MessageKind::Binary, OpCode::Binary, true, 0)];
        assert_eq!(client(b"\x82\x00"), Ok(expected));
    }

    #[test]
    fn payload_comes_out_as_it_arrives_with_the_mask_turned_to_its_place() {
        let key = [0x37, 0xFA, 0x21, 0x3D];
        let mut turned = Mask::new(key);
        turned.advance(2);
        let pieces = [&b"\x81\x85\x37\xFA"[..], b"\x21\x3D\x7F\x9F", b"\x4D\x51\x58"];
        let expected = vec![
            frame(MessageKind::Text, OpCode::Text, true, 5),
            Event::Payload { range: 0..2, mask: Some(Mask::new(key)), frame_remaining: 3, fin: true },
            Event::Payload { range: 0..3, mask: Some(turned), frame_remaining: 0, fin: true },
        ];
        assert_eq!(events(Decoder::new(Role::Server), pieces), Ok(expected));
    }

    #[test]
    fn control_payload_is_collected_and_unmasked_on_any_split() {
        let input = b"\x8A\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58\x88\x80\x00\x00\x00\x00";
        let expected =
            Ok(vec![Event::Pong(ControlPayload::new(b"Hello").unwrap()), Event::Close(ControlPayload::EMPTY)]);
        for cut in 0..input.len() {
            let (a, b) = input.split_at(cut);
            assert_eq!(events(Decoder::new(Role::Server), [a, b]), expected, "cut at {cut}");
        }
        assert_eq!(events(Decoder::new(Role::Server), input.chunks(1)), expected);
    }

    #[test]
    fn a_whole_frame_is_taken_at_once_and_half_of_one_is_not() {
        let input = b"\x82\x83\x01\x02\x03\x04abc\x82";
        let mut decoder = Decoder::new(Role::Server);
        for short in 0..9 {
            assert_eq!(decoder.decode_whole(&input[..short]), None, "{short} bytes");
        }
        let whole =
            WholeFrame { opcode: OpCode::Binary, fin: true, payload: 6..9, mask: Some(Mask::new([1, 2, 3, 4])) };
        assert_eq!(decoder.decode_whole(input), Some(whole));
        assert_eq!(decoder.decode(b"\x82"), Ok(Decoded { consumed: 1, event: None }));
        assert_eq!(decoder.decode_whole(input), None, "inside a header");
    }

    proptest! {
        /// Bytes that are mostly headers, so that all of them occur: also wrong ones.
        #[test]
        fn the_short_cut_says_what_the_long_way_says(
            role in prop::sample::select(vec![Role::Client, Role::Server]),
            input in prop::collection::vec(
                prop::sample::select(vec![0u8, 1, 2, 3, 0x80, 0x81, 0x82, 0x83, 0x88, 0x89, 0x8A, 0xC1, 126, 127, 0xFE, 0xFF]),
                0..60,
            ),
            limit in prop::sample::select(vec![u64::MAX, 3]),
            cut: prop::sample::Index,
        ) {
            let (a, b) = input.split_at(cut.index(input.len() + 1));
            let _ = events(Decoder::new(role).with_message_limit(limit), [a, b]);
        }
    }

    #[test]
    fn the_order_of_fragments_is_checked() {
        assert_eq!(client(b"\x80\x00"), Err(FrameError::UnexpectedContinuation));
        assert_eq!(client(b"\x01\x00\x01\x00"), Err(FrameError::MissingContinuation));
        assert_eq!(client(b"\x01\x00\x80\x00\x80\x00"), Err(FrameError::UnexpectedContinuation));
    }

    #[test]
    fn masking_is_a_matter_of_the_role_and_is_judged_by_two_bytes() {
        assert_eq!(client(b"\x81\x85"), Err(FrameError::Masked));
        assert_eq!(events(Decoder::new(Role::Server), [&b"\x81\x7F"[..]]), Err(FrameError::Unmasked));
        assert_eq!(events(Decoder::new(Role::Server), [&b"\x81"[..], b"\x05"]), Err(FrameError::Unmasked));
        assert_eq!(events(Decoder::new(Role::Server), [&b"\x81\x7F\x80"[..]]), Err(FrameError::Unmasked));
    }

    #[test]
    fn a_message_beyond_the_limit_fails_at_the_header_that_goes_too_far() {
        let limited = || Decoder::new(Role::Client).with_message_limit(4);
        assert!(events(limited(), [&b"\x02\x03abc\x80\x01d\x82\x04abcd"[..]]).is_ok());
        assert_eq!(events(limited(), [&b"\x02\x03abc\x80\x02"[..]]), Err(FrameError::MessageTooLarge(4)));
        let huge = [0x82, 0x7F, 0x7F, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(events(limited(), [&huge[..]]), Err(FrameError::MessageTooLarge(4)));
    }

    #[test]
    fn frame_borders_are_known_also_inside_a_message() {
        let mut decoder = Decoder::new(Role::Client);
        assert!(decoder.at_frame_border());
        decoder.decode(b"\x01").unwrap();
        assert!(!decoder.at_frame_border(), "inside a header");
        decoder.decode(b"\x02").unwrap();
        decoder.decode(b"a").unwrap();
        assert!(!decoder.at_frame_border(), "inside a payload");
        decoder.decode(b"b").unwrap();
        assert!(decoder.at_frame_border());
        assert_eq!(decoder.open_message(), Some(MessageKind::Text));
    }

    #[test]
    fn an_error_stays() {
        let mut decoder = Decoder::new(Role::Client);
        assert_eq!(decoder.decode(b"\x83"), Err(FrameError::UnknownOpCode(3)));
        assert_eq!(decoder.decode(b"\x81\x00"), Err(FrameError::UnknownOpCode(3)));
    }
}
