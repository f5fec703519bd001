//! The relay inside of the program, for its tests.

use hybridrelay_bindings_common::core::env::Env;
use hybridrelay_bindings_common::errors::{Failure, Result};
use hybridrelay_bindings_common::following::Following;
use hybridrelay_bindings_common::local::{self, Kind};
use hybridrelay_bindings_common::once::Once;
use hybridrelay_bindings_common::process::Owned;
use hybridrelay_bindings_common::relay::LocalRelay as Relay;
use hybridrelay_bindings_common::relay::{Attempt, ConnectionId, Events, NextRefusal, OpenConnection};
use hybridrelay_bindings_common::turns::Turns;
use pyo3::prelude::*;

use crate::boundary::{call, duration, raised, time_out};
use crate::queue::{Started, next, none, object, task};

/// A relayed connection: id, hybrid connection, tracking id, bytes from the sender, bytes from the listener, whether it is held up.
type Relayed = (u64, String, String, u64, u64, bool);

fn facts(open: OpenConnection) -> Relayed {
    let entity = open.entity.path().to_owned();
    (open.id.0, entity, open.tracking_id, open.from_sender, open.from_listener, open.stalled)
}

/// A relay on loopback.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct LocalRelay(Once<Relay>);

impl LocalRelay {
    /// The environment with its clock.
    pub(crate) fn env(&self, py: Python<'_>) -> PyResult<Env> {
        self.with(py, |relay| relay.env().clone())
    }

    fn with<T>(&self, py: Python<'_>, look: impl FnOnce(&Relay) -> T) -> PyResult<T> {
        self.attempt(py, |relay| Ok(look(relay)))
    }

    fn attempt<T>(&self, py: Python<'_>, look: impl FnOnce(&Relay) -> Result<T>) -> PyResult<T> {
        call(py, || self.0.look(look)?)
    }
}

#[pymethods]
impl LocalRelay {
    /// Starts a relay.
    #[staticmethod]
    fn start<'py>(py: Python<'py>, tls: bool, port: u16, key: Option<String>, anonymous: bool) -> Started<'py> {
        let builder = Relay::builder().tls(tls).port(port).anonymous(anonymous);
        let builder = key.into_iter().fold(builder, |builder, key| builder.key(key));
        task(py, async move { Ok(builder.start().await?) }, |py, relay| {
            object(py, Self(Once::until(relay, "the relay was stopped")))
        })
    }

    /// A connection string with every right.
    fn connection_string(&self, py: Python<'_>, entity: &str) -> PyResult<String> {
        self.with(py, |relay| relay.connection_string(entity))
    }

    /// Its address.
    fn address(&self, py: Python<'_>) -> PyResult<String> {
        self.with(py, |relay| relay.address().to_string())
    }

    /// The certificate to trust; `None` without TLS.
    fn ca_pem(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.with(py, |relay| relay.ca_pem().map(str::to_owned))
    }

    /// Name and key of its one rule.
    fn rule(&self, py: Python<'_>) -> PyResult<(&'static str, String)> {
        self.with(py, |relay| (relay.key_name(), relay.key().to_owned()))
    }

    /// Cuts control channels.
    fn drop_control(&self, py: Python<'_>, entity: &str) -> PyResult<usize> {
        self.with(py, |relay| relay.drop_control(entity))
    }

    /// How many relayed connections are open.
    fn connections(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, Relay::connections)
    }

    /// How many listeners are online under a hybrid connection.
    fn listeners(&self, py: Python<'_>, entity: &str) -> PyResult<usize> {
        self.with(py, |relay| *relay.watch_listeners(entity).borrow())
    }

    /// Makes a hybrid connection, or makes it anew.
    fn add(&self, py: Python<'_>, entity: &str, events: bool, anonymous: bool, discoverable: bool) -> PyResult<()> {
        self.attempt(py, |relay| local::add(relay, entity, Kind { events, anonymous, discoverable }))
    }

    /// Moves its clocks on.
    fn advance(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let passed = raised(py, duration("seconds", seconds))?;
        self.with(py, |relay| relay.advance(passed))
    }

    /// Refuses who comes next.
    fn refuse_next(
        &self,
        py: Python<'_>,
        status: u16,
        reason: Option<String>,
        attempt: Option<&str>,
        retry_after: Option<f64>,
    ) -> PyResult<()> {
        self.attempt(py, |relay| {
            let next = reason.into_iter().fold(NextRefusal::new(status), NextRefusal::because);
            let wait = retry_after.map(|seconds| duration("retry_after", seconds)).transpose()?;
            let next = wait.into_iter().fold(next, NextRefusal::retry_after);
            let next = match attempt {
                None => next,
                Some("listen") => next.of(Attempt::Listen),
                Some("connect") => next.of(Attempt::Connect),
                Some("request") => next.of(Attempt::Request),
                Some(other) => {
                    let text = format!("an attempt is 'listen', 'connect' or 'request', not '{other}'");
                    return Err(Failure::invalid(text));
                }
            };
            Ok(relay.refuse_next(next)?)
        })
    }

    /// The relayed connections that are open.
    fn open_connections(&self, py: Python<'_>) -> PyResult<Vec<Relayed>> {
        self.with(py, |relay| relay.open_connections().into_iter().map(facts).collect())
    }

    /// The control channels of the listeners that are online.
    fn control_channels(&self, py: Python<'_>) -> PyResult<Vec<Relayed>> {
        self.with(py, |relay| relay.control_channels().into_iter().map(facts).collect())
    }

    /// Holds a relayed connection up, or lets it go on; whether it is open.
    fn stall(&self, py: Python<'_>, id: u64, stalled: bool) -> PyResult<bool> {
        let id = ConnectionId(id);
        self.with(py, |relay| if stalled { relay.stall(id) } else { relay.resume(id) })
    }

    /// Cuts a relayed connection after so many bytes; whether it is open.
    fn cut_after(&self, py: Python<'_>, id: u64, bytes: u64) -> PyResult<bool> {
        self.with(py, |relay| relay.cut_after(ConnectionId(id), bytes))
    }

    /// Cuts the next one after so many bytes.
    fn cut_next_after(&self, py: Python<'_>, bytes: u64) -> PyResult<()> {
        self.with(py, |relay| relay.cut_next_after(bytes))
    }

    /// Follows what happens from now on.
    fn events(&self, py: Python<'_>) -> PyResult<RelayEvents> {
        Ok(RelayEvents(Owned::new(Following::new(Turns::new(self.with(py, Relay::events)?)))))
    }

    /// Stops it: connections have `drain` seconds to end.
    fn stop<'py>(&self, py: Python<'py>, drain: f64) -> Started<'py> {
        let (relay, drain) = call(py, || Ok((self.0.take()?, duration("drain", drain)?)))?;
        let stopping = async move {
            relay.shutdown(drain).await;
            Ok(())
        };
        task(py, stopping, none)
    }
}

/// Follows what happens at a relay.
#[pyclass(frozen, module = "hybridrelay._native")]
pub(crate) struct RelayEvents(Owned<Following<Turns<Events>>>);

#[pymethods]
impl RelayEvents {
    /// What happens next: operation, hybrid connection, tracking id, peer, reason, status, when, how many were missed
    /// so far. `None` once the relay has ended.
    fn next<'py>(&self, py: Python<'py>) -> Started<'py> {
        next(py, &self.0, |py, (event, missed)| {
            let Some(event) = event else { return none(py, ()) };
            let peer = (event.peer.ip().to_string(), event.peer.port());
            let (operation, entity) = (event.operation.as_str(), event.entity.as_ref().map(|key| key.path()));
            let (reason, status) = (event.detail.reason(), event.detail.status());
            let at = time_out(Some(event.at));
            let facts = (operation, entity, &event.tracking_id, peer, reason, status, at, missed);
            Ok(facts.into_pyobject(py)?.into_any())
        })
    }
}
