//! Which hybrid connections of a namespace are online, as far as they may be found (protocol.md 7.5).

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tokio::sync::watch;

use super::events::{self, EVENT_STREAM, Source};
use super::time::rfc3339;
use super::{answer_with, bases, media, text};
use crate::auth::Viewer;
use crate::directory::{EntityChange, EntityKey, Following, Reader};
use crate::edge::{Body, Visit};
use crate::gateway;
use crate::limits::{Resource, Scope};
use crate::namespace::{Discoverable, Entity, Namespace, Visibility};
use crate::node::Node;
use crate::refusal::Refusal;
use crate::store::Snapshot;

mod atom;

pub(super) use atom::ATOM;

const FEED: &str = "application/atom+xml";
const JSON: &str = "application/json";

/// The answer depends on what is wanted and on who asks.
const VARY: HeaderValue = HeaderValue::from_static("Accept, Authorization, ServiceBusAuthorization");

pub(super) fn answer(node: &Arc<Node>, visit: &Visit) -> Result<Response<Body>, Refusal> {
    let namespace = visit.snapshot.namespace(&visit.namespace).ok_or_else(Refusal::endpoint_not_found)?;
    let token = gateway::token(visit).map(|(token, _)| token);
    let viewer = token.map(|token| Viewer::from_token(node, visit.client, namespace, token)).transpose()?;
    visit.permit.authorized();
    let view = View { namespace: visit.namespace.clone(), bases: bases(visit), viewer };
    let mut response = match media::wanted(visit.request.headers(), &[FEED, JSON, EVENT_STREAM]) {
        EVENT_STREAM => stream(node, visit, view)?,
        wanted => page(node, visit, &view, wanted),
    };
    response.headers_mut().insert(header::VARY, VARY);
    Ok(response)
}

/// All of it, unless the reader has it already.
fn page(node: &Node, visit: &Visit, view: &View, wanted: &str) -> Response<Body> {
    let endpoints = view.present(&visit.snapshot, &node.directory.entities(&view.namespace));
    let (kind, body) = match wanted {
        JSON => ("application/json; charset=utf-8", serde_json::to_string(&Present { endpoints }).unwrap_or_default()),
        _ => ("application/atom+xml;type=feed;charset=utf-8", atom::feed(&view.bases[0], node.started_at, &endpoints)),
    };
    let tag = format!("\"{:016x}\"", hash(&body));
    let known = text(visit.request.headers(), header::IF_NONE_MATCH.as_str());
    let is_known = known.is_some_and(|known| {
        known.split(',').map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    });
    let mut response = answer_with(kind, body);
    if is_known {
        response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let fields = response.headers_mut();
    let kept = if view.viewer.is_some() { "private, no-cache" } else { "no-cache" };
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    // Hexadecimal digits in quotes.
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        fields.insert(header::ETAG, tag);
    }
    response
}

fn stream(node: &Arc<Node>, visit: &Visit, view: View) -> Result<Response<Body>, Refusal> {
    let scopes = [Scope::Namespace(view.namespace.as_str().into())].into_iter().chain(visit.client.map(Scope::Address));
    let place = node.quotas.take(Resource::Connection, scopes)?;
    let mut store = node.store.changes();
    let snapshot = store.borrow_and_update().clone();
    let expires_at = view.viewer.as_ref().map(Viewer::expires_at);
    let known = view.known(&snapshot);
    // Whoever knew other descriptions than those of now begins anew.
    let after = events::last_id(visit.request.headers()).and_then(|id| id.rsplit_once('-'));
    let after = after.filter(|(_, descriptions)| u64::from_str_radix(descriptions, 16) == Ok(known));
    let after = after.and_then(|(position, _)| position.parse().ok());
    let Following { present, changes } = node.directory.follow_entities(&view.namespace, after);
    let mut source = Endpoints { node: node.clone(), view, store, known, first: None, changes };
    source.first = Some(match present {
        Some(online) => source.snapshot(&snapshot, &online),
        None => events::comment("going on"),
    });
    Ok(events::answer(node, visit.request.method(), expires_at, place, source))
}

/// As much as somebody may see.
struct View {
    namespace: String,
    /// `https://host` and `wss://host`.
    bases: [String; 2],
    viewer: Option<Viewer>,
}

#[derive(Serialize)]
struct Present<'s> {
    endpoints: Vec<Endpoint<'s>>,
}

/// A hybrid connection that is online.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint<'s> {
    path: &'s str,
    title: &'s str,
    summary: &'s str,
    tags: &'s [String],
    url: String,
    web_socket: String,
    requires_authorization: bool,
    since: String,
    #[serde(skip)]
    came: SystemTime,
}

#[derive(Serialize)]
struct Gone<'s> {
    path: &'s str,
    at: String,
}

impl View {
    fn present<'s>(&self, snapshot: &'s Snapshot, online: &[(EntityKey, SystemTime)]) -> Vec<Endpoint<'s>> {
        let Some(namespace) = snapshot.namespace(&self.namespace) else { return Vec::new() };
        let seen = online.iter().filter_map(|(key, since)| {
            let (entity, discoverable) = self.sees(namespace, key.path())?;
            Some(self.endpoint(entity, discoverable, *since))
        });
        seen.collect()
    }

    fn endpoint<'s>(&self, entity: &'s Entity, described: &'s Discoverable, since: SystemTime) -> Endpoint<'s> {
        let path = entity.path.as_str();
        let [http, ws] = &self.bases;
        Endpoint {
            path,
            title: if described.title.is_empty() { path } else { &described.title },
            summary: &described.summary,
            tags: &described.tags,
            url: format!("{http}/{path}"),
            web_socket: format!("{ws}/$hc/{path}"),
            requires_authorization: entity.requires_client_authorization,
            since: rfc3339(since),
            came: since,
        }
    }

    /// The hybrid connection of this path, if it may be found by whoever looks.
    fn sees<'s>(&self, namespace: &'s Namespace, path: &str) -> Option<(&'s Entity, &'s Discoverable)> {
        let entity = namespace.entity(path).filter(|_| namespace.discovery)?;
        let described = entity.settings.discoverable.as_ref()?;
        let may_use = || self.viewer.as_ref().is_some_and(|viewer| viewer.may_send(namespace, entity));
        (described.visibility == Visibility::Public || may_use()).then_some((entity, described))
    }

    /// Stands for all that can be seen of the namespace, whether it is online or not.
    fn known(&self, snapshot: &Snapshot) -> u64 {
        let namespace = snapshot.namespace(&self.namespace);
        let entities = namespace
            .into_iter()
            .flat_map(|namespace| namespace.entities().filter_map(|entity| self.sees(namespace, entity.path.as_str())));
        let described = entities.map(|(entity, Discoverable { title, summary, tags, visibility })| {
            let is_public = *visibility == Visibility::Public;
            (entity.path.as_str(), title, summary, tags, is_public, entity.requires_client_authorization)
        });
        hash(&described.collect::<Vec<_>>())
    }
}

/// The same for the same, in every process.
fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// What is online in a namespace, as it comes and goes.
struct Endpoints {
    node: Arc<Node>,
    view: View,
    store: watch::Receiver<Arc<Snapshot>>,
    /// What the reader knows of descriptions.
    known: u64,
    first: Option<Bytes>,
    changes: Reader<EntityChange>,
}

impl Source for Endpoints {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            tokio::select! {
                biased;
                changed = self.store.changed() => {
                    changed.ok()?;
                    if let Some(anew) = self.look_again()? {
                        return Some(anew);
                    }
                }
                change = self.changes.next() => {
                    // A reader that is too slow comes again, and begins anew.
                    if let Some(event) = self.write(&change.ok()?) {
                        return Some(event);
                    }
                }
            }
        }
    }
}

impl Endpoints {
    fn id(&self) -> String {
        format!("{}-{:016x}", self.changes.position(), self.known)
    }

    fn snapshot(&self, snapshot: &Snapshot, online: &[(EntityKey, SystemTime)]) -> Bytes {
        events::event("snapshot", &self.id(), &Present { endpoints: self.view.present(snapshot, online) })
    }

    /// The namespace was changed: what can be seen begins anew if it is something else. `None` ends the stream.
    fn look_again(&mut self) -> Option<Option<Bytes>> {
        let snapshot = self.store.borrow_and_update().clone();
        let namespace = snapshot.namespace(&self.view.namespace).filter(|namespace| namespace.discovery)?;
        if self.view.viewer.as_ref().is_some_and(|viewer| !viewer.is_known(namespace)) {
            return None;
        }
        let known = self.view.known(&snapshot);
        if known == self.known {
            return Some(None);
        }
        self.known = known;
        let Following { present, changes } = self.node.directory.follow_entities(&self.view.namespace, None);
        self.changes = changes;
        Some(Some(self.snapshot(&snapshot, &present.unwrap_or_default())))
    }

    fn write(&self, change: &EntityChange) -> Option<Bytes> {
        let snapshot = self.store.borrow().clone();
        let namespace = snapshot.namespace(&self.view.namespace)?;
        let (entity, described) = self.view.sees(namespace, change.entity.path())?;
        Some(if change.online {
            events::event("endpoint-online", &self.id(), &self.view.endpoint(entity, described, change.at))
        } else {
            let gone = Gone { path: entity.path.as_str(), at: rfc3339(change.at) };
            events::event("endpoint-offline", &self.id(), &gone)
        })
    }
}
