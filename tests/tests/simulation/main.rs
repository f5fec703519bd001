//! Relay, listeners and senders in memory under a paused clock: hours pass in milliseconds, and one seed gives one trace.
#![allow(clippy::disallowed_methods)]

mod accepting;
mod choice;
mod closing;
mod events;
mod half_close;
mod network;
mod one_way;
mod presence;
mod proxy;
mod raw;
mod reconnect;
mod requests;
mod revocation;
mod silence;
mod stall;
mod tokens;
mod trace;
mod user_timeout;
mod world;
