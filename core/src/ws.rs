//! WebSocket frames (RFC 6455), without I/O.
//!
//! The relay joins two sockets with this code and the SDK speaks through it, because no library forwards a frame before
//! its end has come, leaves the Close handshake to the caller, and shows fragments (protocol.md 6.2, 6.3).
//!
//! Reading: feed whatever arrived to a [`Decoder`]; it says which ranges of the input are payload, and with which
//! [`Mask`], and never copies or keeps payload. Control frames, at most 125 bytes, are collected and come out whole, also
//! between the fragments of a message. Writing: encode a [`FrameHeader`] and mask the payload in place;
//! [`control_frame`] builds a whole Ping, Pong or Close.
//!
//! ```
//! use hybridrelay::ws::{Decoder, Event, Role};
//!
//! let mut decoder = Decoder::new(Role::Client);
//! let mut input: &[u8] = b"\x81\x05hello";
//! let mut text = Vec::new();
//! loop {
//!     let decoded = decoder.decode(input)?;
//!     match decoded.event {
//!         Some(Event::Payload { range, .. }) => text.extend_from_slice(&input[range]),
//!         Some(_) => {}
//!         None => break,
//!     }
//!     input = &input[decoded.consumed..];
//! }
//! assert_eq!(text, b"hello");
//! # Ok::<(), hybridrelay::ws::FrameError>(())
//! ```

mod close;
mod control;
mod decoder;
mod error;
mod header;
mod mask;
#[cfg(test)]
mod peer_tests;
mod utf8;

pub use close::{CloseFrame, close_code_is_valid};
pub use control::{ControlFrame, ControlPayload, Unanswered, control_frame};
pub use decoder::{Decoded, Decoder, Event, MessageKind, Role, WholeFrame};
pub use error::FrameError;
pub use header::{FrameHeader, OpCode};
pub use mask::Mask;
pub use utf8::Utf8Validator;
