//! libhybridrelay: the C library. Every function is documented in the header, which is made from this source.
//!
//! A function here takes its arguments apart, calls one thing of the SDK through `bindings-common`, and puts the result where it
//! belongs. What may go wrong beyond that is in [`boundary`].
#![allow(unsafe_code)] // The boundary to C. Each function states what it needs of its pointers.
#![allow(non_camel_case_types)] // C's names.
#![allow(clippy::missing_safety_doc)] // Stated once, in the header's preamble and in `boundary`.

mod boundary;
mod cancellation;
mod connection;
mod discovery;
mod error;
mod events;
mod forward;
mod http_body;
mod http_head;
mod http_incoming;
mod http_outgoing;
mod incoming;
mod listener;
mod local;
mod log;
mod news;
mod options;
mod presence;
mod queue;
mod sender;
mod stream;
#[cfg(feature = "test-hooks")]
mod test_hooks;
mod token;
mod version;

pub use connection::*;
pub use discovery::*;
pub use error::*;
pub use events::*;
pub use forward::*;
pub use http_body::*;
pub use http_head::*;
pub use http_incoming::*;
pub use http_outgoing::*;
pub use incoming::*;
pub use listener::*;
pub use local::*;
pub use log::*;
pub use options::*;
pub use presence::*;
pub use queue::*;
pub use sender::*;
pub use stream::*;
#[cfg(feature = "test-hooks")]
pub use test_hooks::*;
pub use token::*;
pub use version::*;
