//! A self-hostable relay for the Hybrid Connections protocol: service, library, and emulator for tests.
//!
//! [`Relay::builder`] makes a relay with sockets, namespaces and limits of your own; [`LocalRelay`] one on loopback for a test. Both
//! run inside your process on its tokio runtime. Official clients and the `hybridrelay` SDK meet on it.

#![warn(unreachable_pub)]

mod auth;
mod config;
#[cfg(feature = "config-file")]
pub mod config_file;
mod control;
#[cfg(feature = "dev-ca")]
pub mod dev_ca;
pub mod directory;
mod edge;
#[cfg(feature = "config-file")]
mod endpoint;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gateway;
mod instrument;
mod limits;
mod local;
mod namespace;
mod node;
mod observe;
mod own;
mod pool;
mod refusal;
mod relay;
mod rendezvous;
mod store;
pub mod tls;
#[cfg(feature = "config-file")]
pub mod units;

pub use config::{Config, Limits, ListenAddress, Timings};
#[cfg(feature = "config-file")]
pub use endpoint::{Endpoint, EndpointHost};
pub use instrument::{Attempt, ConnectionId, NextRefusal, OpenConnection};
pub use limits::{DescriptorLimit, raise_descriptor_limit};
pub use local::{LocalRelay, LocalRelayBuilder};
pub use namespace::{
    AutoCreate, Choice, Discoverable, Distribution, Entity, EntitySettings, EventSettings, HttpSettings, Namespace,
    NoListener, NoSubscriber, OneWay, Right, Rights, Rule, SlowSubscriber, StickyBy, Visibility, WebSocketPaths,
};
pub use observe::{Detail, Event, Events, Operation};
pub use relay::{Relay, RelayBuilder, RelayHandle};
pub use store::{MemoryStore, Snapshot, Store};
