//! What the relay tells of itself: who listens, and what is online.
#![allow(clippy::disallowed_methods)]

mod common;
mod discovery;
mod ends;
mod events;
mod management;
mod once;
mod rights;
mod sdk;
