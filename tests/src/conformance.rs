//! All languages against each other: programs that do what lines of JSON say, and scenarios that are data.
//!
//! What a program must understand stands in `tests/conformance/README.md`, the scenarios in `tests/scenarios/`. A [`Member`] is a
//! language with its program; a [`Suite`] runs scenarios for members and tells what came of them.

// Real processes, sockets and time are the point here.
#![allow(clippy::disallowed_methods)]

mod expectation;
mod members;
mod proxy;
mod report;
mod run;
mod scenario;
mod suite;
mod testee;
mod transcript;
mod vectors;
mod world;

pub use members::{Builds, Launch, MEMBERS, Member};
pub use report::{Outcome, Report};
pub use scenario::{Role, Scenario, Wanted};
pub use suite::{Selection, Suite};
pub use testee::{Pending, Testee};
pub use transcript::Transcript;
pub use world::{Credential, Site, World};
