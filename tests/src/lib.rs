//! What the test binaries of this crate share.

pub mod anywhere;
pub mod broadcast;
pub mod built;
pub mod conformance;
pub mod detour;
pub mod faults;
pub mod metrics;
pub mod netns;
pub mod payload;
pub mod program;
pub mod secrets;
pub mod wire;
