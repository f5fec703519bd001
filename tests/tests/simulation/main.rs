//! Relay, listeners and senders in memory under a paused clock: hours pass in milliseconds, and one seed gives one trace.
#![allow(clippy::disallowed_methods)]

mod network;
mod trace;
mod world;
