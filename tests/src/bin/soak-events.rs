//! `cargo xtask soak --events`: very many events for very many subscribers.

use anyhow::{Context, Result};
use hybridrelay_tests::broadcast::{self, Programs, Scale};

const SCALE: Scale = Scale { publishers: 10, events: 10_000, size: 512, processes: 5, subscribers: 40 };

/// What the relay may hold more than when all are idle, in KiB: a queue for each publisher, and what the sockets of those who are
/// stopped are being given.
const BOUND: u64 = 48 * 1024;

fn main() -> Result<()> {
    let folder = std::env::current_exe()?.parent().context("a program lies in a folder")?.to_owned();
    let programs = Programs { relay: folder.join("relay_process"), peer: folder.join("event-peer") };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let Scale { publishers, events, processes, subscribers, .. } = SCALE;
    println!(
        "{events} events from each of {publishers} publishers to {subscribers} subscribers in each of {processes} processes"
    );
    let outcome = runtime.block_on(broadcast::play(&programs, SCALE));
    println!("\n{outcome}");
    let (idle, most) = outcome.resident;
    anyhow::ensure!(most < idle + BOUND, "the relay holds more than {BOUND} KiB for those who do not read");
    anyhow::ensure!(outcome.missed > 0, "nobody was slow, so nothing is shown");
    Ok(())
}
