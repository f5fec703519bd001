//! What a namespace offers, as far as the relay tells (protocol.md 7.5).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::follow::{self, Event, Follower, Heard};
use crate::http::HttpClient;
use crate::options::{Options, Target, reach_options};
use crate::protocol::Features;
use crate::{EntityPath, Error, RelayAddress, Result};

/// Where the relay tells of its endpoints.
const ROOT: &str = "/";

/// A namespace as a whole. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<HttpClient>);

/// An endpoint that may be found and is online: a hybrid connection on which somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// Its name, to be given to a [`Sender`](crate::Sender).
    pub path: EntityPath,
    /// A name for people.
    pub title: String,
    /// A sentence or two for people; may be empty.
    pub summary: String,
    /// Words to look for.
    pub tags: Vec<String>,
    /// Where it takes HTTP requests.
    pub url: String,
    /// Where it takes WebSockets.
    pub web_socket_url: String,
    /// Whether senders need a token.
    pub requires_authorization: bool,
    /// Since when it is online.
    pub since: Option<SystemTime>,
}

/// What happens to the endpoints of a namespace.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EndpointEvent {
    /// Those that are online. The first event, and again where descriptions were changed or it is not known what happened in between.
    Present(Vec<Endpoint>),
    /// An endpoint came online.
    Online(Endpoint),
    /// An endpoint went offline.
    Offline {
        /// Its name.
        path: EntityPath,
        /// When.
        at: Option<SystemTime>,
    },
    /// The relay is not heard any more, and is asked again after a while.
    Interrupted {
        /// Why.
        error: Error,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// The relay is heard again. What happened in between follows.
    Restored,
}

impl Namespace {
    /// The namespace of a connection string or address; an `EntityPath` does not count.
    ///
    /// With a credential what it may send to can be found as well, without one only what is public.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unusable target.
    pub fn new(target: impl Into<Target>) -> Result<Self> {
        Self::builder(target).build()
    }

    /// Prepares a namespace with options.
    pub fn builder(target: impl Into<Target>) -> NamespaceBuilder {
        NamespaceBuilder { options: Options::new(target.into()) }
    }

    /// The endpoints that are online now, in the order of their names.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the relay tells nobody, as Azure Relay, or not of this namespace. `Unauthorized` for a credential that is not
    /// good, `Network`, `Tls`, `Timeout` and others if the relay cannot be reached.
    pub async fn endpoints(&self) -> Result<Vec<Endpoint>> {
        Ok(endpoints(follow::ask(&self.0, ROOT, Features::DISCOVERY).await?))
    }

    /// Follows which endpoints are online. Nothing is asked before [`EndpointEvents::next`].
    pub fn watch(&self) -> EndpointEvents {
        EndpointEvents(Follower::new(self.0.clone(), ROOT.to_owned(), Features::DISCOVERY))
    }

    /// The relay's address.
    pub fn address(&self) -> &RelayAddress {
        &self.0.reach().address
    }
}

/// Prepares a [`Namespace`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct NamespaceBuilder {
    options: Options,
}

impl NamespaceBuilder {
    reach_options!();

    /// Checks the options.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` naming the option that is not usable.
    pub fn build(self) -> Result<Namespace> {
        Ok(Namespace(Arc::new(HttpClient::new(self.options.check_namespace()?))))
    }
}

/// Everything that happens to the endpoints of a namespace, in order, also over the loss of the connection to the relay. Made by
/// [`Namespace::watch`].
///
/// The relay keeps the last 1 024 changes for whoever comes back, or reads slowly. Dropping it ends the stream.
pub struct EndpointEvents(Follower);

impl EndpointEvents {
    /// What happens next. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Only if the relay cannot be heard at first: as [`Namespace::endpoints`]. Later it is asked again for ever. After an error the next
    /// call tries again.
    pub async fn next(&mut self) -> Result<EndpointEvent> {
        loop {
            match self.0.next().await? {
                Heard::Event(event) => {
                    if let Some(event) = read(&event)? {
                        return Ok(event);
                    }
                }
                Heard::Lost { error, retry_in } => return Ok(EndpointEvent::Interrupted { error, retry_in }),
                Heard::Back => return Ok(EndpointEvent::Restored),
            }
        }
    }
}

impl fmt::Debug for EndpointEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointEvents")
    }
}

/// `None` for what is not known.
fn read(event: &Event) -> Result<Option<EndpointEvent>> {
    Ok(match event.name.as_str() {
        "snapshot" => Some(EndpointEvent::Present(endpoints(follow::read(&event.data)?))),
        "endpoint-online" => follow::read::<Described>(&event.data)?.endpoint().map(EndpointEvent::Online),
        "endpoint-offline" => {
            let Gone { path, at } = follow::read(&event.data)?;
            path.parse().ok().map(|path| EndpointEvent::Offline { path, at: follow::time(at.as_deref()) })
        }
        _ => None,
    })
}

#[derive(Deserialize)]
struct Snapshot {
    endpoints: Vec<Described>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Described {
    path: String,
    title: String,
    summary: String,
    tags: Vec<String>,
    url: String,
    web_socket: String,
    requires_authorization: bool,
    since: Option<String>,
}

#[derive(Deserialize)]
struct Gone {
    path: String,
    #[serde(default)]
    at: Option<String>,
}

fn endpoints(snapshot: Snapshot) -> Vec<Endpoint> {
    snapshot.endpoints.into_iter().filter_map(Described::endpoint).collect()
}

impl Described {
    /// `None` if its name cannot be one.
    fn endpoint(self) -> Option<Endpoint> {
        let Self { path, title, summary, tags, url, web_socket, requires_authorization, since } = self;
        Some(Endpoint {
            path: path.parse().ok()?,
            title,
            summary,
            tags,
            url,
            web_socket_url: web_socket,
            requires_authorization,
            since: follow::time(since.as_deref()),
        })
    }
}
