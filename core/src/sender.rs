//! The sending side: opens connections to whoever listens.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::address::{EntityPath, RelayAddress};
use crate::dial::DialError;
use crate::env::Env;
use crate::http::{Body, HttpClient, OneWay};
use crate::link::WebSocketLink;
use crate::listener::USER_AGENT;
use crate::options::{Checked, Options, Target, header_map, shared_options};
use crate::presence::{self, Presence, PresenceEvents, PresenceWatcher};
use crate::protocol::{TrackingId, headers, refusal};
use crate::{Connection, Error, ErrorKind, PublisherBuilder, Result};

/// Opens [`Connection`]s to a hybrid connection and sends HTTP requests to it. Cheap to clone; clones share the connections that
/// requests travel on.
#[derive(Clone, Debug)]
pub struct Sender {
    checked: Arc<Checked>,
    http: Arc<HttpClient>,
}

impl Sender {
    /// A sender with the default options for a connection string or address.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unusable target.
    pub fn new(target: impl Into<Target>) -> Result<Self> {
        Self::builder(target).build()
    }

    /// Prepares a sender with options.
    pub fn builder(target: impl Into<Target>) -> SenderBuilder {
        SenderBuilder { options: Options::new(target.into()) }
    }

    /// Prepares a connection. Await it, or add a path, headers or sub-protocols first.
    pub fn connect(&self) -> Connect {
        Connect {
            sender: self.checked.clone(),
            path: String::new(),
            query: String::new(),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            tracking_id: None,
            timeout: None,
        }
    }

    /// Prepares a publisher: a connection on which this side only speaks. Await it, or add a path, headers or sub-protocols first.
    ///
    /// At a hybrid connection for events (`distribution = "all"`, protocol.md 11) everybody who listens hears it, now and as they come. At any
    /// other one, also of Azure Relay, it is an ordinary connection to one listener, whose answers are dropped.
    ///
    /// ```no_run
    /// # async fn example(sender: hybridrelay::Sender) -> hybridrelay::Result<()> {
    /// let publisher = sender.publisher().path("/prices").await?;
    /// publisher.publish("AAPL 196.5").await?;
    /// publisher.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn publisher(&self) -> PublisherBuilder {
        PublisherBuilder::new(self.connect())
    }

    /// Sends an HTTP request to a listener of the hybrid connection and returns its response, whatever the status.
    ///
    /// The URI is path and query behind the hybrid connection's name, such as `/orders/7?verbose=1`. Bodies stream both ways. The response's
    /// reason phrase is its extension [`ReasonPhrase`](crate::ReasonPhrase).
    ///
    /// A request with a body of at most 64 KiB that is under way while no other one is has a connection of HTTP/1.1 to itself, which costs
    /// least. Those beside it share one of HTTP/2 where the relay offers that, else each has another one. Idle connections are kept for
    /// half a minute. A request is under way until its response was read to the end or dropped.
    ///
    /// `connect_timeout` bounds the dial. Whether a listener answers in time is the relay's to judge (60 s, then `Timeout`); a program
    /// that is less patient drops the future, which tells a listener behind our relay.
    ///
    /// # Errors
    ///
    /// What the relay itself refused, and not the listener: `NoListeners`, `EndpointNotFound`, `Unauthorized`, `Timeout`, `ServerBusy`,
    /// `MessageTooLarge` for a body, `Rejected` for others. `ConnectionLost` if the connection broke before the response, also when the listener was lost; `Network`
    /// and `Tls` if the relay cannot be reached; `InvalidArgument` for a URI with a host, or the method CONNECT; the error of a body
    /// that broke off.
    pub async fn request<B: Into<Body>>(&self, request: http::Request<B>) -> Result<http::Response<Body>> {
        self.http.request(request.map(Into::into)).await
    }

    /// Sends an HTTP request for whose answer nobody waits. Returns as soon as one listener has been handed all of it, or at a hybrid
    /// connection for events every listener that is online; what it answers goes nowhere.
    ///
    /// The URI and the options are those of [`request`](Self::request). The body is taken in by the relay before anything is delivered,
    /// and may be 64 KiB long unless the hybrid connection allows more (`one_way_max`). The relay keeps nothing: a listener that takes the
    /// request and dies, or has more than its `max_concurrent` unanswered, has lost it. Dropping the future before it completes may or may not withdraw the request.
    ///
    /// # Errors
    ///
    /// `Unsupported` behind a relay that knows no one-way requests, such as Azure Relay: a listener has got it as an ordinary request.
    /// `MessageTooLarge` for a body that is too long; nothing was delivered then, nor with `NoListeners` and `ServerBusy`. With `Timeout`,
    /// `ConnectionLost` and `Rejected` a listener may have it. Otherwise as [`request`](Self::request).
    pub async fn send_one_way<B: Into<Body>>(&self, request: http::Request<B>) -> Result<OneWay> {
        self.http.one_way(request.map(Into::into)).await
    }

    /// Follows who listens on the hybrid connection, from now on and in the background.
    ///
    /// # Errors
    ///
    /// `Unsupported` from a relay that does not tell, as Azure Relay. `Unauthorized` and `EndpointNotFound` as the relay refuses: the
    /// credential needs the right to listen or to send, and to manage to be told who the listeners are. `Network`, `Tls`, `Timeout` and
    /// others if the relay cannot be reached. After the first answer nothing ends it any more: see
    /// [`PresenceWatcher::interruption`]. Dropping the future withdraws the question.
    pub async fn presence(&self) -> Result<PresenceWatcher> {
        PresenceWatcher::start(self.http.clone(), &self.checked.entity).await
    }

    /// Follows the listeners one by one. Nothing is asked before [`PresenceEvents::next`].
    pub fn presence_events(&self) -> PresenceEvents {
        PresenceEvents::new(self.http.clone(), &self.checked.entity)
    }

    /// Who listens on the hybrid connection now.
    ///
    /// # Errors
    ///
    /// As [`presence`](Self::presence).
    pub async fn presence_now(&self) -> Result<Presence> {
        presence::ask(&self.http, &self.checked.entity).await
    }

    /// Waits until somebody listens on the hybrid connection. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `Timeout` if nobody does within `limit`; as [`presence`](Self::presence).
    pub async fn wait_for_listener(&self, limit: Duration) -> Result<Presence> {
        let Checked { entity, address, dialer, .. } = &*self.checked;
        let waiting = async {
            let listened = self.presence().await?.listened().await;
            listened.ok_or_else(|| Error::new(ErrorKind::Internal, "the watcher has ended"))
        };
        dialer.env().timeout(limit, waiting).await.unwrap_or_else(|| {
            let what = format!("nobody listened on '{entity}' at {}", address.authority());
            Err(Error::new(ErrorKind::Timeout, format!("{what} within {} s", limit.as_secs_f32())))
        })
    }

    /// The relay's address.
    pub fn address(&self) -> &RelayAddress {
        &self.checked.address
    }

    /// The hybrid connection.
    pub fn entity(&self) -> &EntityPath {
        &self.checked.entity
    }
}

/// Prepares a [`Sender`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct SenderBuilder {
    options: Options,
}

impl SenderBuilder {
    shared_options!();

    /// Checks the options.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` naming the option that is not usable.
    pub fn build(self) -> Result<Sender> {
        let checked = Arc::new(self.options.check()?);
        let http = Arc::new(HttpClient::new(checked.reach()));
        Ok(Sender { checked, http })
    }
}

/// A connection that is about to be opened; awaiting it gives the [`Connection`].
#[derive(Clone)]
#[must_use = "nothing is connected until this is awaited"]
pub struct Connect {
    sender: Arc<Checked>,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    subprotocols: Vec<String>,
    tracking_id: Option<String>,
    timeout: Option<Duration>,
}

/// Without query and headers: they may hold the program's own credentials.
impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("sender", &self.sender)
            .field("path", &self.path)
            .field("subprotocols", &self.subprotocols)
            .field("tracking_id", &self.tracking_id)
            .finish_non_exhaustive()
    }
}

impl Connect {
    /// What follows the entity in the path, such as `/orders/7`. Percent-encoding is kept as given; characters that may not stand
    /// in a path are encoded.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The query, without `?`. Names that begin with `sb-hc-` belong to the relay.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    /// Adds a header that the listener sees. May be called several times.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Offers a sub-protocol. May be called several times, in order of preference.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// The GUID under which the relay and the listener know this connection. Default: a random one.
    pub fn tracking_id(mut self, id: impl Into<String>) -> Self {
        self.tracking_id = Some(id.into());
        self
    }

    /// How long this connect may take, instead of the sender's `connect_timeout`.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    pub(crate) fn env(&self) -> &Env {
        self.sender.dialer.env()
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// `NoListeners`, `EndpointNotFound`, `Unauthorized`, `Rejected` with the listener's status and reason, `Timeout`, `ServerBusy`,
    /// `Network`, `Tls`, `InvalidArgument`. Dropping the future withdraws the attempt.
    pub async fn open(self) -> Result<Connection> {
        let sender = self.sender.clone();
        let env = sender.dialer.env().clone();
        let limit = self.timeout.unwrap_or(sender.connect_timeout);
        env.timeout(limit, self.open_unbounded(&sender, limit)).await.unwrap_or_else(|| {
            let what = format!("no connection to '{}' at {}", sender.entity, sender.address.authority());
            Err(Error::new(ErrorKind::Timeout, format!("{what} within {} s", limit.as_secs_f32())))
        })
    }

    async fn open_unbounded(self, sender: &Checked, limit: Duration) -> Result<Connection> {
        let env = sender.dialer.env();
        let id = match &self.tracking_id {
            Some(text) => TrackingId::adopt(text)
                .ok_or_else(|| Error::invalid(format!("the tracking id {text:?} does not begin with a GUID")))?,
            None => TrackingId::from_random(env.random()),
        }
        .to_string();
        let uri = sender.address.connect_uri(&self.path, &self.query, &id)?;
        let mut handshake = sender
            .dialer
            .to_namespace(&uri)?
            .headers(&header_map(&self.headers)?)
            .header(headers::RELAY_USER_AGENT, HeaderValue::from_static(USER_AGENT))
            .subprotocols(&self.subprotocols);
        if let Some(credential) = &sender.credential {
            let token = credential.token(env, &sender.address.audience()).await?;
            handshake = handshake.header(headers::SERVICE_BUS_AUTHORIZATION, token.header_value()?);
        }
        let upgraded = handshake.open(limit).await.map_err(|error| match error {
            DialError::Failed(error) => error,
            DialError::Refused(refused) => refusal::classify(&refusal::Answer {
                what: &format!("cannot connect to '{}' at {}", sender.entity, sender.address.authority()),
                status: refused.status,
                reason: &refused.reason,
                headers: &refused.headers,
                body: &refused.body,
            }),
        })?;
        let link = WebSocketLink::start(env, upgraded.socket, upgraded.read_buf, sender.link);
        Ok(Connection::new(env.clone(), link, sender.connection, upgraded.subprotocol, id))
    }
}

impl IntoFuture for Connect {
    type Output = Result<Connection>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}
