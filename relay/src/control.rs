//! Door 1: listeners and their control channels (protocol.md 3).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderValue, Response, header};
use hybridrelay::EntityPath;
use hybridrelay::protocol::{Features, headers, labels};
use percent_encoding::percent_decode_str;

use crate::auth::{self, Grant};
use crate::directory::{EntityKey, Lease, ListenerId, ListenerRecord, RegisterError};
use crate::edge::{Body, Handshake, Visit};
use crate::limits::{Account, Permit, Resource, Scope};
use crate::namespace::{Distribution, Entity, Right};
use crate::node::Node;
use crate::observe::{Detail, Operation, Party};
use crate::refusal::Refusal;

mod channel;
mod waiting;

use channel::Channel;

/// The longest agent text that is kept.
const AGENT_LIMIT: usize = 256;

/// Takes a listener in: syntax, authorization, existence, quota (protocol.md 3.2), then the channel runs by itself.
pub(crate) async fn listen(
    node: &Arc<Node>,
    mut visit: Visit,
    handshake: Handshake,
) -> Result<Response<Body>, Refusal> {
    let labels = labels(&visit)?;
    let (entity, grant) = admit(node, &visit)?;
    visit.permit.authorized();
    let key = EntityKey::new(&visit.namespace, entity.path.canonical());
    let features = features(&visit);
    let record = ListenerRecord { labels, ..record(node, &visit, &key, &grant, &features) };
    let agent = record.agent.clone();
    let scopes = visit.account(&key, Some(&grant.key));
    let (place, lease) = match take_place(node, &scopes, record, &entity) {
        Ok(taken) => taken,
        Err(refusal) => {
            hold_back(node, &scopes).await;
            return Err(refusal);
        }
    };

    let upgrade = hyper::upgrade::on(&mut visit.request);
    let mut response = handshake.answer(&visit.tracking_id, None);
    let offered_in_header = visit.request.headers().contains_key(headers::RELAY_FEATURES);
    if offered_in_header
        && !features.is_empty()
        && let Ok(accepted) = HeaderValue::from_str(&features.to_string())
    {
        response.headers_mut().insert(headers::RELAY_FEATURES, accepted);
    }
    let origin = visit.origin(Some(&key), Some(&grant.key));
    // Listed before the listener can know that it is online.
    let tapped = node.instrument.as_ref().map(|instrument| instrument.tap_control(&key, visit.tracking_id.to_string()));
    node.observer.note(&origin, Operation::NewListenerRegistered, Detail::Listener { agent });
    let channel = Channel {
        node: node.clone(),
        origin,
        active: node.observer.metrics.entity(&visit.namespace, Some(&key)).active(Party::Listener),
        place,
        namespace: visit.namespace,
        key,
        grant,
        lease,
        // Told in the first message only where it was offered in the query (protocol.md 3.10).
        announce: (!offered_in_header && !features.is_empty()).then(|| features.clone()),
        features,
        tapped,
        _permit: visit.permit,
        _busy: node.busy.enter(),
    };
    node.spawn(channel.run(upgrade));
    Ok(response)
}

/// Registers a listener, if everybody who is charged has room for it.
fn take_place(
    node: &Node,
    account: &Account,
    record: ListenerRecord,
    entity: &Entity,
) -> Result<(Permit, Lease), Refusal> {
    let place = node.quotas.take(Resource::Listener, account.scopes()).map_err(Refusal::quota)?;
    let limits = &node.config().limits;
    let (limit, most) = match entity.settings.distribution {
        Distribution::One => ("listeners_per_entity", limits.listeners_per_entity),
        Distribution::All(_) => ("subscribers_per_entity", limits.subscribers_per_entity),
    };
    let lease = node.directory.register(record, most).map_err(|error| match error {
        RegisterError::TooMany => Refusal::too_many_listeners(limit),
    })?;
    Ok((place, lease))
}

/// Waits until a listener for which there is no room may be told so. `hyco-ws` answers each refusal with two attempts at once
/// (protocol.md 3.8), which is twice as many each time: told one after the other, they are one more each time.
async fn hold_back(node: &Node, account: &Account) {
    let Some(address) = account.address else { return };
    let Ok(_held) = node.quotas.take(Resource::HeldRefusal, [Scope::Address(address)]) else { return };
    let turn = node.rates.refused_listen(address, &account.entity, node.env.now());
    tokio::select! {
        biased;
        _ = node.draining() => {}
        () = node.env.sleep_until(turn) => {}
    }
}

/// Finds or makes the hybrid connection, if the token allows listening on it.
fn admit(node: &Node, visit: &Visit) -> Result<(Entity, Grant), Refusal> {
    let does_not_exist = Refusal::endpoint_not_found;
    let namespace = visit.snapshot.namespace(&visit.namespace).ok_or_else(does_not_exist)?;
    // A listener names the hybrid connection itself: a path below one is another one (protocol.md 3.1).
    let path = visit.target.path.trim_end_matches('/');
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| does_not_exist())?;
    let existing = namespace.entity(&decoded);
    let wanted = auth::Request { namespace, entity: existing, path, right: Right::Listen };
    let grant = auth::authorize_from(node, visit.client, wanted, visit.token())?;
    if let Some(entity) = existing {
        return Ok((entity.clone(), grant));
    }
    let path: EntityPath = decoded.parse().map_err(|_| does_not_exist())?;
    let now = node.env.wall_clock();
    let created = node.store.create_on_listen(&namespace.name, path, now).ok_or_else(does_not_exist)?;
    Ok((created, grant))
}

/// What both ends know, offered in the header or, by browsers, in the query.
fn features(visit: &Visit) -> Features {
    let header = visit.request.headers().get(headers::RELAY_FEATURES).and_then(|list| list.to_str().ok());
    let offered = header.or(visit.target.features.as_deref()).map(Features::parse).unwrap_or_default();
    offered.intersection(&Features::known())
}

/// What the listener says of itself.
fn labels(visit: &Visit) -> Result<BTreeMap<String, String>, Refusal> {
    let Some(list) = visit.request.headers().get(headers::RELAY_LABELS) else { return Ok(BTreeMap::new()) };
    let list = headers::text(list).unwrap_or_default();
    labels::parse(&list).map_err(|error| Refusal::bad_request(format!("Relay-Labels cannot be read: {error}")))
}

fn record(node: &Node, visit: &Visit, entity: &EntityKey, grant: &Grant, features: &Features) -> ListenerRecord {
    let fields = visit.request.headers();
    let agent = fields.get(headers::RELAY_USER_AGENT).or_else(|| fields.get(header::USER_AGENT));
    let agent = agent.and_then(headers::text).map(|agent| agent.chars().take(AGENT_LIMIT).collect());
    ListenerRecord {
        id: ListenerId(u128::from_le_bytes(node.env.random())),
        entity: entity.clone(),
        tracking_id: visit.tracking_id.to_string(),
        since: node.env.wall_clock(),
        address: visit.peer,
        agent,
        key: grant.key.clone(),
        features: features.names().map(str::to_owned).collect(),
        labels: BTreeMap::new(),
        base: base(node, visit),
        in_flight: 0,
        last_byte: node.env.now(),
    }
}

/// Scheme and authority of the rendezvous addresses for this listener (protocol.md 10, decision 16).
fn base(node: &Node, visit: &Visit) -> String {
    if let Some(url) = &node.config().public_url
        && let Some(authority) = url.authority()
    {
        let plain = matches!(url.scheme_str(), Some("http" | "ws"));
        return format!("{}://{authority}", if plain { "ws" } else { "wss" });
    }
    format!("{}://{}", if visit.secure { "wss" } else { "ws" }, visit.authority)
}
