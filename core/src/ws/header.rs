//! The header in front of every frame (RFC 6455 5.2).

use super::FrameError;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// A further fragment of the message that has begun.
    Continuation,
    /// The first or only fragment of a text message.
    Text,
    /// The first or only fragment of a binary message.
    Binary,
    /// The last frame of this direction.
    Close,
    /// A question whether the peer is there.
    Ping,
    /// The answer to a Ping, or a sign of life without one.
    Pong,
}

impl OpCode {
    /// Whether this is a Close, Ping or Pong: short, whole, and allowed between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    fn from_bits(bits: u8) -> Result<Self, FrameError> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            other => return Err(FrameError::UnknownOpCode(other)),
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }
}

/// A frame's header. The reserved bits are always zero, since no extension is ever negotiated (protocol.md 10, decision 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this frame ends its message.
    pub fin: bool,
    /// What the frame is.
    pub opcode: OpCode,
    /// The key that masks the payload: always from a client, never from a server.
    pub mask: Option<[u8; 4]>,
    /// Payload length in bytes, below 2^63.
    pub len: u64,
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7F;
/// The length code that a 16-bit length follows, and the smallest one that may not be a control frame's.
const LENGTH_16: u8 = 126;
/// The length code that a 64-bit length follows.
const LENGTH_64: u8 = 127;

impl FrameHeader {
    /// The longest header: two bytes, a 64-bit length and a mask key.
    pub const MAX_LEN: usize = 14;

    /// Reads the header at the front of `bytes` and says how long it is; `None` if its end has not come yet.
    ///
    /// What the first bytes already show to be wrong is an error at once, without waiting for the rest. A length that
    /// could have been written shorter is accepted, as other implementations do.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(FrameError::ReservedBits);
        }
        let opcode = OpCode::from_bits(first & OPCODE)?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(FrameError::FragmentedControl);
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let code = second & LENGTH;
        if opcode.is_control() && code >= LENGTH_16 {
            return Err(FrameError::LongControl);
        }
        let rest = &bytes[2..];
        let (len, rest) = match code {
            LENGTH_64 => {
                if rest.first().is_some_and(|high| high & 0x80 != 0) {
                    return Err(FrameError::LengthOverflow);
                }
                let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*len), rest)
            }
            LENGTH_16 => {
                let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*len)), rest)
            }
            short => (u64::from(short), rest),
        };
        let (mask, rest) = match second & MASKED {
            0 => (None, rest),
            _ => {
                let Some((key, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (Some(*key), rest)
            }
        };
        Ok(Some((Self { fin, opcode, mask, len }, bytes.len() - rest.len())))
    }

    /// Writes the header to the front of `out`, its length in the shortest form, and says how long it is.
    pub fn encode(&self, out: &mut [u8; Self::MAX_LEN]) -> usize {
        out[0] = self.opcode.bits() | if self.fin { FIN } else { 0 };
        let mut at = match self.len {
            len @ 0..126 => {
                out[1] = len as u8;
                2
            }
            len @ 126..=0xFFFF => {
                out[1] = LENGTH_16;
                out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            len => {
                out[1] = LENGTH_64;
                out[2..10].copy_from_slice(&len.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            out[1] |= MASKED;
            out[at..at + 4].copy_from_slice(&key);
            at += 4;
        }
        at
    }

    /// How many bytes [`encode`](Self::encode) writes.
    pub fn encoded_len(&self) -> usize {
        let length = match self.len {
            0..126 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        length + if self.mask.is_some() { 4 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(header: FrameHeader) -> Vec<u8> {
        let mut out = [0; FrameHeader::MAX_LEN];
        let len = header.encode(&mut out);
        assert_eq!(len, header.encoded_len());
        out[..len].to_vec()
    }

    #[test]
    fn every_length_form_reads_back_and_needs_all_its_bytes() {
        for len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let header = FrameHeader { fin: false, opcode: OpCode::Binary, mask, len };
                let bytes = encoded(header);
                assert_eq!(FrameHeader::parse(&bytes), Ok(Some((header, bytes.len()))));
                for short in 0..bytes.len() {
                    assert_eq!(FrameHeader::parse(&bytes[..short]), Ok(None), "{short} of {bytes:?}");
                }
            }
        }
    }

    #[test]
    fn the_shortest_length_form_is_written() {
        let lengths = |len| encoded(FrameHeader { fin: true, opcode: OpCode::Text, mask: None, len });
        assert_eq!(lengths(125), [0x81, 125]);
        assert_eq!(lengths(126), [0x81, 126, 0, 126]);
        assert_eq!(lengths(0xFFFF), [0x81, 126, 0xFF, 0xFF]);
        assert_eq!(lengths(0x1_0000), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_length_in_too_long_a_form_is_accepted() {
        let expected = FrameHeader { fin: true, opcode: OpCode::Binary, mask: None, len: 5 };
        assert_eq!(FrameHeader::parse(&[0x82, 126, 0, 5]), Ok(Some((expected, 4))));
        assert_eq!(FrameHeader::parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5]), Ok(Some((expected, 10))));
    }

    #[test]
    fn a_wrong_header_fails_at_its_first_wrong_byte() {
        for reserved in [0xC1, 0xA1, 0x91] {
            assert_eq!(FrameHeader::parse(&[reserved]), Err(FrameError::ReservedBits));
        }
        for opcode in [0x3, 0x7, 0xB, 0xF] {
            assert_eq!(FrameHeader::parse(&[0x80 | opcode]), Err(FrameError::UnknownOpCode(opcode)));
        }
        for control in [0x08, 0x09, 0x0A] {
            assert_eq!(FrameHeader::parse(&[control]), Err(FrameError::FragmentedControl));
            assert_eq!(FrameHeader::parse(&[0x80 | control, 126]), Err(FrameError::LongControl));
        }
        assert_eq!(FrameHeader::parse(&[0x82, 0xFF, 0x80]), Err(FrameError::LengthOverflow));
    }
}
