//! The wire without I/O: control messages, `sb-hc-*` addresses, header rules, tracking ids, close codes, refusals.
//!
//! For the `hybridrelay` relay and the SDK itself; not part of the stable API. Section numbers cite `docs/protocol.md`.

pub mod close;
pub mod control;
pub mod features;
pub mod headers;
pub mod labels;
pub mod refusal;
pub mod tracking;
pub mod uri;

pub use control::{Accept, ControlError, FromListener, FromRelay, JSON_LIMIT, Request, Response, renew_token_json};
pub use features::Features;
pub use tracking::TrackingId;
