//! What the test binaries of this crate share.

pub mod netns;
pub mod payload;
pub mod program;
pub mod wire;
