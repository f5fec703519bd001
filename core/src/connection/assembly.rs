//! Pieces put together into messages, within the size limit.

use bytes::{Bytes, BytesMut};

use super::Message;
use crate::link::Piece;
use crate::ws::{CloseFrame, MessageKind, Utf8Validator};
use crate::{Error, ErrorKind};

/// The message that is being received. What has come of it survives a cancelled receive.
pub(super) struct Assembly {
    limit: usize,
    /// The first piece, kept as it is: most messages have only one.
    first: Bytes,
    rest: BytesMut,
    utf8: Utf8Validator,
}

impl Assembly {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, first: Bytes::new(), rest: BytesMut::new(), utf8: Utf8Validator::new() }
    }

    /// Adds a piece; a message when it ends one. A failure comes with the Close that tells the peer.
    pub(super) fn add(&mut self, piece: Piece) -> Result<Option<Message>, (Error, CloseFrame)> {
        if self.len() + piece.data.len() > self.limit {
            let error = Error::new(
                ErrorKind::MessageTooLarge,
                format!("a message is longer than the limit of {} bytes", self.limit),
            )
            .with_hint("raise max_message_size, or use the connection as a byte stream");
            return Err((error, CloseFrame { code: 1009, reason: "message too large".into() }));
        }
        if piece.kind == MessageKind::Text {
            let checked =
                self.utf8.push(&piece.data).and_then(|()| if piece.end { self.utf8.finish() } else { Ok(()) });
            if let Err(error) = checked {
                let close = CloseFrame { code: error.close_code(), reason: error.to_string() };
                let error = Error::new(ErrorKind::Protocol, "a text message is not UTF-8").with_source(error);
                return Err((error, close));
            }
        }
        if self.first.is_empty() {
            self.first = piece.data;
        } else {
            self.rest.extend_from_slice(&piece.data);
        }
        if !piece.end {
            return Ok(None);
        }
        self.utf8 = Utf8Validator::new();
        let data = self.take_begun();
        Ok(Some(match piece.kind {
            MessageKind::Binary => Message::Binary(data),
            // Validated above, so nothing is replaced.
            MessageKind::Text => Message::Text(String::from_utf8_lossy(&data).into_owned()),
        }))
    }

    /// Takes out what has come of the message so far.
    pub(super) fn take_begun(&mut self) -> Bytes {
        let first = std::mem::take(&mut self.first);
        if self.rest.is_empty() {
            return first;
        }
        let rest = std::mem::take(&mut self.rest);
        let mut whole = first.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        whole.unsplit(rest);
        whole.freeze()
    }

    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }
}
