//! What goes wrong between a relay and its peers: processes that are killed or stopped, paths that reset or swallow, names and
//! tokens that cannot be had, clocks that jump, readers that do not read. Nothing ends in silence, and everything is mended within
//! 5 s of its cause.
//!
//! Real processes in network namespaces; needs root, iproute2 and nftables.

// Real processes and real time are the point here.
#![allow(clippy::disallowed_methods)]

mod asleep;
mod clocks;
mod cut;
mod handshake;
mod holes;
mod killed;
mod names;
mod random;
mod reset;
mod stalled;
mod stopped;
mod unanswered;
mod world;

use std::path::PathBuf;

use hybridrelay_tests::faults::site::Programs;

/// The longest that a test may take. Far beyond what a busy machine needs: it only keeps a failing test from hanging.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(400);

fn programs() -> Programs {
    let path = PathBuf::from;
    Programs { relay: path(env!("CARGO_BIN_EXE_fault-relay")), peer: path(env!("CARGO_BIN_EXE_fault-peer")) }
}

/// Runs a test that does not hang.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await });
    outcome.expect("the test takes too long");
}
