//! Relayed HTTP requests, on real sockets: senders by hand and by hyper, and listeners that speak the protocol without the SDK.

#![allow(clippy::disallowed_methods)]

mod cancel;
mod choice;
mod common;
mod cors;
mod early;
mod errors;
mod fields;
mod hosts;
mod http2;
mod limits;
mod one_way;
mod reuse;
mod sizes;
mod smuggling;
mod streaming;
