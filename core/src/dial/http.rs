//! Connections for HTTP requests, as hyper's client asks for them.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Authority;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::{DialTarget, Dialer, tcp};
use crate::env::BoxSocket;
use crate::{Error, ErrorKind, Result};

/// A spare socket that is older may have been closed by its other end.
const FRESH: Duration = Duration::from_secs(5);

/// Dials for hyper's client, through the proxy and by the trust that the WebSockets go by.
#[derive(Clone)]
pub(crate) struct HttpConnector {
    dialer: Arc<Dialer>,
    /// How long one dial may take.
    limit: Duration,
    versions: Versions,
    /// How long the server may leave unacknowledged what was sent.
    unacknowledged: Option<Duration>,
    /// A socket that was opened to see which version its other end speaks, and when.
    spare: Arc<Mutex<Option<(HttpSocket, Instant)>>>,
}

/// What a server is offered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    Both,
    Http1,
    /// Offers both and takes HTTP/2 only.
    Http2,
}

impl HttpConnector {
    pub(crate) fn new(dialer: Dialer, limit: Duration) -> Self {
        Self { dialer: Arc::new(dialer), limit, versions: Versions::Both, unacknowledged: None, spare: Arc::default() }
    }

    /// Does not offer HTTP/2.
    pub(crate) fn http1_only(mut self) -> Self {
        self.versions = Versions::Http1;
        self
    }

    /// Fails where HTTP/2 is not taken.
    pub(crate) fn http2_only(mut self) -> Self {
        self.versions = Versions::Http2;
        self
    }

    /// Gives a server up that leaves unacknowledged for so long what was sent, also one that does not read.
    pub(crate) fn unacknowledged(self, limit: Duration) -> Self {
        // A socket that was opened without is not for this one, nor this one's business.
        Self { unacknowledged: Some(limit), spare: Arc::default(), ..self }
    }

    /// Opens a socket, tells whether HTTP/2 is spoken on it, and keeps it for the next that asks: a clone, too.
    pub(crate) async fn probe(&self, uri: &Uri) -> Result<bool> {
        let socket = self.clone().dial(uri).await?;
        let is_http2 = socket.is_http2;
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some((socket, self.dialer.env.now()));
        Ok(is_http2)
    }

    pub(crate) async fn dial(self, uri: &Uri) -> Result<HttpSocket> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        let fits = |socket: &HttpSocket| match self.versions {
            Versions::Both => false,
            Versions::Http1 => !socket.is_http2,
            Versions::Http2 => socket.is_http2,
        };
        if let Some((socket, opened)) = spare
            && fits(&socket)
            && self.dialer.env.now().saturating_duration_since(opened) < FRESH
        {
            return Ok(socket);
        }
        let Self { dialer, limit, versions, unacknowledged, .. } = self;
        let target = DialTarget::parse(&uri.to_string())?;
        let authority = target.authority().to_owned();
        let opening = dialer.open_http(target, versions, unacknowledged);
        let socket = dialer.env.timeout(limit, opening).await.unwrap_or_else(|| {
            let limit = limit.as_secs_f32();
            Err(Error::new(ErrorKind::Timeout, format!("no answer from {authority} within {limit} s")))
        })?;
        if versions == Versions::Http2 && !socket.is_http2 {
            return Err(Error::new(ErrorKind::Network, format!("{authority} does not speak HTTP/2 any more")));
        }
        Ok(socket)
    }
}

impl Service<Uri> for HttpConnector {
    type Response = HttpSocket;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpSocket>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.dial(&uri).await })
    }
}

impl Dialer {
    async fn open_http(
        &self,
        target: DialTarget,
        versions: Versions,
        unacknowledged: Option<Duration>,
    ) -> Result<HttpSocket> {
        let mut socket = self.open_transport(&target).await?;
        if let Some(limit) = unacknowledged {
            socket.set_user_timeout(limit);
        }
        let (socket, is_http2) = match (target.tls, versions) {
            (true, Versions::Both | Versions::Http2) => self.tls.handshake_for_http(socket, &target.host).await?,
            (true, Versions::Http1) => (self.tls.handshake(socket, &target.host).await?, false),
            (false, _) => (socket, false),
        };
        Ok(HttpSocket::new(socket, is_http2))
    }

    /// A socket to a server, with TLS or without.
    pub(crate) async fn open_socket(&self, tls: bool, authority: &Authority) -> Result<BoxSocket> {
        let scheme = if tls { "https" } else { "http" };
        let target = DialTarget::parse(&format!("{scheme}://{authority}/"))?;
        let socket = self.open_transport(&target).await?;
        if tls { self.tls.handshake(socket, &target.host).await } else { Ok(socket) }
    }

    /// A TCP connection.
    pub(crate) async fn open_tcp(&self, host: &str, port: u16) -> Result<BoxSocket> {
        tcp::connect(&self.env, host, port).await
    }

    /// A transport to the target: directly or through the proxy, without the target's own TLS.
    pub(super) async fn open_transport(&self, target: &DialTarget) -> Result<BoxSocket> {
        match self.routing.proxy_for(target)? {
            Some(proxy) => proxy.open(&self.env, &self.tls, target).await,
            None => tcp::connect(&self.env, &target.host, target.port).await,
        }
    }
}

/// A socket that speaks HTTP.
pub(crate) struct HttpSocket {
    io: TokioIo<BoxSocket>,
    is_http2: bool,
    /// The other end takes nothing any more.
    is_deaf: bool,
}

impl HttpSocket {
    fn new(socket: BoxSocket, is_http2: bool) -> Self {
        Self { io: TokioIo::new(socket), is_http2, is_deaf: false }
    }

    /// Writes; where the other end has closed, the writer waits. What that end said before is an answer to be read, and hyper, which
    /// reads all the while, would drop it for an error here. The connection ends where there is nothing more to be read.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TokioIo<BoxSocket>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        if self.is_deaf {
            return Poll::Pending;
        }
        let written = write(Pin::new(&mut self.io), cx);
        if let Poll::Ready(Err(error)) = &written
            && !self.is_http2
            && matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
        {
            self.is_deaf = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        written
    }
}

impl Connection for HttpSocket {
    fn connected(&self) -> Connected {
        if self.is_http2 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl Read for HttpSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for HttpSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |io, cx| io.poll_write_vectored(cx, bufs))
    }
}
