//! Control frames: short enough to live inline.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;

use super::{FrameError, FrameHeader, Mask, OpCode};

/// The payload of a Ping, Pong or Close: at most 125 bytes, kept inline and unmasked.
#[derive(Clone, Copy)]
pub struct ControlPayload {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl ControlPayload {
    /// The most that a control frame may carry (RFC 6455 5.5).
    pub const MAX_LEN: usize = 125;
    /// A payload of no bytes.
    pub const EMPTY: Self = Self { bytes: [0; Self::MAX_LEN], len: 0 };

    /// Copies `bytes`; an error if there are more than 125.
    pub fn new(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut payload = Self::EMPTY;
        if bytes.len() > payload.push(bytes) {
            return Err(FrameError::LongControl);
        }
        Ok(payload)
    }

    /// Appends as many of `bytes` as fit and says how many did.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let free = &mut self.bytes[usize::from(self.len)..];
        let taken = bytes.len().min(free.len());
        free[..taken].copy_from_slice(&bytes[..taken]);
        self.len += taken as u8;
        taken
    }

    pub(super) fn unmask(&mut self, key: [u8; 4]) {
        Mask::new(key).apply(&mut self.bytes[..usize::from(self.len)]);
    }
}

impl Default for ControlPayload {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Deref for ControlPayload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for ControlPayload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for ControlPayload {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ControlPayload {}

impl fmt::Debug for ControlPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content is the users', a close reason for instance: its length must do for a log.
        write!(f, "ControlPayload({} bytes)", self.len)
    }
}

/// Pings that are to be answered, in the order in which they came.
///
/// Each gets its Pong, as peers that count them expect. Of more than [`MOST`](Self::MOST) the oldest are forgotten, which is
/// allowed (RFC 6455 5.5.3) and keeps a peer that sends nothing else from filling memory.
#[derive(Clone, Debug, Default)]
pub struct Unanswered(VecDeque<ControlPayload>);

impl Unanswered {
    /// How many wait at most.
    pub const MOST: usize = 16;

    /// Adds a Ping.
    pub fn push(&mut self, ping: ControlPayload) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(ping);
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<ControlPayload> {
        self.0.pop_front()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<ControlPayload> for Unanswered {
    fn extend<T: IntoIterator<Item = ControlPayload>>(&mut self, pings: T) {
        pings.into_iter().for_each(|ping| self.push(ping));
    }
}

impl IntoIterator for Unanswered {
    type Item = ControlPayload;
    type IntoIter = std::collections::vec_deque::IntoIter<ControlPayload>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A whole control frame, ready for the wire.
#[derive(Clone, Copy)]
pub struct ControlFrame {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl ControlFrame {
    /// Two bytes of header, a mask key, and the longest payload.
    pub const MAX_LEN: usize = 2 + 4 + ControlPayload::MAX_LEN;
}

impl AsRef<[u8]> for ControlFrame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for ControlFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ControlFrame({} bytes)", self.len)
    }
}

/// Builds a whole Ping, Pong or Close; `mask` is the key of a client's frame, `None` for a server's.
///
/// # Panics
///
/// In debug builds, if `opcode` is not a control frame's.
pub fn control_frame(opcode: OpCode, payload: &ControlPayload, mask: Option<[u8; 4]>) -> ControlFrame {
    debug_assert!(opcode.is_control(), "{opcode:?} is not a control frame");
    let mut header = [0; FrameHeader::MAX_LEN];
    let header_len = FrameHeader { fin: true, opcode, mask, len: payload.len() as u64 }.encode(&mut header);

    let mut frame = ControlFrame { bytes: [0; ControlFrame::MAX_LEN], len: (header_len + payload.len()) as u8 };
    let (front, behind) = frame.bytes.split_at_mut(header_len);
    front.copy_from_slice(&header[..header_len]);
    let body = &mut behind[..payload.len()];
    body.copy_from_slice(payload);
    if let Some(key) = mask {
        Mask::new(key).apply(body);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_stand_on_the_wire_as_in_rfc_6455_section_5_7() {
        let hello = ControlPayload::new(b"Hello").unwrap();
        let ping = control_frame(OpCode::Ping, &hello, None);
        assert_eq!(ping.as_ref(), b"\x89\x05Hello");
        let pong = control_frame(OpCode::Pong, &hello, Some([0x37, 0xFA, 0x21, 0x3D]));
        assert_eq!(pong.as_ref(), [0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]);
    }

    #[test]
    fn a_payload_holds_125_bytes_and_not_more() {
        let longest = ControlPayload::new(&[7; 125]).unwrap();
        assert_eq!(control_frame(OpCode::Close, &longest, Some([0; 4])).as_ref().len(), ControlFrame::MAX_LEN);
        assert_eq!(ControlPayload::new(&[7; 126]), Err(FrameError::LongControl));
    }

    #[test]
    fn pings_are_answered_in_order_and_the_oldest_of_too_many_are_not() {
        let ping = |n: u8| ControlPayload::new(&[n]).unwrap();
        let mut unanswered = Unanswered::default();
        unanswered.extend((0..20).map(ping));
        assert_eq!(unanswered.pop(), Some(ping(4)));
        unanswered.push(ping(20));
        let rest: Vec<_> = unanswered.into_iter().map(|ping| ping[0]).collect();
        assert_eq!(rest, Vec::from_iter(5..=20));
    }

    #[test]
    fn debug_does_not_show_what_users_wrote() {
        let payload = ControlPayload::new(b"secret").unwrap();
        let shown = format!("{payload:?} {:?}", control_frame(OpCode::Ping, &payload, None));
        assert_eq!(shown, "ControlPayload(6 bytes) ControlFrame(8 bytes)");
    }
}
