//! Masked frames in, unmasked frames out, in the same buffer.

use std::ops::Range;

use hybridrelay::ws::{
    ControlPayload, Decoded, Decoder, Event, FrameError, FrameHeader, Mask, OpCode, Role, Unanswered, WholeFrame,
};

use super::Traffic;
use crate::pool::{CAPACITY, HEADROOM};

/// What an incoming frame may have left and still pass with a header of its own, streamed. A longer one leaves in
/// fragments, so that a control frame finds a border soon (protocol.md 10, decision 53).
pub(super) const LONGEST_WHOLE: u64 = 64 * 1024;

/// The first of two fragments: the most that a header of four bytes can tell.
const LONGEST_SPLIT: usize = 0xFFFF;

// A buffer never holds more than two fragments.
const _: () = assert!(CAPACITY - LONGEST_SPLIT <= LONGEST_SPLIT);

/// Rewrites what one side sends into what the other side gets.
///
/// An outgoing frame is at least four bytes shorter than the incoming one, which carries a mask key. So output never
/// overtakes input, and a whole batch of frames is rewritten front to back into one contiguous range. The payload of the
/// first frame stays where it is and the output begins right before it; the headroom is for a header that the input in
/// this buffer has no place for, because the frame began in an earlier one.
pub(super) struct Rewriter {
    decoder: Decoder,
    /// The incoming frame has begun, or goes on, and its next piece needs an outgoing header with this opcode.
    owed: Option<OpCode>,
    /// How much payload the last outgoing header promised and has not got yet; 0 is a frame border of the output.
    open: u64,
    forwarding: Forwarding,
    traffic: Traffic,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Forwarding {
    All,
    UntilBorder,
    Nothing,
}

/// What became of one buffer.
pub(super) struct Rewritten {
    /// Where the output stands; may be empty.
    pub(super) output: Range<usize>,
    /// Where the first frame border of the output is, or would be if it lies behind the end.
    pub(super) border: usize,
    /// Whether the output ends inside a frame.
    pub(super) open: bool,
    /// Pings, to be answered.
    pub(super) pings: Unanswered,
    /// A Close, checked for its framing. What follows it was not looked at.
    pub(super) close: Option<ControlPayload>,
    /// The rule that is broken behind all this.
    pub(super) violation: Option<FrameError>,
}

impl Rewriter {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::new(Role::Server),
            owed: None,
            open: 0,
            forwarding: Forwarding::All,
            traffic: Traffic::default(),
        }
    }

    /// What was read so far.
    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Drops all data behind the next frame border of the output. Control frames are still seen.
    pub(super) fn stop_at_border(&mut self) {
        self.forwarding = if self.open == 0 { Forwarding::Nothing } else { Forwarding::UntilBorder };
    }

    /// Rewrites `buf`, which holds input behind [`HEADROOM`].
    pub(super) fn rewrite(&mut self, buf: &mut [u8]) -> Rewritten {
        let mut output = None;
        let open_before = self.open;
        let (mut pings, mut close, mut violation) = (Unanswered::default(), None, None);
        let mut at = HEADROOM;
        loop {
            if self.forwarding == Forwarding::All {
                at = self.rewrite_whole_frames(buf, at, &mut output);
            }
            let Decoded { consumed, event } = match self.decoder.decode(&buf[at..]) {
                Ok(decoded) => decoded,
                Err(error) => {
                    violation = Some(error);
                    break;
                }
            };
            match event {
                None => break,
                Some(Event::Frame { opcode, fin, len, .. }) => {
                    self.traffic.frames += 1;
                    if len > 0 {
                        self.owed = Some(opcode);
                    } else if self.forwarding == Forwarding::All {
                        put_header(buf, &mut output, at + consumed, FrameHeader { fin, opcode, mask: None, len });
                    }
                }
                Some(Event::Payload { range, mask, frame_remaining, fin }) => {
                    self.traffic.bytes += range.len() as u64;
                    let piece = at + range.start..at + range.end;
                    if self.forwarding == Forwarding::All
                        && let Some(opcode) = self.owed.take()
                    {
                        let left = piece.len() as u64 + frame_remaining;
                        if left > LONGEST_WHOLE {
                            self.put_fragments(
                                buf,
                                &mut output,
                                Piece { opcode, fin, range: piece, mask, frame_remaining },
                            );
                            at += consumed;
                            continue;
                        }
                        self.open = left;
                        put_header(buf, &mut output, piece.start, FrameHeader { fin, opcode, mask: None, len: left });
                    }
                    if self.forwarding != Forwarding::Nothing {
                        self.open -= piece.len() as u64;
                        let output = output.get_or_insert(piece.start..piece.start);
                        if let Some(mut mask) = mask {
                            mask.apply_moving(buf, piece.clone(), output.end);
                        }
                        output.end += piece.len();
                        if self.open == 0 && frame_remaining > 0 {
                            self.owed = Some(OpCode::Continuation);
                        }
                        if self.open == 0 && self.forwarding == Forwarding::UntilBorder {
                            self.forwarding = Forwarding::Nothing;
                        }
                    }
                }
                Some(Event::Ping(payload)) => pings.push(payload),
                Some(Event::Pong(_)) => {}
                Some(Event::Close(payload)) => {
                    match payload.close_code() {
                        Ok(_) => close = Some(payload),
                        Err(error) => violation = Some(error),
                    }
                    break;
                }
            }
            at += consumed;
        }
        let output = output.unwrap_or(HEADROOM..HEADROOM);
        // A frame that was open goes on at the front of the output, and passes whole: the rest of it fits an index.
        let border = output.start + open_before as usize;
        Rewritten { output, border, open: self.open > 0, pings, close, violation }
    }
}

impl Rewriter {
    /// Rewrites the frames that stand whole at `at`, and says where they end: most of what there is in a batch of messages.
    fn rewrite_whole_frames(&mut self, buf: &mut [u8], mut at: usize, output: &mut Option<Range<usize>>) -> usize {
        while let Some(frame) = self.decoder.decode_whole(&buf[at..]) {
            let WholeFrame { opcode, fin, payload, mask } = frame;
            let len = payload.len() as u64;
            self.traffic.frames += 1;
            self.traffic.bytes += len;
            let piece = at + payload.start..at + payload.end;
            at = piece.end;
            let to = put_header(buf, output, piece.start, FrameHeader { fin, opcode, mask: None, len });
            if let Some(mut mask) = mask {
                mask.apply_moving(buf, piece, to.end);
            }
            to.end += payload.len();
        }
        at
    }
}

/// Payload of a frame that is too long to pass whole.
struct Piece {
    opcode: OpCode,
    fin: bool,
    range: Range<usize>,
    mask: Option<Mask>,
    /// What of the frame comes behind it.
    frame_remaining: u64,
}

impl Rewriter {
    /// Writes what has come of a long frame as one fragment, or as two if it is more than one may hold.
    ///
    /// There is room for two headers, of four bytes each: such a frame's own header, of fourteen bytes, stands before the piece, or the
    /// headroom does.
    fn put_fragments(&mut self, buf: &mut [u8], output: &mut Option<Range<usize>>, piece: Piece) {
        let Piece { opcode, fin, range, mut mask, frame_remaining } = piece;
        let len = range.len();
        let first = if len as u64 > LONGEST_WHOLE { LONGEST_SPLIT } else { len };
        let header =
            |opcode, len: usize, ends: bool| FrameHeader { fin: fin && ends, opcode, mask: None, len: len as u64 };
        let mut headers = [Some(header(opcode, first, first == len && frame_remaining == 0)), None];
        if first < len {
            headers[1] = Some(header(OpCode::Continuation, len - first, frame_remaining == 0));
        }
        let room: usize = headers.iter().flatten().map(FrameHeader::encoded_len).sum();
        output.get_or_insert(range.start - room..range.start - room);
        let mut at = range.start;
        for header in headers.into_iter().flatten() {
            let len = header.len as usize;
            let to = put_header(buf, output, at, header);
            if let Some(mask) = &mut mask {
                mask.apply_moving(buf, at..at + len, to.end);
            }
            to.end += len;
            at += len;
        }
        if frame_remaining > 0 {
            self.owed = Some(OpCode::Continuation);
        }
    }
}

/// Puts a header behind the output, or, where there is none yet, right before `payload`.
///
/// There is room: either the whole incoming header lies between the output and `payload`, and it is at least four bytes
/// longer than this one, or `payload` stands at the front and the headroom precedes it.
fn put_header<'a>(
    buf: &mut [u8],
    output: &'a mut Option<Range<usize>>,
    payload: usize,
    header: FrameHeader,
) -> &'a mut Range<usize> {
    let mut bytes = [0; FrameHeader::MAX_LEN];
    let len = header.encode(&mut bytes);
    let output = output.get_or_insert(payload - len..payload - len);
    let place = &mut buf[output.end..output.end + len];
    match len {
        // The short ones by constant lengths, which are instructions and no calls.
        2 => place.copy_from_slice(&bytes[..2]),
        4 => place.copy_from_slice(&bytes[..4]),
        _ => place.copy_from_slice(&bytes[..len]),
    }
    output.end += len;
    output
}

#[cfg(test)]
mod tests {
    use hybridrelay::ws::control_frame;

    use super::*;

    fn masked(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let key = [0xA1, 0x5C, 0x03, 0x7E];
        let mut header = [0; FrameHeader::MAX_LEN];
        let len = FrameHeader { fin, opcode, mask: Some(key), len: payload.len() as u64 }.encode(&mut header);
        let mut frame = header[..len].to_vec();
        let mut payload = payload.to_vec();
        Mask::new(key).apply(&mut payload);
        frame.extend(payload);
        frame
    }

    fn rewrite(rewriter: &mut Rewriter, input: &[u8]) -> (Vec<u8>, Rewritten, usize) {
        let mut buf = [&[0; HEADROOM], input].concat();
        let rewritten = rewriter.rewrite(&mut buf);
        assert_eq!(rewritten.violation, None, "the input is valid");
        (buf[rewritten.output.clone()].to_vec(), rewritten, buf.len())
    }

    #[test]
    fn a_batch_of_frames_becomes_one_contiguous_range_and_the_first_payload_does_not_move() {
        let input = [
            masked(true, OpCode::Text, b"one"),
            masked(false, OpCode::Binary, b"two"),
            masked(true, OpCode::Continuation, b""),
        ]
        .concat();
        let (output, rewritten, _) = rewrite(&mut Rewriter::new(), &input);
        assert_eq!(output, b"\x81\x03one\x02\x03two\x80\x00");
        assert_eq!(rewritten.output.start, HEADROOM + 4, "the header stands right before the payload");
        assert!(!rewritten.open);
    }

    #[test]
    fn a_short_frame_keeps_its_header_and_streams_as_it_arrives() {
        let input = masked(true, OpCode::Text, b"hello");
        let mut rewriter = Rewriter::new();
        let (output, rewritten, _) = rewrite(&mut rewriter, &input[..8]);
        assert_eq!(output, b"\x81\x05he");
        assert!(rewritten.open);
        let (output, rewritten, _) = rewrite(&mut rewriter, &input[8..]);
        assert_eq!(output, b"llo");
        assert_eq!((rewritten.open, rewritten.border), (false, rewritten.output.end));
    }

    #[test]
    fn a_header_that_an_earlier_buffer_held_is_written_into_the_headroom() {
        let payload = vec![7; 300];
        let input = masked(true, OpCode::Binary, &payload);
        for cut in 1..=8 {
            let mut rewriter = Rewriter::new();
            assert_eq!(rewrite(&mut rewriter, &input[..cut]).0, b"");
            let (output, ..) = rewrite(&mut rewriter, &input[cut..]);
            assert_eq!(output, [b"\x82\x7E\x01\x2C", &payload[..]].concat(), "cut at {cut}");
        }
    }

    #[test]
    fn a_long_frame_leaves_as_fragments_of_what_has_arrived() {
        let payload: Vec<u8> = (0..LONGEST_WHOLE + 100).map(|i| i as u8).collect();
        let input = masked(true, OpCode::Text, &payload);
        let mut rewriter = Rewriter::new();

        let (first, rewritten, _) = rewrite(&mut rewriter, &input[..14 + 64]);
        assert_eq!(first, [b"\x01\x40", &payload[..64]].concat());
        assert!(!rewritten.open, "a control frame may follow");

        let (second, rewritten, _) = rewrite(&mut rewriter, &input[14 + 64..14 + 100]);
        assert_eq!(second, [&[0, 36], &payload[64..100]].concat());
        assert!(!rewritten.open);

        let (last, rewritten, _) = rewrite(&mut rewriter, &input[14 + 100..]);
        let header = [0x80, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(last, [&header, &payload[100..]].concat());
        assert!(!rewritten.open);
    }

    #[test]
    fn what_one_buffer_holds_of_a_long_frame_leaves_in_fragments_that_are_not_too_long() {
        let payload: Vec<u8> = (0..CAPACITY as u32 + 9).map(|i| (i % 251) as u8).collect();
        for before in [0, 3, 30] {
            let short = masked(true, OpCode::Text, &vec![1; before]);
            let mut rewriter = Rewriter::new();
            let input = [short, masked(true, OpCode::Binary, &payload)].concat();
            let (held, rest) = input.split_at(CAPACITY);
            let (output, rewritten, _) = rewrite(&mut rewriter, held);
            assert!(!rewritten.open);
            let (then, _, _) = rewrite(&mut rewriter, rest);
            let (mut frames, mut got) = (Vec::new(), Vec::new());
            let mut bytes = &[output, then].concat()[2 + before..];
            while let Some((header, len)) = FrameHeader::parse(bytes).expect("valid frames") {
                let end = len + header.len as usize;
                frames.push((header.opcode, header.fin));
                assert!(header.len <= LONGEST_WHOLE);
                got.extend_from_slice(&bytes[len..end]);
                bytes = &bytes[end..];
            }
            assert_eq!(frames, [(OpCode::Binary, false), (OpCode::Continuation, false), (OpCode::Continuation, true)]);
            assert!(got == payload, "the payload is the same");
        }
    }

    #[test]
    fn control_frames_are_taken_out_of_the_batch() {
        let ping = |payload: &[u8]| {
            control_frame(OpCode::Ping, &ControlPayload::new(payload).unwrap(), Some([9; 4])).as_ref().to_vec()
        };
        let close = control_frame(OpCode::Close, &CLOSE_1000, Some([9; 4]));
        let input =
            [&ping(b"old")[..], &masked(true, OpCode::Text, b"a"), &ping(b"new"), close.as_ref(), b"\xFFgarbage"]
                .concat();
        let (output, rewritten, _) = rewrite(&mut Rewriter::new(), &input);
        assert_eq!(output, b"\x81\x01a");
        let pings: Vec<_> = rewritten.pings.into_iter().map(|ping| ping.to_vec()).collect();
        assert_eq!(pings, [b"old", b"new"]);
        assert_eq!(rewritten.close, Some(*CLOSE_1000));
    }

    static CLOSE_1000: std::sync::LazyLock<ControlPayload> =
        std::sync::LazyLock::new(|| ControlPayload::new(&1000u16.to_be_bytes()).unwrap());

    #[test]
    fn after_a_stop_the_open_frame_is_finished_and_nothing_more() {
        let input = [masked(true, OpCode::Text, b"hello"), masked(true, OpCode::Text, b"more")].concat();
        let mut rewriter = Rewriter::new();
        assert_eq!(rewrite(&mut rewriter, &input[..8]).0, b"\x81\x05he");
        rewriter.stop_at_border();
        let (output, rewritten, _) = rewrite(&mut rewriter, &input[8..]);
        assert_eq!(output, b"llo");
        assert!(!rewritten.open);
        assert_eq!(rewrite(&mut rewriter, &masked(true, OpCode::Text, b"again")).0, b"");
    }
}
