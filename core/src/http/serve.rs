//! A tower service that serves what comes in: requests, and WebSockets as upgrades.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response, Uri};
use http_body::Body as HttpBody;
use hyper::body::Incoming as ReceivedBody;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tower_service::Service;

use super::body::Body;
use super::bridge::{Bridged, bridge, handshake_headers};
use super::head::RemoteAddr;
use super::request::IncomingRequest;
use super::traffic::Traffic;
use crate::env::{BoxFuture, Env, Socket};
use crate::link::WebSocketSettings;
use crate::serving::{self, Unanswered};
use crate::{Incoming, IncomingConnect, Listener, Result};

/// How much of a WebSocket lies between the service and the relay, each way.
const PIPE: usize = 64 * 1024;

type BoxError = Box<dyn StdError + Send + Sync>;

impl Listener {
    /// Serves everything that comes in with a tower service, such as an axum `Router`: requests, and WebSockets as upgrade requests.
    ///
    /// Requests are what [`IncomingRequest::into_parts`](crate::IncomingRequest::into_parts) gives: the path begins behind the mount
    /// point, and the extensions tell [`Mount`](crate::Mount), [`RemoteAddr`](crate::RemoteAddr) and
    /// [`Cancellation`](crate::Cancellation). A relayed WebSocket comes as the GET of its handshake, with hyper's `OnUpgrade` among
    /// its extensions: what the service upgrades carries WebSocket frames, as on a socket. Any other answer than 101 rejects the sender
    /// with its status. Each request runs in a task of its own on a clone of the service; a sender that goes cancels it; an error or a
    /// panic answers 500.
    ///
    /// The service takes requests whose body is [`Body`], an `http_body::Body`. One that is written for hyper's `Incoming`, which nothing
    /// but hyper can make, does not fit; one that is generic over its body, as axum's `Router` is, does. `tower::service_fn` makes a
    /// service of an async function, and so of a call to a service of hyper's own trait.
    ///
    /// Awaiting it serves until the listener closes, or [`with_graceful_shutdown`](Serve::with_graceful_shutdown) stops it, and all
    /// answers are given. The error is that of [`accept`](Self::accept). Dropping the future stops taking on more.
    pub fn serve<S>(&self, service: S) -> Serve<S> {
        Serve { listener: self.clone(), service, stop: serving::never() }
    }
}

/// A listener that is about to serve; await it.
#[must_use = "nothing is served until this is awaited"]
pub struct Serve<S> {
    listener: Listener,
    service: S,
    stop: BoxFuture<()>,
}

impl<S> Serve<S> {
    /// Stops when `signal` completes: what still comes is refused with 503, answers under way are finished, then the listener
    /// closes. WebSockets that were accepted go on.
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Box::pin(signal);
        self
    }
}

impl<S> fmt::Debug for Serve<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl<S, B> IntoFuture for Serve<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { listener, service, stop } = self;
        let env = listener.env().clone();
        let handle = move |incoming, unanswered| {
            let (env, service) = (env.clone(), service.clone());
            async move {
                match incoming {
                    Incoming::Request(request) => answer(service, request, unanswered).await,
                    Incoming::Connect(connect) => upgrade(env, service, connect, unanswered).await,
                }
            }
        };
        Box::pin(serving::serve(listener, stop, handle))
    }
}

async fn answer<S, B>(service: S, request: IncomingRequest, _unanswered: Unanswered)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (request, responder) = request.into_parts();
    let cancellation = responder.cancellation();
    let answer = tokio::select! {
        biased;
        () = cancellation.cancelled() => return,
        answer = call(service, request) => answer,
    };
    let tracking_id = responder.tracking_id().to_owned();
    let sent = match answer {
        Ok(response) => responder.send(response.map(Body::new)).await,
        Err(error) => {
            tracing::error!(tracking_id, %error, "the service failed; the request is answered 500");
            let mut response = Response::new("The service failed");
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            responder.send(response).await
        }
    };
    if let Err(error) = sent {
        tracing::debug!(tracking_id, %error, "a response did not reach its sender");
    }
}

async fn call<S, B>(mut service: S, request: Request<Body>) -> Result<Response<B>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
    service.call(request).await.map_err(Into::into)
}

/// Lets the service upgrade a socket of its own, whose other end is bridged to the sender.
async fn upgrade<S, B>(env: Env, service: S, connect: IncomingConnect, unanswered: Unanswered)
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let (ours, theirs) = tokio::io::duplex(PIPE);
    let mut extensions = Extensions::new();
    extensions.insert(super::head::Mount::new(connect.mount()));
    if let Some(remote) = connect.remote_addr() {
        extensions.insert(RemoteAddr(remote));
    }
    let mounted = Mounted { service, extensions };
    let serving = http1::Builder::new().timer(env.clone()).serve_connection(TokioIo::new(theirs), mounted);
    env.spawn(async move {
        if let Err(error) = serving.with_upgrades().await {
            tracing::debug!(%error, "the service broke an upgrade off");
        }
    });

    let tracking_id = connect.tracking_id().to_owned();
    let socket = Pipe { stream: ours, peer: connect.remote_addr().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into()) };
    // Nothing is on the way between the two ends that a ping could find out about.
    let settings = WebSocketSettings { keep_alive: None, ..connect.link_settings() };
    let headers = handshake_headers(&connect);
    let bridged = async {
        let uri = uri(&connect)?;
        let bridge = bridge(&env, connect, Box::new(socket), &uri, headers, settings).await?;
        // A stop does not wait for what was accepted.
        drop(unanswered);
        match bridge {
            Bridged::Joined(bridge) => bridge.carry(&Traffic::default()).await,
            Bridged::Refused(_) => Ok(()),
            Bridged::Failed(error) => Err(error),
        }
    };
    if let Err(error) = bridged.await {
        tracing::debug!(tracking_id, %error, "a relayed WebSocket ended by an error");
    }
}

/// Where the service believes to be.
fn uri(connect: &IncomingConnect) -> Result<Uri> {
    let host = connect.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    let path = if connect.path().is_empty() { "/" } else { connect.path() };
    let query = connect.query().map_or(String::new(), |query| format!("?{query}"));
    let at = |host: &str| Uri::builder().scheme("ws").authority(host).path_and_query(format!("{path}{query}")).build();
    let uri = host.and_then(|host| at(host).ok()).map_or_else(|| at("localhost"), Ok);
    uri.map_err(|_| crate::Error::invalid("the sender's path is not valid"))
}

/// The service as hyper sees it.
struct Mounted<S> {
    service: S,
    extensions: Extensions,
}

impl<S, B> hyper::service::Service<Request<ReceivedBody>> for Mounted<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn call(&self, request: Request<ReceivedBody>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().extend(self.extensions.clone());
        Box::pin(call(self.service.clone(), request))
    }
}

/// An in-memory socket.
struct Pipe {
    stream: DuplexStream,
    peer: SocketAddr,
}

impl Socket for Pipe {
    /// The drop is all that the other end can see.
    fn abort(&mut self) {}

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
