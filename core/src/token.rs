//! Tokens: what a listener or sender shows to be let in (protocol.md 2).

mod provider;
mod sas;
mod secret;

pub use provider::{Token, TokenProvider, renewal_delay};
pub use sas::{Audience, MalformedToken, SasToken};
pub use secret::Secret;

pub(crate) use provider::expired;
