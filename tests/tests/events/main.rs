//! Events: what one publisher says, every listener hears.

#![allow(clippy::disallowed_methods)]

mod common;
mod ends;
mod foreign;
mod many;
mod messages;
mod online;
mod requests;
mod sdk;
mod slow;
