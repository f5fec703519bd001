//! A self-hostable relay for the Hybrid Connections protocol: service, library, and emulator for tests.
//!
//! [`Relay::builder`] makes a relay with sockets, namespaces and limits of your own; [`LocalRelay`] one on loopback for a test. Both
//! run inside your process on its tokio runtime. Official clients and the `hybridrelay` SDK meet on it.

#![warn(unreachable_pub)]

mod auth;
mod config;
mod control;
#[cfg(feature = "dev-ca")]
pub mod dev_ca;
pub mod directory;
mod edge;
mod gateway;
mod limits;
mod local;
mod namespace;
mod node;
mod observe;
mod refusal;
mod relay;
mod rendezvous;
mod store;
pub mod tls;

pub use config::{Config, Limits, ListenAddress, Timings};
pub use limits::{DescriptorLimit, raise_descriptor_limit};
pub use local::{LocalRelay, LocalRelayBuilder};
pub use namespace::{AutoCreate, Entity, Namespace, Right, Rights, Rule, WebSocketPaths};
pub use observe::{Detail, Event, Events, Operation};
pub use relay::{Relay, RelayBuilder, RelayHandle};
pub use store::{MemoryStore, Snapshot, Store};
