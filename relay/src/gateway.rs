//! Door 3: relayed HTTP requests (protocol.md 5): who may ask, what the listener gets, and what the sender gets back.
//!
//! [`exchange`] finds a listener and waits for its answer, [`one_way`] waits only until it has the request; what does not fit a control
//! message passes at a [`rendezvous`]. Where every listener gets everything, [`publish`] hands the request to all of them.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use hybridrelay::protocol::headers;
use hyper::body::Body as _;

use crate::auth;
use crate::directory::{EntityKey, KeyIdentity};
use crate::edge::{Body, CutOff, RequestBody, Visit, host_of};
use crate::instrument::Tapped;
use crate::limits::Resource;
use crate::namespace::{Distribution, Entity, HttpSettings, NoListener, Right};
use crate::node::Node;
use crate::observe::Party;
use crate::refusal::{Reason, Refusal};
use crate::rendezvous::{Preference, choice};

mod cors;
mod exchange;
pub(crate) mod fields;
mod frames;
mod message;
mod one_way;
mod outlet;
mod publish;
mod record;
mod rendezvous;
mod response;
pub(crate) mod target;

pub(crate) use cors::Cors;
pub(crate) use response::RelayedBody;

use exchange::Exchange;
use message::Asked;
use one_way::OneWay;
use record::{Admission, Record};

/// Answers a request that is no WebSocket handshake.
///
/// Dropping the future, as when the sender goes away, withdraws the request.
pub(crate) async fn request(node: &Arc<Node>, visit: Visit, cors: Option<&Cors>) -> Result<Response<Body>, Refusal> {
    if let Some(preflight) = cors.and_then(|cors| cors.preflight(visit.request.method(), visit.request.headers())) {
        visit.permit.authorized();
        return Ok(preflight);
    }
    let mut answer = ask(node, visit).await?;
    if let Some(cors) = cors {
        cors.apply(answer.headers_mut());
    }
    Ok(answer)
}

/// Brings a request to a listener or to all of them.
async fn ask(node: &Arc<Node>, visit: Visit) -> Result<Response<Body>, Refusal> {
    let mut admitted = admit(node, &visit)?;
    if let Distribution::All(events) = admitted.distribution.clone() {
        return Box::pin(publish::publish(node, visit, admitted, &events)).await;
    }
    let settings = &mut admitted.settings;
    let one_way = OneWay::of(visit.request.headers(), settings)?;
    if one_way.is_some() {
        settings.max_body = Some(settings.max_body.map_or(settings.one_way_max, |most| most.min(settings.one_way_max)));
    }
    check(&visit.request, &visit.target.path, settings)?;
    // Before the body is asked for: who is told to go on with it should be heard.
    choice::check(node, &admitted.entity, &admitted.preference).map_err(|refusal| no_listener(refusal, settings))?;

    let host = own_name(&visit);
    let instrument = node.instrument.as_ref().filter(|_| one_way.is_none());
    let tapped = instrument.map(|instrument| {
        instrument.tap(&admitted.entity, visit.tracking_id.to_string(), Some(visit.request.method()))
    });
    let (record, asked) = (admitted.record(node, &visit, tapped)?, Asked::new(&visit, &admitted, &host));
    let method = asked.method.clone();
    let Admitted { entity, preference, settings, .. } = admitted;
    let exchange = Exchange { node: node.clone(), entity, settings, asked, preference, record };
    let body = visit.request.into_body();
    // Boxed: otherwise every request keeps room for each of these ways.
    match one_way {
        Some(one_way) => {
            Box::pin(exchange.hand_over(body)).await?;
            Ok(one_way.accepted(&visit.tracking_id))
        }
        None => {
            let tap = exchange.record.tap().cloned();
            let mut answering = Box::pin(exchange.run(body));
            let answered = poll_fn(|cx| match &tap {
                Some(tap) if tap.poll_cut(cx).is_ready() => Poll::Ready(None),
                _ => answering.as_mut().poll(cx).map(Some),
            });
            let Some(answered) = answered.await else { return Ok(CutOff::response()) };
            if let Some(tap) = tap
                && !tap.is_let_through().await
            {
                return Ok(CutOff::response());
            }
            let (record, head) = answered?;
            response::answer(record, &method, &host, head)
        }
    }
}

/// What the sender takes the relay for.
fn own_name(visit: &Visit) -> String {
    match host_of(&visit.authority) {
        "" => visit.namespace.clone(),
        host => host.to_owned(),
    }
}

/// A sender that was let in.
struct Admitted {
    entity: EntityKey,
    distribution: Distribution,
    path: hybridrelay::EntityPath,
    settings: HttpSettings,
    preference: Preference,
    key: Option<KeyIdentity>,
    /// `Authorization` held the token: it is the relay's and not the listener's.
    used_authorization: bool,
}

/// Checks a sender: authorization, then existence (protocol.md 3.2).
fn admit(node: &Node, visit: &Visit) -> Result<Admitted, Refusal> {
    if visit.request.method() == Method::CONNECT {
        return Err(Refusal::method_not_allowed());
    }
    let namespace = visit.snapshot.namespace(&visit.namespace).ok_or_else(Refusal::endpoint_not_found)?;
    if visit.target.path.is_empty() {
        // Nothing is said about the namespace (protocol.md 10, decision 44).
        return Err(Refusal::endpoint_not_found());
    }
    let entity = visit.entity().map(|(entity, _)| entity);
    let (mut key, mut used_authorization) = (None, false);
    if entity.is_none_or(|entity| entity.requires_client_authorization) {
        let token = token(visit);
        used_authorization = token.is_some_and(|(_, carrier)| carrier == Carrier::Authorization);
        let wanted = auth::Request { namespace, entity, path: &visit.target.path, right: Right::Send };
        key = Some(auth::authorize_from(node, visit.client, wanted, token.map(|(token, _)| token))?.key);
    }
    let entity: &Entity = entity.ok_or_else(Refusal::endpoint_not_found)?;
    visit.permit.authorized();
    Ok(Admitted {
        path: entity.path.clone(),
        settings: entity.settings.http.clone(),
        preference: Preference::of(visit, &entity.settings.choice),
        distribution: entity.settings.distribution.clone(),
        entity: EntityKey::new(&visit.namespace, entity.path.canonical()),
        key,
        used_authorization,
    })
}

impl Admitted {
    /// Takes what the request needs of everybody it is charged to.
    fn record(&self, node: &Arc<Node>, visit: &Visit, tapped: Option<Tapped>) -> Result<Record, Refusal> {
        let account = visit.account(&self.entity, self.key.as_ref());
        let connection = node.quotas.take(Resource::Connection, account.scopes())?;
        let request = node.quotas.take(Resource::Request, account.scopes()).map_err(Refusal::full)?;
        node.rates.connect(&account, node.env.now())?;
        let metrics = node.observer.metrics.entity(&visit.namespace, Some(&self.entity));
        let admission = Admission {
            origin: visit.origin(Some(&self.entity), self.key.as_ref()),
            method: visit.request.method().clone(),
            path: visit.target.path.clone(),
            throttle: node.rates.throttle(&account, node.env.now()),
            meter: metrics.meter.clone(),
            active: metrics.active(Party::Sender),
            places: [connection, request],
            tapped,
        };
        Ok(Record::new(node, admission))
    }
}

/// Where a token stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Query,
    ServiceBusAuthorization,
    Authorization,
}

/// The token of an HTTP request: query, then the service's own header, then `Authorization` (protocol.md 2.5).
pub(crate) fn token(visit: &Visit) -> Option<(&str, Carrier)> {
    let fields: &HeaderMap = visit.request.headers();
    let field = |name: header::HeaderName| fields.get(name).and_then(|token| token.to_str().ok());
    let query = visit.target.token.as_deref().map(|token| (token, Carrier::Query));
    let own = || Some((field(headers::SERVICE_BUS_AUTHORIZATION)?, Carrier::ServiceBusAuthorization));
    query.or_else(own).or_else(|| Some((field(header::AUTHORIZATION)?, Carrier::Authorization)))
}

/// What can be said of a request before anything is done for it.
fn check(request: &Request<RequestBody>, path: &str, settings: &HttpSettings) -> Result<(), Refusal> {
    if target::holds_nul(path) {
        return Err(Refusal::bad_request("The path holds an encoded NUL"));
    }
    let most = settings.max_body.unwrap_or(u64::MAX);
    if request.body().size_hint().lower() > most { Err(Refusal::body_too_large()) } else { Ok(()) }
}

/// Nobody listens: as the hybrid connection wants it told (protocol.md 10, decision 3).
fn no_listener(refusal: Refusal, settings: &HttpSettings) -> Refusal {
    match settings.no_listener {
        NoListener::BadGateway if refusal.reason() == Some(Reason::NoListeners) => {
            refusal.with_status(StatusCode::BAD_GATEWAY)
        }
        _ => refusal,
    }
}
