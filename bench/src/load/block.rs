//! Frames prepared in advance, and what has to arrive of them.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail, ensure};
use hybridrelay::ws::{Decoder, Event, FrameHeader, Mask, OpCode, Role};

/// About how much payload a block holds: far more than a socket takes at once.
const PAYLOAD: usize = 512 * 1024;

/// A run of masked binary frames of one size, sent again and again.
pub(crate) struct Block {
    bytes: Vec<u8>,
    payload: Vec<u8>,
    frame: usize,
}

impl Block {
    /// Frames of `frame` bytes, each with a key of its own.
    pub(crate) fn new(frame: usize) -> Self {
        Self::of(PAYLOAD.div_ceil(frame), frame)
    }

    /// One frame.
    pub(crate) fn single(frame: usize) -> Self {
        Self::of(1, frame)
    }

    fn of(frames: usize, frame: usize) -> Self {
        let mut random = Random(frame as u64 | 1);
        let (mut bytes, mut payload) = (Vec::new(), Vec::new());
        for _ in 0..frames {
            let content: Vec<u8> = std::iter::repeat_with(|| random.next()).flatten().take(frame).collect();
            bytes.extend(masked(OpCode::Binary, &content, random.next()));
            payload.extend(content);
        }
        Self { bytes, payload, frame }
    }

    /// How many frames a block has.
    pub(crate) fn frames(&self) -> usize {
        self.payload.len() / self.frame
    }

    /// The payload bytes in a block.
    pub(crate) fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// How many bytes of a block arrive: a relay takes the mask keys out.
    pub(crate) fn arriving_len(&self, unmasked: bool) -> usize {
        self.bytes.len() - if unmasked { 4 * self.frames() } else { 0 }
    }

    /// Sends the block `times` times.
    pub(crate) fn send(&self, to: &mut impl Write, times: usize) -> Result<()> {
        for _ in 0..times {
            to.write_all(&self.bytes)?;
        }
        Ok(to.flush()?)
    }

    /// Receives what `times` blocks become and counts it, without looking at it.
    pub(crate) fn receive(&self, from: &mut impl Read, times: usize, unmasked: bool) -> Result<()> {
        let mut buffer = vec![0; 256 * 1024];
        let mut expected = self.arriving_len(unmasked) * times;
        while expected > 0 {
            let room = expected.min(buffer.len());
            match from.read(&mut buffer[..room])? {
                0 => bail!("the stream ended with {expected} bytes missing"),
                len => expected -= len,
            }
        }
        Ok(())
    }

    /// Receives what one block becomes and checks every byte of its payload.
    pub(crate) fn receive_and_check(&self, from: &mut impl Read, unmasked: bool) -> Result<()> {
        let mut bytes = vec![0; self.arriving_len(unmasked)];
        from.read_exact(&mut bytes).context("the stream ended early")?;
        let mut decoder = Decoder::new(if unmasked { Role::Client } else { Role::Server });
        let (mut at, mut payload) = (0, Vec::with_capacity(self.payload.len()));
        loop {
            let decoded = decoder.decode(&bytes[at..])?;
            match decoded.event {
                Some(Event::Payload { range, mask, .. }) => {
                    let piece = &mut bytes[at + range.start..at + range.end];
                    if let Some(mut mask) = mask {
                        mask.apply(piece);
                    }
                    payload.extend_from_slice(piece);
                }
                Some(Event::Frame { .. }) => {}
                Some(other) => bail!("an unexpected frame arrived: {other:?}"),
                None => break,
            }
            at += decoded.consumed;
        }
        ensure!(decoder.at_frame_border(), "the last frame is not whole");
        ensure!(payload == self.payload, "other bytes arrived than were sent");
        Ok(())
    }
}

/// A client's frame.
pub(crate) fn masked(opcode: OpCode, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut header = [0; FrameHeader::MAX_LEN];
    let len = FrameHeader { fin: true, opcode, mask: Some(key), len: payload.len() as u64 }.encode(&mut header);
    let mut frame = header[..len].to_vec();
    frame.extend_from_slice(payload);
    Mask::new(key).apply(&mut frame[len..]);
    frame
}

/// Noise that is the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> [u8; 4] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 as u32).to_le_bytes()
    }
}
