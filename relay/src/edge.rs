//! Sockets, TLS and HTTP: everything that comes in passes here and is shown to one of the doors.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, header};
use hybridrelay::env::{Acceptor, BoxSocket};
use hybridrelay::protocol::TrackingId;
use hybridrelay::protocol::headers;
use hybridrelay::protocol::uri::{Action, Target, longest_prefix};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::namespace::{Entity, WebSocketPaths};
use crate::node::{Counted, Node, Stage};
use crate::refusal::{Body, Place, Refusal};
use crate::store::Snapshot;
use crate::{control, gateway, rendezvous, tls};

mod handshake;
mod timer;

pub(crate) use handshake::{Handshake, offered_subprotocols};

/// What hyper needs beside the header block for the request line and its own work.
const READ_BUFFER: usize = 64 * 1024;

/// A request that has been taken apart far enough to find its door.
pub(crate) struct Visit {
    pub(crate) request: Request<Incoming>,
    pub(crate) target: Target,
    pub(crate) snapshot: Arc<Snapshot>,
    /// The name of the namespace that the host leads to.
    pub(crate) namespace: String,
    /// The host as the client wrote it, with its port.
    pub(crate) authority: String,
    pub(crate) peer: SocketAddr,
    /// Whether the client reached us over TLS, here or at a trusted proxy.
    pub(crate) secure: bool,
    pub(crate) tracking_id: TrackingId,
}

impl Visit {
    /// The token of a WebSocket handshake: the header wins over the query (protocol.md 10, decision 8).
    pub(crate) fn token(&self) -> Option<&str> {
        let header = self.request.headers().get(headers::SERVICE_BUS_AUTHORIZATION);
        header.and_then(|token| token.to_str().ok()).or(self.target.token.as_deref())
    }

    /// The hybrid connection that the path belongs to and the rest of the path.
    pub(crate) fn entity(&self) -> Option<(&Entity, &str)> {
        let namespace = self.snapshot.namespace(&self.namespace)?;
        longest_prefix(&self.target.path, |candidate| namespace.entity(candidate))
    }
}

/// Accepts sockets until the relay drains.
pub(crate) async fn accept(
    node: Arc<Node>,
    mut acceptor: Box<dyn Acceptor>,
    tls: Option<Arc<ServerConfig>>,
    sockets: Arc<Semaphore>,
    _busy: Counted,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = node.draining() => return,
            accepted = acceptor.accept() => accepted,
        };
        match accepted {
            Ok(socket) => match sockets.clone().try_acquire_owned() {
                Ok(permit) => {
                    node.spawn(serve(node.clone(), socket, tls.clone(), permit));
                }
                Err(_) => tracing::warn!("too many sockets are open; one was closed unanswered"),
            },
            Err(error) => {
                // Out of descriptors, mostly: another try at once would spin.
                tracing::warn!(%error, "a connection could not be accepted");
                node.env.sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one socket until it is upgraded or ends.
async fn serve(node: Arc<Node>, socket: BoxSocket, tls: Option<Arc<ServerConfig>>, permit: OwnedSemaphorePermit) {
    let peer = socket.peer_addr();
    let secure = tls.is_some();
    let socket = match tls {
        Some(config) => {
            let handshake = node.env.timeout(node.config.timings.tls_handshake, tls::accept(config, socket));
            let shaken = tokio::select! {
                biased;
                shaken = handshake => shaken,
                () = node.stopped() => return,
            };
            match shaken {
                Some(Ok(socket)) => socket,
                Some(Err(error)) => return tracing::debug!(%peer, %error, "a TLS handshake failed"),
                None => return tracing::debug!(%peer, "a TLS handshake took too long"),
            }
        }
        None => socket,
    };
    // The permit travels with the socket, also through an upgrade.
    let permit = Arc::new(permit);
    let service = service_fn({
        let node = node.clone();
        move |request| {
            let (node, permit) = (node.clone(), permit.clone());
            let busy = node.busy.enter();
            async move {
                let _busy = busy;
                Ok::<_, Infallible>(answer(&node, request, peer, secure, permit).await)
            }
        }
    });
    let mut http = http1::Builder::new();
    http.timer(timer::EnvTimer(node.env.clone()));
    // `answer` dates what it sends by the environment's clock.
    http.auto_date_header(false);
    http.header_read_timeout(node.config.timings.header_read);
    http.max_buf_size(READ_BUFFER.max(node.config.limits.header_block * 2));
    let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        biased;
        served = connection.as_mut() => served,
        _ = node.draining() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                served = connection.as_mut() => served,
                () = node.stopped() => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "a connection ended with an error");
    }
}

/// A socket's place in the relay's limit of sockets.
pub(crate) type SocketPermit = Arc<OwnedSemaphorePermit>;

async fn answer(
    node: &Arc<Node>,
    request: Request<Incoming>,
    peer: SocketAddr,
    secure: bool,
    permit: SocketPermit,
) -> Response<Body> {
    let tracking_id = TrackingId::from_random(node.env.random());
    let authority = authority(&request);
    let path = request.uri().path().to_owned();
    let websocket = Handshake::is_wanted(&request);
    let mut response = match route(node, request, peer, secure, authority.clone(), &tracking_id, permit).await {
        Ok(response) => response,
        Err((refusal, chosen)) => {
            let tracking_id = &chosen.unwrap_or(tracking_id.with_gateway());
            let path = path.trim_start_matches('/');
            // What clients read is the hybrid connection, not the protocol's prefix.
            let path = path.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("$hc/")).map_or(path, |_| &path[4..]);
            tracing::debug!(%peer, %tracking_id, path, status = refusal.status().as_u16(), text = refusal.text(), "refused");
            refusal.into_response(&node.env, &Place { tracking_id, host: &authority, path, websocket })
        }
    };
    if let header::Entry::Vacant(date) = response.headers_mut().entry(header::DATE)
        && let Ok(now) = HeaderValue::from_str(&httpdate::fmt_http_date(node.env.wall_clock()))
    {
        date.insert(now);
    }
    response
}

/// A refusal, and the tracking id under which the attempt is known if it chose one.
type Refused = (Refusal, Option<TrackingId>);

async fn route(
    node: &Arc<Node>,
    request: Request<Incoming>,
    peer: SocketAddr,
    secure: bool,
    authority: String,
    fresh: &TrackingId,
    permit: SocketPermit,
) -> Result<Response<Body>, Refused> {
    let anonymous = |refusal: Refusal| (refusal, None);
    if *node.stage.borrow() != Stage::Running {
        return Err(anonymous(Refusal::busy("The relay is shutting down")));
    }
    let header_bytes: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if header_bytes > node.config.limits.header_block {
        return Err(anonymous(Refusal::headers_too_large()));
    }
    let path_and_query = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let target = Target::parse(path_and_query)
        .map_err(|error| anonymous(Refusal::bad_request(capitalise(&error.to_string()))))?;
    let tracking_id = target.id.as_deref().and_then(TrackingId::adopt).unwrap_or_else(|| fresh.clone()).with_gateway();
    let known = |refusal: Refusal| (refusal, Some(tracking_id.clone()));

    let snapshot = node.store.snapshot();
    let Some(namespace) = snapshot.namespace_for_host(host_of(&authority)).map(|namespace| namespace.name.clone())
    else {
        return Err(known(Refusal::not_found(hybridrelay::protocol::refusal::ENDPOINT_DOES_NOT_EXIST)));
    };
    let secure = secure || is_secure_at_proxy(node, &request, peer);
    let wants_websocket = Handshake::is_wanted(&request);
    let visit =
        Visit { request, target, snapshot, namespace, authority, peer, secure, tracking_id: tracking_id.clone() };
    let any_path = || visit.entity().is_some_and(|(entity, _)| entity.websocket == WebSocketPaths::AnyPath);

    let response = if visit.target.is_hc {
        if !wants_websocket {
            // A rendezvous or control address that is visited by something else than a WebSocket client.
            let text =
                "This address is for WebSocket connections: the handshake does not ask for an upgrade to websocket";
            return Err(known(Refusal::bad_request(text)));
        }
        let handshake = Handshake::check(&visit.request).map_err(known)?;
        match visit.target.action() {
            Action::Listen => control::listen(node, visit, handshake, permit).await,
            Action::Connect => rendezvous::connect(node, visit, handshake, permit).await,
            Action::Accept | Action::Request => rendezvous::dial(node, visit, handshake, permit),
        }
    } else if wants_websocket && visit.request.method() == Method::GET && any_path() {
        let handshake = Handshake::check(&visit.request).map_err(known)?;
        rendezvous::connect(node, visit, handshake, permit).await
    } else {
        gateway::request(node, &visit)
    };
    response.map_err(known)
}

/// Whether a trusted proxy says that the client came over TLS (protocol.md 10, decision 16).
fn is_secure_at_proxy<B>(node: &Node, request: &Request<B>, peer: SocketAddr) -> bool {
    let trusted = node.config.trusted_proxies.contains(&peer.ip().to_canonical());
    let scheme = request.headers().get("x-forwarded-proto").and_then(|scheme| scheme.to_str().ok());
    trusted && scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("wss"))
}

fn authority<B>(request: &Request<B>) -> String {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = header.or(request.uri().authority().map(|authority| authority.as_str())).unwrap_or_default();
    // It goes into reason phrases and addresses: only what a host may hold.
    let allowed =
        |character: &char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':' | '[' | ']');
    authority.chars().filter(allowed).collect()
}

fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}

fn capitalise(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}
