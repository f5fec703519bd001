//! A blocking socket, plain or TLS.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use rustls_pki_types::ServerName;

/// Nothing that is measured waits this long: whoever does is stuck, and the measurement fails.
const STUCK: Duration = Duration::from_secs(60);

/// What is read from the socket at once, so that TLS does not ask the kernel for each piece of a record.
const AHEAD: usize = 64 * 1024;

/// One end of a connection. Every read and write is bounded in time.
pub(crate) struct Leg {
    socket: BufReader<TcpStream>,
    tls: Option<Box<Connection>>,
}

impl Leg {
    /// Connects, with TLS as a client if there is a configuration.
    pub(crate) fn connect(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let connection = match tls {
            Some(config) => Some(ClientConnection::new(config.clone(), ServerName::try_from("localhost")?)?.into()),
            None => None,
        };
        Self::new(TcpStream::connect(address)?, connection)
    }

    /// Takes an accepted socket, with TLS as a server if there is a configuration.
    pub(crate) fn accept(socket: TcpStream, tls: Option<&Arc<ServerConfig>>) -> Result<Self> {
        let connection = match tls {
            Some(config) => Some(ServerConnection::new(config.clone())?.into()),
            None => None,
        };
        Self::new(socket, connection)
    }

    fn new(socket: TcpStream, tls: Option<Connection>) -> Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(STUCK))?;
        socket.set_write_timeout(Some(STUCK))?;
        let mut leg = Self { socket: BufReader::with_capacity(AHEAD, socket), tls: tls.map(Box::new) };
        if let Some(tls) = &mut leg.tls {
            while tls.is_handshaking() {
                advance(tls, &mut leg.socket)?;
            }
            // A client's last words may still wait.
            write_waiting(tls, &leg.socket)?;
        }
        Ok(leg)
    }

    /// Says that nothing more will be sent.
    pub(crate) fn shut_down(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            write_waiting(tls, &self.socket)?;
        }
        match self.socket.get_ref().shutdown(Shutdown::Write) {
            // The other side has let go of everything already.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    /// Reads to the end, however the other side ends it.
    pub(crate) fn read_to_end_of_any_kind(&mut self) -> io::Result<()> {
        let mut buffer = [0; 1024];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for Leg {
    /// Behind TLS this takes every record that has come, as far as there is room.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        let mut filled = 0;
        loop {
            match tls.reader().read(&mut buffer[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(len) => filled += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
            if filled == buffer.len() || (filled > 0 && self.socket.buffer().is_empty()) {
                return Ok(filled);
            }
            advance(tls, &mut self.socket)?;
        }
    }
}

impl Write for Leg {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.get_ref().write(buffer) };
        let len = tls.writer().write(buffer)?;
        write_waiting(tls, &self.socket)?;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what waits to be written, then reads a piece and looks at it.
fn advance(tls: &mut Connection, socket: &mut BufReader<TcpStream>) -> io::Result<()> {
    write_waiting(tls, socket)?;
    if tls.wants_read() {
        socket.fill_buf()?;
        tls.read_tls(socket)?;
        tls.process_new_packets().map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    }
    Ok(())
}

fn write_waiting(tls: &mut Connection, socket: &BufReader<TcpStream>) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut socket.get_ref())?;
    }
    Ok(())
}
