//! Relayed HTTP as programs see it: listeners that answer, senders that ask, applications behind both.

#![allow(clippy::disallowed_methods)]

mod answers;
mod application;
mod common;
mod delivery;
mod early;
mod ends;
mod events;
mod forward;
mod instrument;
mod lost;
mod many;
mod one_way;
mod round;
mod slow;
