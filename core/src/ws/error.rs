//! How a peer can break the framing, and the close code that answers it.

use thiserror::Error;

/// A violation of RFC 6455 by the peer. It cannot be recovered from: answer with [`close_code`](Self::close_code) and stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A reserved bit is set, although no extension was negotiated.
    #[error("reserved bits are set in a frame header")]
    ReservedBits,
    /// The opcode is one of those kept for the future.
    #[error("unknown opcode {0:#x}")]
    UnknownOpCode(u8),
    /// A client sent a frame without a mask.
    #[error("a frame from a client is not masked")]
    Unmasked,
    /// A server sent a masked frame.
    #[error("a frame from a server is masked")]
    Masked,
    /// A Ping, Pong or Close without FIN.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A Ping, Pong or Close with more than 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// A continuation where no message has begun.
    #[error("a continuation frame without a message")]
    UnexpectedContinuation,
    /// A new message inside an unfinished one.
    #[error("a new message before the last one ended")]
    MissingContinuation,
    /// The highest bit of a 64-bit length is set.
    #[error("the frame length exceeds 2^63")]
    LengthOverflow,
    /// A Close payload of a single byte: half a code.
    #[error("a close payload of one byte")]
    TruncatedCloseCode,
    /// A close code that may not stand on the wire.
    #[error("close code {0} is not allowed on the wire")]
    InvalidCloseCode(u16),
    /// A text message or a close reason is not UTF-8.
    #[error("text is not valid UTF-8")]
    InvalidUtf8,
    /// A message is longer than the configured limit.
    #[error("the message is longer than the limit of {0} bytes")]
    MessageTooLarge(u64),
}

impl FrameError {
    /// The close code that tells the peer (RFC 6455 7.4.1): 1007 for bad UTF-8, 1009 for too large, else 1002.
    pub fn close_code(&self) -> u16 {
        match self {
            Self::InvalidUtf8 => 1007,
            Self::MessageTooLarge(_) => 1009,
            _ => 1002,
        }
    }
}
