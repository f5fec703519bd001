//! Mask keys from the environment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::env::{Env, Metered};
use crate::mask_keys::MaskKeys;
use crate::output::take_written;
use crate::ws::{ControlPayload, Decoded, Decoder, Event, FrameHeader, Mask, OpCode, Role, control_frame};

/// A socket below a WebSocket library that draws mask keys from the process's randomness: every frame gets a key from the
/// environment instead, so that a simulated listener's bytes depend on its seed alone.
pub(super) struct Masks {
    socket: Metered,
    keys: MaskKeys,
    decoder: Decoder,
    mask: Mask,
    /// Masked anew and not written yet.
    output: BytesMut,
}

impl Masks {
    pub(super) fn new(env: &Env, socket: Metered) -> Self {
        Self {
            socket,
            keys: MaskKeys::new(env.clone()),
            decoder: Decoder::new(Role::Server),
            mask: Mask::new([0; 4]),
            output: BytesMut::new(),
        }
    }

    /// The socket, which knows when the last byte came.
    pub(super) fn metered(&self) -> &Metered {
        &self.socket
    }

    fn mask_anew(&mut self, mut input: &[u8]) -> io::Result<()> {
        loop {
            let Decoded { consumed, event } = self.decoder.decode(input).map_err(io::Error::other)?;
            match event {
                None => return Ok(()),
                Some(Event::Frame { opcode, fin, len, .. }) => {
                    let key = self.keys.next();
                    let mut header = [0; FrameHeader::MAX_LEN];
                    let header_len = FrameHeader { fin, opcode, mask: Some(key), len }.encode(&mut header);
                    self.output.extend_from_slice(&header[..header_len]);
                    self.mask = Mask::new(key);
                }
                Some(Event::Payload { range, mask, .. }) => {
                    let start = self.output.len();
                    self.output.extend_from_slice(&input[range]);
                    if let Some(mut mask) = mask {
                        mask.apply(&mut self.output[start..]);
                    }
                    self.mask.apply(&mut self.output[start..]);
                }
                Some(Event::Ping(payload)) => self.control(OpCode::Ping, &payload),
                Some(Event::Pong(payload)) => self.control(OpCode::Pong, &payload),
                Some(Event::Close(payload)) => self.control(OpCode::Close, &payload),
            }
            input = &input[consumed..];
        }
    }

    fn control(&mut self, opcode: OpCode, payload: &ControlPayload) {
        let frame = control_frame(opcode, payload, Some(self.keys.next()));
        self.output.extend_from_slice(frame.as_ref());
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.output))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => take_written(&mut self.output, written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Masks {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Masks {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_output(cx))?;
        self.mask_anew(buf)?;
        // What is left leaves with the flush that the library makes behind every message.
        match self.poll_output(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(buf.len())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_output(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
