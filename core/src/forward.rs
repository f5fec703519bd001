//! What comes in goes to a server near the listener.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use http::{Response, StatusCode, header};

use crate::dial::ClientTls;
use crate::env::{BoxFuture, BoxSocket};
use crate::http::{
    Body, Bridged, CountedStream, IncomingRequest, ReasonPhrase, bridge, counted_request, counted_response,
};
use crate::protocol::refusal::sanitize_reason;
use crate::serving::{self, Unanswered};
use crate::{Error, Incoming, IncomingConnect, Listener, Result};

mod observe;
mod rewrite;
mod target;
mod upstream;

pub use observe::{ForwardEvent, Forwarded};
use observe::{Observer, Record};
use rewrite::Rewriting;
use target::{ForwardTarget, Place};
use upstream::Upstream;

impl Listener {
    /// Sends everything that comes in to a server near the listener.
    ///
    /// - `http://host:port[/base]` and `https://…`: requests as requests, relayed WebSockets as WebSockets. The hybrid connection's
    ///   name is taken off the path ([`strip`](Forwarder::strip)); otherwise method, path, query, headers and bodies pass as they are,
    ///   streaming both ways. No redirect is followed and nothing is compressed. The server sees the sender's `Host`.
    /// - `tcp://host:port` and `unix:/path`: relayed WebSockets as bytes. Requests are answered 501.
    ///
    /// A server that cannot be reached, or breaks the exchange off before it has answered, gives the sender 502 and the reason.
    ///
    /// Awaiting the [`Forwarder`] forwards until the listener closes, or [`with_graceful_shutdown`](Forwarder::with_graceful_shutdown)
    /// stops it. An unusable target is reported then.
    pub fn forward(&self, target: impl AsRef<str>) -> Forwarder {
        Forwarder {
            listener: self.clone(),
            target: target.as_ref().parse(),
            strip: true,
            rewriting: Rewriting::default(),
            extra_ca_pem: Vec::new(),
            insecure_skip_verify: false,
            observer: None,
            stop: serving::never(),
        }
    }
}

/// A listener that is about to forward; await it.
#[must_use = "nothing is forwarded until this is awaited"]
pub struct Forwarder {
    listener: Listener,
    target: Result<ForwardTarget>,
    strip: bool,
    rewriting: Rewriting,
    extra_ca_pem: Vec<Vec<u8>>,
    insecure_skip_verify: bool,
    observer: Option<Observer>,
    stop: BoxFuture<()>,
}

impl Forwarder {
    /// Whether the hybrid connection's name is taken off the path. Default true: `/hyco/orders` becomes `/orders`.
    pub fn strip(mut self, yes: bool) -> Self {
        self.strip = yes;
        self
    }

    /// Whether responses are adapted to where the sender is: `Location` and the `Path` of cookies get the hybrid connection's name in
    /// front, in place of the server's `base`, and a `Location` at the server itself loses its host. Default false. Only together with
    /// [`strip`](Self::strip).
    pub fn rewrite(mut self, yes: bool) -> Self {
        self.rewriting.responses = yes;
        self
    }

    /// Whether the server is told who asks: `X-Forwarded-For`, `-Host`, `-Proto` and, where the name was taken off, `-Prefix`.
    /// Default false. What the sender itself wrote into `X-Forwarded-For` stays in front.
    pub fn forwarded_headers(mut self, yes: bool) -> Self {
        self.rewriting.forwarded = yes;
        self
    }

    /// Trusts the certificates in this PEM text for an `https://` server, beside the platform's. May be called several times.
    pub fn extra_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.extra_ca_pem.push(pem.into());
        self
    }

    /// Accepts any certificate of an `https://` server.
    pub fn insecure_skip_verify(mut self, yes: bool) -> Self {
        self.insecure_skip_verify = yes;
        self
    }

    /// Stops when `signal` completes: what still comes is refused with 503, answers under way are finished, then the listener closes.
    /// Connections go on.
    pub fn with_graceful_shutdown(mut self, signal: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Box::pin(signal);
        self
    }

    /// Tells `observer` what happens: every sender's end, and how the server does. It is called from the tasks that forward and must
    /// return at once.
    pub fn observe(mut self, observer: impl Fn(ForwardEvent) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Checks a target as [`Listener::forward`] will, for programs that want to know before they are online.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` with what is wrong.
    pub fn check(target: &str) -> Result<()> {
        target.parse::<ForwardTarget>().map(drop)
    }

    async fn run(self) -> Result<()> {
        let Self { listener, target, strip, rewriting, extra_ca_pem, insecure_skip_verify, observer, stop } = self;
        let tls = ClientTls::new(&extra_ca_pem, insecure_skip_verify)?;
        let secure = !listener.address().is_plaintext();
        let forward = Arc::new(Forward {
            upstream: Upstream::new(listener.env().clone(), tls, target?),
            rewriting: Rewriting { secure, strip, ..rewriting },
            observer,
        });
        let handle = move |incoming, unanswered| {
            let forward = forward.clone();
            async move {
                match incoming {
                    Incoming::Request(request) => forward.request(request, unanswered).await,
                    Incoming::Connect(connect) => forward.connect(connect, unanswered).await,
                }
            }
        };
        serving::serve(listener, stop, handle).await
    }
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").field("target", &self.target).finish_non_exhaustive()
    }
}

impl IntoFuture for Forwarder {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A forwarder at work.
struct Forward {
    upstream: Upstream,
    rewriting: Rewriting,
    observer: Option<Observer>,
}

impl Forward {
    async fn request(&self, incoming: IncomingRequest, _unanswered: Unanswered) {
        let mut record = Record::of_request(self.upstream.env(), self.observer.as_ref(), &incoming);
        let place = Place::of_request(&incoming, self.rewriting.strip);
        let tracking_id = incoming.tracking_id().to_owned();
        let (mut request, responder) = incoming.into_parts();
        if record.is_observed() {
            request = request.map(|body| counted_request(body, record.traffic()));
        }
        let mut response = match self.upstream.http() {
            None => failed(StatusCode::NOT_IMPLEMENTED, "The listener does not answer HTTP requests"),
            Some(server) => {
                let from = request.extensions().get::<crate::RemoteAddr>().map(|remote| remote.0.ip());
                self.rewriting.request(request.headers_mut(), from, &place.mount);
                let cancellation = responder.cancellation();
                let answer = tokio::select! {
                    biased;
                    () = cancellation.cancelled() => return,
                    answer = server.request(request, &place) => answer,
                };
                match answer {
                    Ok(mut response) => {
                        record.server_answered();
                        self.rewriting.response(
                            response.headers_mut(),
                            &place.mount,
                            server.authority(),
                            server.base(),
                        );
                        response
                    }
                    // What was lost with the sender is no fault of the server's.
                    Err(_) if cancellation.is_cancelled() => return,
                    Err(error) => {
                        record.server_failed(&tracking_id, &error);
                        failed(StatusCode::BAD_GATEWAY, &explain(&error))
                    }
                }
            }
        };
        record.answered(response.status());
        if record.is_observed() {
            response = response.map(|body| counted_response(body, record.traffic()));
        }
        if let Err(error) = responder.send(response).await {
            record.broke_off(&error);
            tracing::debug!(tracking_id, %error, "a response did not reach its sender");
        }
    }

    async fn connect(&self, connect: IncomingConnect, unanswered: Unanswered) {
        let mut record = Record::of_connect(self.upstream.env(), self.observer.as_ref(), &connect);
        let tracking_id = connect.tracking_id().to_owned();
        let forwarded = match self.upstream.dial().await {
            Err(error) => {
                record.server_failed(&tracking_id, &error);
                connect.reject(502, &explain(&error)).await
            }
            Ok(socket) => match self.upstream.http() {
                Some(_) => self.websocket(connect, socket, unanswered, &mut record).await,
                None => self.bytes(connect, socket, unanswered, &mut record).await,
            },
        };
        if let Err(error) = forwarded {
            record.broke_off(&error);
            tracing::debug!(tracking_id, %error, "a forwarded connection ended by an error");
        }
    }

    async fn websocket(
        &self,
        connect: IncomingConnect,
        socket: BoxSocket,
        unanswered: Unanswered,
        record: &mut Record,
    ) -> Result<()> {
        let place = Place::of_connect(&connect, self.rewriting.strip);
        let mut headers = crate::http::handshake_headers(&connect);
        self.rewriting.request(&mut headers, connect.remote_addr().map(|remote| remote.ip()), &place.mount);
        let uri = self.upstream.websocket_uri(&place, connect.headers().get(header::HOST))?;
        let tracking_id = connect.tracking_id().to_owned();
        let settings = connect.link_settings();
        let bridged = bridge(self.upstream.env(), connect, socket, &uri, headers, settings).await?;
        // A stop does not wait for what was accepted.
        drop(unanswered);
        match bridged {
            Bridged::Joined(bridge) => {
                record.server_answered();
                record.connected();
                bridge.carry(record.traffic()).await
            }
            Bridged::Failed(error) => {
                record.server_failed(&tracking_id, &error);
                Err(error)
            }
            Bridged::Refused(status) => {
                record.server_answered();
                // What a handshake was answered with is a status.
                record.answered(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY));
                Ok(())
            }
        }
    }

    async fn bytes(
        &self,
        connect: IncomingConnect,
        mut socket: BoxSocket,
        unanswered: Unanswered,
        record: &mut Record,
    ) -> Result<()> {
        record.server_answered();
        let stream = connect.accept().await?.into_stream()?;
        drop(unanswered);
        record.connected();
        let mut sender = CountedStream { stream, traffic: record.traffic().clone() };
        let copied = tokio::io::copy_bidirectional_with_sizes(&mut sender, &mut socket, 64 * 1024, 64 * 1024).await;
        if copied.is_err() {
            sender.stream.connection().abort();
            crate::env::Socket::abort(&mut socket);
        }
        copied.map(drop).map_err(|error| {
            Error::new(crate::ErrorKind::ConnectionLost, "a forwarded connection broke")
                .with_reason(error.to_string())
                .with_source(error)
        })
    }
}

fn explain(error: &Error) -> String {
    sanitize_reason(&format!("The listener's server failed: {error}"))
}

fn failed(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.extensions_mut().insert(ReasonPhrase(text.to_owned()));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
