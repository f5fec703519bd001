//! Listen and send over a relay when neither side can be reached: the Hybrid Connections protocol in Rust.

pub mod env;
pub mod protocol;
pub mod ws;

mod address;
mod connection;
mod connection_string;
mod dial;
mod error;
mod link;
mod listener;
mod sender;
pub mod token;

pub use error::{Error, ErrorKind, Result};
