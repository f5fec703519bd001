//! Events: what one publisher says, every listener hears.

#![allow(clippy::disallowed_methods)]

mod common;
mod ends;
mod messages;
mod online;
mod requests;
mod slow;
