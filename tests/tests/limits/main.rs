//! What a relay refuses to give, to whom, and what it says about itself.

#![allow(clippy::disallowed_methods)]

mod common;
mod counts;
mod descriptors;
mod drain;
mod events;
mod handshakes;
mod metrics;
mod refused;
mod secrets;
mod storm;
mod throttle;
mod tokens;
