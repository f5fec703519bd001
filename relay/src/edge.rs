//! Sockets, TLS and HTTP: everything that comes in passes here and is shown to one of the doors.

use std::net::SocketAddr;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use hybridrelay::protocol::uri::{Action, Target, longest_prefix, path_of};
use hybridrelay::protocol::{TrackingId, headers};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::directory::{EntityKey, KeyIdentity};
use crate::gateway::Cors;
use crate::instrument::Attempt;
use crate::limits::{Account, AddressBlock, Admission};
use crate::namespace::{Entity, WebSocketPaths};
use crate::node::Node;
use crate::observe::{Detail, Operation, Origin, Party, traceparent};
use crate::own::{Address, Own};
use crate::refusal::{Form, Place, Reason, Refusal, set_tracking_id};
use crate::store::Snapshot;
use crate::{control, gateway, rendezvous};

mod accept;
mod body;
mod handshake;
mod http;
mod linger;
mod proxy;
mod request_body;

pub(crate) use accept::accept;
pub(crate) use body::{Body, CutOff};
pub(crate) use handshake::{Handshake, offered_subprotocols};
pub(crate) use linger::take_socket;
pub(crate) use request_body::RequestBody;

/// What cannot stand in a path as it is; names of hybrid connections hold little of it.
const HOST_LABEL: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');

/// A request that has been taken apart far enough to find its door.
pub(crate) struct Visit {
    pub(crate) request: Request<RequestBody>,
    pub(crate) target: Target,
    pub(crate) snapshot: Arc<Snapshot>,
    /// The name of the namespace that the host leads to.
    pub(crate) namespace: String,
    /// The host as the client wrote it, with its port.
    pub(crate) authority: String,
    pub(crate) peer: SocketAddr,
    /// Whose address it counts for.
    pub(crate) client: Option<AddressBlock>,
    pub(crate) permit: SocketPermit,
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

    /// Whom the events of this visit tell of.
    pub(crate) fn origin(&self, entity: Option<&EntityKey>, key: Option<&KeyIdentity>) -> Origin {
        Origin {
            tracking_id: self.tracking_id.clone(),
            peer: self.peer,
            entity: entity.cloned(),
            key_name: key.map(|key| key.rule.clone()),
            traceparent: traceparent(self.request.headers()),
        }
    }

    /// Whom the use of this visit is charged to.
    pub(crate) fn account(&self, entity: &EntityKey, key: Option<&KeyIdentity>) -> Account {
        Account::new(entity.clone(), key, self.client)
    }

    /// The hybrid connection that the path belongs to and the rest of the path.
    pub(crate) fn entity(&self) -> Option<(&Entity, &str)> {
        let namespace = self.snapshot.namespace(&self.namespace)?;
        longest_prefix(&self.target.path, |candidate| namespace.entity(candidate))
    }
}

/// What a socket takes up, as long as it is open.
pub(crate) type SocketPermit = Arc<Admission>;

/// Answers one request, and tells of it if it is refused.
async fn answer(
    node: &Arc<Node>,
    request: Request<RequestBody>,
    peer: SocketAddr,
    secure: bool,
    permit: SocketPermit,
) -> Response<Body> {
    let address = Address::of(&request);
    let arrival = Arrival {
        tracking_id: TrackingId::from_random(node.env.random()),
        authority: authority(&request),
        path: path_of(request.uri().path_and_query().map_or("/", |target| target.as_str())).to_owned(),
        websocket: Handshake::is_wanted(&request),
        traceparent: traceparent(request.headers()),
        peer,
        secure,
    };
    let of_anybody = address.as_ref().and_then(|address| address.answer_anybody(node, request.method()));
    let answered = match of_anybody {
        Some(answered) => answered.map_err(Refused::from),
        None => route(node, request, &arrival, address, permit).await,
    };
    let mut response = answered.unwrap_or_else(|refused| refuse(node, arrival, refused));
    if let header::Entry::Vacant(date) = response.headers_mut().entry(header::DATE)
        && let Ok(now) = HeaderValue::from_str(&httpdate::fmt_http_date(node.env.wall_clock()))
    {
        date.insert(now);
    }
    response
}

/// A request as it came, whatever becomes of it.
struct Arrival {
    /// For a request that brings none.
    tracking_id: TrackingId,
    authority: String,
    /// Without the query.
    path: String,
    websocket: bool,
    traceparent: Option<String>,
    peer: SocketAddr,
    secure: bool,
}

/// A refusal, and how far the request had come.
struct Refused {
    refusal: Refusal,
    /// The tracking id under which the attempt is known, if it chose one.
    tracking_id: Option<TrackingId>,
    /// The name of the namespace that it was led to.
    namespace: String,
    entity: Option<EntityKey>,
    /// The page that may read the answer.
    cors: Option<Cors>,
    /// What of the relay's own was asked for.
    own: Option<Own>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, tracking_id: None, namespace: String::new(), entity: None, cors: None, own: None }
    }
}

fn refuse(node: &Node, arrival: Arrival, refused: Refused) -> Response<Body> {
    let Arrival { authority, path, websocket, traceparent, peer, .. } = arrival;
    let Refused { refusal, tracking_id, namespace, entity, cors, own } = refused;
    let tracking_id = tracking_id.unwrap_or(arrival.tracking_id.with_gateway());
    let path = path.trim_start_matches('/');
    // What clients read is the hybrid connection, not the protocol's prefix.
    let path = path.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("$hc/")).map_or(path, |_| &path[4..]);
    if let Some(reason) = refusal.reason() {
        node.observer.metrics.refused(&namespace, reason);
        let origin = Origin { tracking_id: tracking_id.clone(), peer, entity, key_name: None, traceparent };
        let detail = Detail::Refused {
            status: refusal.status(websocket).as_u16(),
            reason: reason.as_str(),
            text: refusal.text().to_owned(),
            path: path.to_owned(),
        };
        node.observer.note(&origin, operation(reason), detail);
    }
    let form = if own == Some(Own::Management) { Form::Xml } else { Form::Json };
    let place = Place { tracking_id: &tracking_id, host: &authority, path, websocket, form };
    let mut response = refusal.into_response(&node.env, &place);
    mark(response.headers_mut(), own);
    if let Some(cors) = cors {
        cors.apply(response.headers_mut());
    }
    response
}

fn operation(reason: Reason) -> Operation {
    match reason {
        Reason::MissingToken
        | Reason::MalformedToken
        | Reason::InvalidSignature
        | Reason::ExpiredToken
        | Reason::TokenLife
        | Reason::InvalidAudience => Operation::InvalidSasToken,
        Reason::MissingRight => Operation::AuthorizationFailed,
        Reason::NotAccepted => Operation::ListenerAcceptingConnectionTimeout,
        _ => Operation::ProcessingRequestFailed,
    }
}

/// Shows a request to its door.
async fn route(
    node: &Arc<Node>,
    request: Request<RequestBody>,
    arrival: &Arrival,
    address: Option<Address>,
    permit: SocketPermit,
) -> Result<Response<Body>, Refused> {
    if node.stage.borrow().is_ending() {
        return Err(Refusal::busy(Reason::ShuttingDown, "The relay is shutting down").into());
    }
    let header_bytes: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if header_bytes > node.config().limits.header_block {
        return Err(Refusal::headers_too_large().into());
    }
    let path_and_query = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let mut target =
        Target::parse(path_and_query).map_err(|error| Refusal::bad_request(capitalise(&error.to_string())))?;
    // The id of an HTTP request is always fresh (protocol.md 10, decision 13).
    let may_choose = target.is_hc || arrival.websocket;
    let adopted = target.id.as_deref().filter(|_| may_choose).and_then(TrackingId::adopt);
    let tracking_id = adopted.unwrap_or_else(|| arrival.tracking_id.clone()).with_gateway();
    let own = matches!(address, Some(Address::Presence(_))).then_some(Own::Presence);
    let known = |refusal: Refusal| Refused { tracking_id: Some(tracking_id.clone()), own, ..refusal.into() };

    let snapshot = node.store.snapshot();
    let host = host_of(&arrival.authority);
    let mut is_root = !target.is_hc && target.path.is_empty();
    let namespace = match snapshot.entity_for_host(host).filter(|_| !target.is_hc) {
        Some((namespace, entity)) => {
            // As if it had been asked for below the namespace's own host.
            let entity = utf8_percent_encode(entity, HOST_LABEL);
            target.path = format!("{entity}/{}", target.path);
            is_root = false;
            namespace.name.clone()
        }
        None => match snapshot.namespace_for_host(host) {
            Some(namespace) => namespace.name.clone(),
            None => return Err(known(Refusal::endpoint_not_found())),
        },
    };
    if let Some(Address::Presence(entity)) = &address {
        // What is asked about, and what a token has to be for.
        target.path.clone_from(entity);
    }
    let visit = Visit {
        client: proxy::address_of_client(node, request.headers(), arrival.peer),
        secure: arrival.secure || proxy::is_secure(node, request.headers(), arrival.peer),
        authority: arrival.authority.clone(),
        peer: arrival.peer,
        tracking_id: tracking_id.clone(),
        namespace: namespace.clone(),
        request,
        target,
        snapshot,
        permit,
    };
    let own = Own::of(&visit, address.as_ref(), is_root).filter(|_| !visit.target.is_hc);
    let (door, path) = (Door::of(&visit, arrival.websocket, own), visit.target.path.clone());
    let cors = Cors::of(&visit).filter(|_| matches!(door, Door::Gateway | Door::Own(Own::Presence)));
    let result = door.enter(node, visit, arrival.websocket, cors.as_ref()).await;

    // Only now, since a listener may have made it.
    let snapshot = node.store.snapshot();
    let entity = snapshot.namespace(&namespace).and_then(|found| longest_prefix(&path, |path| found.entity(path)));
    let entity = entity.map(|(entity, _)| EntityKey::new(&namespace, entity.path.canonical()));
    let status = result.as_ref().map_or_else(|refusal| refusal.status(arrival.websocket), Response::status);
    let metrics = || node.observer.metrics.entity(&namespace, entity.as_ref());
    match door {
        Door::Listen => metrics().answered(Party::Listener, status),
        Door::Connect => metrics().answered(Party::Sender, status),
        Door::Gateway => metrics().answered_request(status),
        Door::Dial | Door::Own(_) => {}
    }
    result.map_err(|refusal| Refused { namespace, entity, cors, own, ..known(refusal) })
}

/// What a request comes for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Listen,
    Connect,
    Dial,
    Gateway,
    Own(Own),
}

impl Door {
    fn of(visit: &Visit, wants_websocket: bool, own: Option<Own>) -> Self {
        if let Some(own) = own {
            return Self::Own(own);
        }
        let any_path =
            || visit.entity().is_some_and(|(entity, _)| entity.settings.websocket == WebSocketPaths::AnyPath);
        match visit.target.action() {
            Action::Listen if visit.target.is_hc => Self::Listen,
            Action::Connect if visit.target.is_hc => Self::Connect,
            Action::Accept | Action::Request if visit.target.is_hc => Self::Dial,
            _ if wants_websocket && visit.request.method() == Method::GET && any_path() => Self::Connect,
            _ => Self::Gateway,
        }
    }

    /// What tests may have it refused as.
    fn attempt(self, wants_websocket: bool) -> Option<Attempt> {
        match self {
            Self::Listen if wants_websocket => Some(Attempt::Listen),
            Self::Connect if wants_websocket => Some(Attempt::Connect),
            Self::Gateway => Some(Attempt::Request),
            _ => None,
        }
    }

    async fn enter(
        self,
        node: &Arc<Node>,
        visit: Visit,
        wants_websocket: bool,
        cors: Option<&Cors>,
    ) -> Result<Response<Body>, Refusal> {
        if let (Some(instrument), Some(attempt)) = (&node.instrument, self.attempt(wants_websocket)) {
            instrument.refusals.check(attempt)?;
        }
        match self {
            Self::Gateway => return gateway::request(node, visit, cors).await,
            Self::Own(own) => return enter_own(node, &visit, own, cors),
            _ => {}
        }
        if !wants_websocket {
            // A rendezvous or control address that is visited by something else than a WebSocket client.
            let text =
                "This address is for WebSocket connections: the handshake does not ask for an upgrade to websocket";
            return Err(Refusal::bad_request(text));
        }
        let handshake = Handshake::check(&visit.request)?;
        match self {
            Self::Listen => control::listen(node, visit, handshake).await,
            Self::Connect => rendezvous::connect(node, visit, handshake).await,
            Self::Dial | Self::Gateway | Self::Own(_) => rendezvous::dial(node, visit, handshake),
        }
    }
}

/// What the relay tells itself, also to pages that may ask.
fn enter_own(node: &Arc<Node>, visit: &Visit, own: Own, cors: Option<&Cors>) -> Result<Response<Body>, Refusal> {
    let asked = &visit.request;
    if let Some(preflight) = cors.and_then(|cors| cors.preflight(asked.method(), asked.headers())) {
        visit.permit.authorized();
        return Ok(preflight);
    }
    let mut response = own.answer(node, visit)?;
    set_tracking_id(response.headers_mut(), &visit.tracking_id);
    mark(response.headers_mut(), Some(own));
    if let Some(cors) = cors {
        cors.apply(response.headers_mut());
    }
    Ok(response)
}

/// Names the feature to which one of the relay's own addresses belongs.
fn mark(fields: &mut HeaderMap, own: Option<Own>) {
    if let Some(feature) = own.and_then(Own::feature) {
        fields.insert(headers::RELAY_FEATURES, HeaderValue::from_static(feature));
    }
}

fn authority<B>(request: &Request<B>) -> String {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = header.or(request.uri().authority().map(|authority| authority.as_str())).unwrap_or_default();
    // It goes into reason phrases and addresses: only what a host may hold.
    let allowed =
        |character: &char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':' | '[' | ']');
    authority.chars().filter(allowed).collect()
}

pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}

fn capitalise(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}
