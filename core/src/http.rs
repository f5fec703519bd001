//! Relayed HTTP (protocol.md 5): requests that a listener answers, and requests that a sender makes.

mod answer;
mod body;
mod cancellation;
mod client;

mod head;
mod intake;
mod rendezvous;
mod request;
mod responder;

pub use body::Body;
pub use cancellation::Cancellation;
pub(crate) use client::HttpClient;

pub use head::{Mount, ReasonPhrase, RemoteAddr};
pub(crate) use intake::Intake;
pub use request::IncomingRequest;
pub use responder::{Responder, ResponseWriter};
