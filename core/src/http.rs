//! Relayed HTTP (protocol.md 5): requests that a listener answers, and requests that a sender makes.

mod answer;
mod body;
mod bridge;
mod cancellation;
mod client;

mod head;
mod intake;
mod one_way;
mod rendezvous;
mod request;
mod responder;
#[cfg(feature = "tower")]
mod serve;
mod traffic;

pub use body::Body;
pub(crate) use bridge::{Bridged, bridge, handshake_headers};
pub use cancellation::Cancellation;
pub(crate) use client::{HttpClient, Question};

#[cfg(fuzzing)]
pub(crate) use head::Target;
pub use head::{Mount, ReasonPhrase, RemoteAddr};
pub(crate) use intake::Intake;
pub use one_way::OneWay;
pub use request::IncomingRequest;
pub use responder::{Responder, ResponseWriter};
#[cfg(feature = "tower")]
pub use serve::Serve;
pub(crate) use traffic::{CountedStream, Traffic, counted_request, counted_response};
