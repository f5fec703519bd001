//! How two raw sockets become a pair at each contender.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use hybridrelay::ConnectionString;
use hybridrelay::protocol::FromRelay;
use hybridrelay::token::SasToken;
use hybridrelay::ws::OpCode;
use rustls::{ClientConfig, ServerConfig};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use super::Leg;
use super::block::masked;

/// Two legs that a contender has joined: what the sender's leg says, the listener's leg hears.
pub(crate) struct Pair {
    pub(crate) sender: Leg,
    pub(crate) listener: Leg,
}

/// The way into a contender.
pub(crate) struct Entrance {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    door: Door,
}

enum Door {
    /// Sender and listener meet at a rendezvous address, which the control channel tells.
    Rendezvous { token: String, entity: String, accepts: Receiver<String> },
    /// Two WebSockets with the same path are joined.
    Path { opened: u64 },
    /// The contender connects to this socket.
    Backend { listener: TcpListener, tls: Option<Arc<ServerConfig>> },
    /// Every two sockets belong together.
    InTurn,
}

impl Entrance {
    /// The way into our relay: puts a listener online.
    pub(crate) fn ours(address: SocketAddr, tls: Option<Arc<ClientConfig>>, connection_string: &str) -> Result<Self> {
        let connection_string: ConnectionString = connection_string.parse()?;
        let entity = connection_string.entity_path().context("the connection string names no entity")?.to_string();
        let token = token(&connection_string, &entity);
        let accepts = listen(Leg::connect(address, tls.as_ref())?, address, &entity, &token)?;
        Ok(Self { address, tls, door: Door::Rendezvous { token, entity, accepts } })
    }

    pub(crate) fn tungstenite(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { address, tls, door: Door::Path { opened: 0 } }
    }

    pub(crate) fn proxy(
        address: SocketAddr,
        tls: Option<Arc<ClientConfig>>,
        listener: TcpListener,
        backend_tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        Self { address, tls, door: Door::Backend { listener, tls: backend_tls } }
    }

    pub(crate) fn bare(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { address, tls, door: Door::InTurn }
    }

    /// Whether the contender speaks WebSocket, and so takes the mask keys out.
    pub(crate) fn unmasks(&self) -> bool {
        matches!(self.door, Door::Rendezvous { .. } | Door::Path { .. })
    }

    /// Opens a pair.
    pub(crate) fn open(&mut self) -> Result<Pair> {
        let mut sender = Leg::connect(self.address, self.tls.as_ref())?;
        let listener = match &mut self.door {
            Door::Rendezvous { token, entity, accepts } => {
                let target = format!("/$hc/{entity}?sb-hc-action=connect");
                ask_for_upgrade(&mut sender, &target, &format!("ServiceBusAuthorization: {token}\r\n"))?;
                let target = accepts.recv_timeout(Duration::from_secs(10)).context("no accept came")?;
                let mut listener = Leg::connect(self.address, self.tls.as_ref())?;
                ask_for_upgrade(&mut listener, &target, "")?;
                expect_upgrade(&mut listener)?;
                expect_upgrade(&mut sender)?;
                listener
            }
            Door::Path { opened } => {
                *opened += 1;
                let target = format!("/{opened}");
                ask_for_upgrade(&mut sender, &target, "")?;
                expect_upgrade(&mut sender)?;
                let mut listener = Leg::connect(self.address, self.tls.as_ref())?;
                ask_for_upgrade(&mut listener, &target, "")?;
                expect_upgrade(&mut listener)?;
                listener
            }
            Door::Backend { listener, tls } => Leg::accept(listener.accept()?.0, tls.as_ref())?,
            Door::InTurn => Leg::connect(self.address, self.tls.as_ref())?,
        };
        Ok(Pair { sender, listener })
    }

    /// Closes a pair in good order and waits until the contender has let both legs go.
    pub(crate) fn close(&self, pair: Pair) -> Result<()> {
        let Pair { mut sender, mut listener } = pair;
        if self.unmasks() {
            let close = masked(OpCode::Close, &1000u16.to_be_bytes(), [0x5A; 4]);
            sender.write_all(&close)?;
            let mut arrived = [0; 4];
            listener.read_exact(&mut arrived).context("the Close did not arrive")?;
            ensure!(arrived == [0x88, 2, 0x03, 0xE8], "something else than the Close arrived: {arrived:02x?}");
            listener.write_all(&close)?;
        } else {
            sender.shut_down()?;
            listener.read_to_end_of_any_kind()?;
            listener.shut_down()?;
        }
        listener.read_to_end_of_any_kind()?;
        sender.read_to_end_of_any_kind()?;
        Ok(())
    }
}

/// The relay's token for an entity, for longer than anything is measured.
pub(crate) fn token(connection_string: &ConnectionString, entity: &str) -> String {
    let name = connection_string.key_name().unwrap_or_default();
    let key = connection_string.key().unwrap_or_default();
    let life = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
    SasToken::create(&format!("http://localhost/{entity}/"), name, key, life).to_text()
}

/// Opens the control channel; the targets of the rendezvous addresses that come in are the result.
pub(crate) fn listen(leg: Leg, address: SocketAddr, entity: &str, token: &str) -> Result<Receiver<String>> {
    let uri = format!("ws://localhost:{}/$hc/{entity}?sb-hc-action=listen", address.port());
    let mut request = uri.into_client_request()?;
    request.headers_mut().insert("ServiceBusAuthorization", token.parse()?);
    let (mut control, _) =
        tungstenite::client(request, leg).map_err(|_| anyhow::anyhow!("the relay did not take the listener"))?;
    let (sender, accepts) = channel();
    thread::spawn(move || {
        // Reading answers Pings, too. The relay pings more often than a read is given up.
        while let Ok(message) = control.read() {
            let Message::Text(text) = message else { continue };
            let Ok(FromRelay::Accept(accept)) = FromRelay::parse(text.as_bytes()) else { continue };
            // Everything behind the authority.
            let target = accept.address.split_once("/$hc/").map(|(_, rest)| format!("/$hc/{rest}"));
            if target.is_none_or(|target| sender.send(target).is_err()) {
                return;
            }
        }
    });
    Ok(accepts)
}

pub(crate) fn ask_for_upgrade(leg: &mut Leg, target: &str, headers: &str) -> Result<()> {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    Ok(leg.write_all(request.as_bytes())?)
}

/// Reads the head of a 101. Nothing follows it, since nobody has sent anything.
pub(crate) fn expect_upgrade(leg: &mut Leg) -> Result<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        match leg.read(&mut buffer)? {
            0 => bail!("the connection ended during the handshake"),
            len => head.extend_from_slice(&buffer[..len]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.starts_with("HTTP/1.1 101"), "the handshake was answered with {status}");
    Ok(())
}
