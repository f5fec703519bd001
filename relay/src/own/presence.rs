//! Who listens on a hybrid connection, at once or as it changes (protocol.md 7.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde::Serialize;
use tokio::sync::watch;

use super::events::{self, EVENT_STREAM, Source};
use super::time::rfc3339;
use super::{answer_with, exact, media};
use crate::auth::{self, Grant};
use crate::directory::{EntityKey, Following, ListenerChange, ListenerId, ListenerRecord, Online, Reader};
use crate::edge::{Body, Visit};
use crate::gateway;
use crate::limits::Resource;
use crate::namespace::{Entity, Right};
use crate::node::Node;
use crate::refusal::Refusal;
use crate::store::Snapshot;

const JSON: &str = "application/json";

pub(super) fn answer(node: &Arc<Node>, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let (entity, grant) = admit(node, visit)?;
    let key = EntityKey::new(&visit.namespace, entity.path.canonical());
    let account = visit.account(&key, grant.as_ref().map(|grant| &grant.key));
    node.rates.connect(&account, node.env.now())?;
    let view = View::new(node, entity, grant.as_ref());
    let fields = visit.request.headers();
    if media::wanted(fields, &[JSON, EVENT_STREAM]) == JSON {
        let present = view.present(&node.directory.online(&key));
        let body = serde_json::to_string(&present).unwrap_or_default();
        let mut response = answer_with("application/json; charset=utf-8", body);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return Ok(response);
    }
    let place = node.quotas.take(Resource::Connection, account.scopes())?;
    let expires_at = grant.as_ref().map(|grant| grant.expires_at);
    let mut store = node.store.changes();
    // What has changed since the reader was let in is looked at as well.
    store.mark_changed();
    let after = events::last_id(fields).and_then(|id| id.parse().ok());
    let Following { present, changes } = node.directory.presence(&key, after);
    let first = match present {
        Some(present) => events::event("snapshot", &changes.position(), &view.present(&present)),
        None => events::comment("going on"),
    };
    let source = Listeners { view, key, grant, store, first: Some(first), changes };
    Ok(events::answer(node, visit.request.method(), expires_at, place, source))
}

/// Whoever may listen or send may know whether somebody listens (protocol.md 10, decision 74).
fn admit<'v>(node: &Node, visit: &'v Visit) -> Result<(&'v Entity, Option<Grant>), Refusal> {
    let namespace = visit.snapshot.namespace(&visit.namespace).ok_or_else(Refusal::endpoint_not_found)?;
    let path = visit.target.path.trim_end_matches('/');
    let entity = exact(visit, path);
    let token = gateway::token(visit).map(|(token, _)| token);
    let needs_none = token.is_none() && entity.is_some_and(|entity| !entity.requires_client_authorization);
    let wanted = auth::Request { namespace, entity, path, right: Right::Send };
    let authorize = || auth::authorize_either_from(node, visit.client, wanted, Right::Listen, token);
    let grant = if needs_none { None } else { Some(authorize()?) };
    let entity = entity.ok_or_else(Refusal::endpoint_not_found)?;
    visit.permit.authorized();
    Ok((entity, grant))
}

/// As much as somebody may see.
struct View {
    node: Arc<Node>,
    endpoint: String,
    /// Who the listeners are, and not only that they are.
    details: bool,
}

#[derive(Serialize)]
struct Present<'v> {
    endpoint: &'v str,
    count: usize,
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<Vec<Listener>>,
}

#[derive(Serialize)]
struct Change {
    id: String,
    at: String,
    count: usize,
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<Listener>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listener {
    id: String,
    tracking_id: String,
    since: String,
    address: String,
    agent: Option<String>,
    rule: String,
    features: Vec<String>,
    labels: BTreeMap<String, String>,
    in_flight: usize,
    last_heard: String,
}

impl View {
    fn new(node: &Arc<Node>, entity: &Entity, grant: Option<&Grant>) -> Self {
        let details = grant.is_some_and(|grant| grant.rights.allow(Right::Manage));
        Self { node: node.clone(), endpoint: entity.path.as_str().to_owned(), details }
    }

    fn present(&self, online: &Online) -> Present<'_> {
        Present {
            endpoint: &self.endpoint,
            count: online.listeners.len(),
            since: online.since.map(rfc3339),
            listeners: self.details.then(|| online.listeners.iter().map(|record| self.listener(record)).collect()),
        }
    }

    fn change(&self, change: &ListenerChange) -> Change {
        Change {
            id: id(change.id),
            at: rfc3339(change.at),
            count: change.count,
            since: change.since.map(rfc3339),
            listener: change.came.as_ref().filter(|_| self.details).map(|record| self.listener(record)),
        }
    }

    fn listener(&self, record: &ListenerRecord) -> Listener {
        let env = &self.node.env;
        let silence = env.now().saturating_duration_since(record.last_byte);
        let heard = env.wall_clock().checked_sub(silence).unwrap_or(record.since);
        Listener {
            id: id(record.id),
            tracking_id: record.tracking_id.clone(),
            since: rfc3339(record.since),
            address: record.address.to_string(),
            agent: record.agent.clone(),
            rule: record.key.rule.clone(),
            features: record.features.clone(),
            labels: record.labels.clone(),
            in_flight: record.in_flight,
            last_heard: rfc3339(heard),
        }
    }
}

/// The same in all that is told of one listener, and of no use elsewhere.
fn id(id: ListenerId) -> String {
    format!("{:032x}", id.0)
}

/// The listeners of one hybrid connection, as they come and go.
struct Listeners {
    view: View,
    key: EntityKey,
    grant: Option<Grant>,
    store: watch::Receiver<Arc<Snapshot>>,
    first: Option<Bytes>,
    changes: Reader<ListenerChange>,
}

impl Source for Listeners {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            tokio::select! {
                biased;
                changed = self.store.changed() => {
                    changed.ok()?;
                    if !self.may_go_on() {
                        return None;
                    }
                }
                // A reader that is too slow comes again, and begins anew.
                change = self.changes.next() => return Some(self.write(&change.ok()?)),
            }
        }
    }
}

impl Listeners {
    fn write(&self, change: &ListenerChange) -> Bytes {
        let name = if change.came.is_some() { "listener-connected" } else { "listener-disconnected" };
        events::event(name, &self.changes.position(), &self.view.change(change))
    }

    /// Whether the hybrid connection is still there, and open to this reader as it was.
    fn may_go_on(&mut self) -> bool {
        let snapshot = self.store.borrow_and_update().clone();
        let Some(namespace) = snapshot.namespace(self.key.namespace()) else { return false };
        let Some(entity) = namespace.entity(self.key.path()) else { return false };
        match &self.grant {
            Some(grant) => grant.is_unchanged(namespace, entity),
            None => !entity.requires_client_authorization,
        }
    }
}
