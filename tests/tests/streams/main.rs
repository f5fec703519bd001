//! Streams over a real relay on real sockets: SDK, relay, and peers that share no code with either.

#![allow(clippy::disallowed_methods)]

mod auth;
mod close;
mod connect;
mod control;
mod foreign;
mod handshake;
mod instrument;
mod leaks;
mod memory;
mod messages;
mod pump;
mod reject;
mod routing;
mod sdk;
mod shutdown;
mod tls;
