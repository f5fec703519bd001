//! Frames, byte for byte.

use std::io;

use super::Socket;

/// Opcodes.
pub mod op {
    /// A further fragment.
    pub const CONTINUATION: u8 = 0;
    /// Text.
    pub const TEXT: u8 = 1;
    /// Bytes.
    pub const BINARY: u8 = 2;
    /// The last frame.
    pub const CLOSE: u8 = 8;
    /// A question.
    pub const PING: u8 = 9;
    /// Its answer.
    pub const PONG: u8 = 10;
}

/// The mask key of all raw peers.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A frame as it was read, unmasked by nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it ends its message.
    pub fin: bool,
    /// The three reserved bits.
    pub reserved: u8,
    /// The opcode.
    pub opcode: u8,
    /// Whether it was masked.
    pub masked: bool,
    /// The payload.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = String::from_utf8_lossy(&self.payload[..self.payload.len().min(80)]).into_owned();
        write!(f, "Frame(fin {}, opcode {}, {} bytes, {shown:?})", self.fin, self.opcode, self.payload.len())
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A frame.
    Frame(Frame),
    /// The stream ended, at a frame border and without a reset.
    Eof,
    /// The connection was reset, or ended inside a frame or without TLS's own end.
    Reset,
}

/// The header of a client's frame.
pub fn header(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(0x80 | len as u8),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

/// A client's whole frame; `first` holds FIN, reserved bits and opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// A text message in one frame.
pub fn text(payload: &str) -> Vec<u8> {
    frame(0x80 | op::TEXT, payload.as_bytes())
}

/// A binary message in one frame.
pub fn binary(payload: &[u8]) -> Vec<u8> {
    frame(0x80 | op::BINARY, payload)
}

/// A Ping.
pub fn ping(payload: &[u8]) -> Vec<u8> {
    frame(0x80 | op::PING, payload)
}

/// A WebSocket without manners: nothing is answered by itself.
#[derive(Debug)]
pub struct RawWebSocket {
    socket: Socket,
    input: Vec<u8>,
}

impl RawWebSocket {
    pub(super) fn new(socket: Socket, input: Vec<u8>) -> Self {
        Self { socket, input }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.socket.send(bytes).await;
    }

    /// Sends a Close; an empty payload without a code.
    pub async fn send_close(&mut self, code: Option<u16>, reason: &str) {
        let code = code.map(u16::to_be_bytes).unwrap_or_default();
        let payload = if code == [0, 0] { Vec::new() } else { [&code[..], reason.as_bytes()].concat() };
        self.send(&frame(0x80 | op::CLOSE, &payload)).await;
    }

    /// Whatever comes next.
    pub async fn next(&mut self) -> Seen {
        loop {
            if let Some((frame, len)) = parse(&self.input) {
                self.input.drain(..len);
                return Seen::Frame(frame);
            }
            match self.socket.receive(&mut self.input).await {
                Ok(0) if self.input.is_empty() => return Seen::Eof,
                Ok(0) => return Seen::Reset,
                Ok(_) => {}
                Err(error) => {
                    let reset = matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
                    );
                    assert!(reset, "{error}");
                    return Seen::Reset;
                }
            }
        }
    }

    /// The next frame; panics at the end.
    pub async fn frame(&mut self) -> Frame {
        match self.next().await {
            Seen::Frame(frame) => frame,
            end => panic!("{end:?} instead of a frame"),
        }
    }

    /// The next message, put together; control frames in between are dropped.
    pub async fn message(&mut self) -> (u8, Vec<u8>) {
        let (mut opcode, mut payload) = (None, Vec::new());
        loop {
            let frame = self.frame().await;
            match frame.opcode {
                op::PING | op::PONG => continue,
                op::CLOSE => panic!("a Close instead of a message: {frame:?}"),
                op::CONTINUATION => assert!(opcode.is_some(), "a continuation without a message"),
                begun => assert!(opcode.replace(begun).is_none(), "a message inside a message"),
            }
            assert!(!frame.masked && frame.reserved == 0, "a server's frames are plain");
            payload.extend_from_slice(&frame.payload);
            if frame.fin {
                return (opcode.unwrap_or_default(), payload);
            }
        }
    }

    /// The next message, as text.
    pub async fn text(&mut self) -> String {
        let (opcode, payload) = self.message().await;
        assert_eq!(opcode, op::TEXT);
        String::from_utf8(payload).expect("text is UTF-8")
    }

    /// Code and reason of the Close that comes next; pings before it are dropped.
    pub async fn close(&mut self) -> (Option<u16>, String) {
        loop {
            let frame = self.frame().await;
            match frame.opcode {
                op::CLOSE => return close_payload(&frame.payload),
                op::PING | op::PONG => {}
                _ => panic!("{frame:?} instead of a Close"),
            }
        }
    }

    /// Reads up to the end of the transport and says which it was; frames are dropped.
    pub async fn end(&mut self) -> Seen {
        loop {
            match self.next().await {
                Seen::Frame(_) => {}
                end => return end,
            }
        }
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.socket.reset();
    }

    /// The socket below.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

/// Code and reason of a Close's payload.
fn close_payload(payload: &[u8]) -> (Option<u16>, String) {
    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
    (code, String::from_utf8(payload.get(2..).unwrap_or_default().to_vec()).expect("a reason is UTF-8"))
}

/// The frame at the front of `bytes` and its length there.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&[first, second], mut rest) = bytes.split_first_chunk()?;
    let len = match second & 0x7F {
        126 => {
            let (len, behind) = rest.split_first_chunk()?;
            rest = behind;
            u64::from(u16::from_be_bytes(*len))
        }
        127 => {
            let (len, behind) = rest.split_first_chunk()?;
            rest = behind;
            u64::from_be_bytes(*len)
        }
        len => u64::from(len),
    };
    let masked = second & 0x80 != 0;
    let rest = if masked { rest.get(4..)? } else { rest };
    let payload = rest.get(..usize::try_from(len).expect("a frame that fits"))?;
    let frame = Frame {
        fin: first & 0x80 != 0,
        reserved: first >> 4 & 7,
        opcode: first & 0x0F,
        masked,
        payload: payload.to_vec(),
    };
    Some((frame, bytes.len() - rest.len() + payload.len()))
}
