//! An HTTP and WebSocket client written by hand: it sends byte for byte what it is told and shows what comes, unjudged.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hybridrelay_relay::LocalRelay;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::Soon;

mod ask;
mod frames;
mod http;

pub use ask::{Answer, Ask, KEY, path_and_query};
pub use frames::{Frame, RawWebSocket, Seen, binary, frame, header, op, ping, text};
pub use http::{Framing, RawHttp, RawResponse};

/// The way to a relay for peers that are not the SDK.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where it is bound.
    pub addr: SocketAddr,
    /// Host and port, as in its addresses.
    pub authority: String,
    source: Option<IpAddr>,
    name: String,
    tls: Option<Arc<ClientConfig>>,
    kernel_buffers: Option<u32>,
}

impl Door {
    /// The way to a relay at `addr`, with TLS if a certificate is to be trusted.
    pub fn new(addr: SocketAddr, ca_pem: Option<&str>) -> Self {
        let tls = ca_pem.map(|pem| {
            let mut roots = RootCertStore::empty();
            let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("the relay's own certificate");
            roots.add(certificate).expect("the relay's own certificate");
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            Arc::new(builder.expect("the provider has ciphers").with_root_certificates(roots).with_no_client_auth())
        });
        let authority = match tls {
            Some(_) => format!("localhost:{}", addr.port()),
            None => addr.to_string(),
        };
        Self { addr, authority, source: None, name: "localhost".to_owned(), tls, kernel_buffers: None }
    }

    /// The same way with kernel buffers of this size at the peer's end, so that little fills them.
    pub fn with_kernel_buffers(mut self, bytes: u32) -> Self {
        self.kernel_buffers = Some(bytes);
        self
    }

    /// The same way under another name of the relay.
    pub fn named(&self, name: &str) -> Self {
        let authority = format!("{name}:{}", self.addr.port());
        Self { authority, name: name.to_owned(), ..self.clone() }
    }

    /// The same way with HTTP/2 offered in the TLS handshake.
    pub fn with_http2(&self) -> Self {
        let mut config = ClientConfig::clone(self.tls.as_ref().expect("a relay with TLS"));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { tls: Some(Arc::new(config)), ..self.clone() }
    }

    /// The same way, taken from another address of this machine: all of 127.0.0.0/8 are.
    pub fn from_address(&self, source: [u8; 4]) -> Self {
        Self { source: Some(source.into()), ..self.clone() }
    }

    /// Opens a socket.
    pub async fn open(&self) -> Socket {
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = self.kernel_buffers {
            socket.set_recv_buffer_size(bytes).expect("a size");
            socket.set_send_buffer_size(bytes).expect("a size");
        }
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0)).expect("an address of this machine");
        }
        let stream = socket.connect(self.addr).soon().await.expect("the relay takes sockets");
        stream.set_nodelay(true).expect("a fresh socket");
        match &self.tls {
            None => Socket::Plain(stream),
            Some(config) => {
                let name = ServerName::try_from(self.name.clone()).expect("a name");
                let stream = TlsConnector::from(config.clone()).connect(name, stream).soon().await;
                Socket::Tls(Box::new(stream.expect("the certificate is trusted")))
            }
        }
    }
}

impl From<&LocalRelay> for Door {
    fn from(relay: &LocalRelay) -> Self {
        Self::new(relay.local_addr(), relay.ca_pem())
    }
}

/// TCP, or TLS over it.
#[derive(Debug)]
pub enum Socket {
    /// TCP.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Socket {
    /// What was agreed on in the TLS handshake.
    pub fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol(),
        }
    }

    /// Resets the connection: no end of stream, no close_notify.
    pub fn reset(self) {
        let tcp = match &self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        };
        tcp.set_zero_linger().expect("an open socket");
    }

    /// The local address: what the relay sees as the remote one.
    pub fn local_addr(&self) -> SocketAddr {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        };
        tcp.local_addr().expect("an open socket")
    }

    /// Sends everything.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.write_all(bytes).soon().await.expect("the relay reads");
        self.flush().soon().await.expect("the relay reads");
    }

    /// Reads once; 0 at the end.
    pub async fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        let read = self.read(&mut buffer).soon().await?;
        into.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
