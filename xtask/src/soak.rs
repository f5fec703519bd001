//! `cargo xtask soak`: many faults, on real processes and in simulation, and a table of how they were mended.

use anyhow::Result;
use clap::Args;
use xshell::{Shell, cmd};

#[derive(Args)]
pub(crate) struct Options {
    /// What decides on the faults and their order: the same seed plays the same ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many faults are played, beside the long black holes and the stalled readers. A fifth of them is real.
    #[arg(long, default_value_t = 1000)]
    faults: usize,
    /// Instead of faults: very many events for very many subscribers, of which some are stopped. Needs no root.
    #[arg(long, conflicts_with_all = ["seed", "faults"])]
    events: bool,
}

pub(crate) fn run(sh: &Shell, options: &Options) -> Result<()> {
    if options.events {
        let selection = ["--package", "hybridrelay-tests", "--locked", "--release"];
        cmd!(sh, "cargo build {selection...} --bin relay_process --bin event-peer --bin soak-events").run()?;
        cmd!(sh, "cargo run --quiet {selection...} --bin soak-events").run()?;
        return Ok(());
    }
    let (seed, faults) = (options.seed.to_string(), options.faults.to_string());
    let selection = ["--package", "hybridrelay-tests", "--features", "netns", "--locked", "--release"];
    cmd!(sh, "cargo build {selection...} --bin soak --bin fault-relay --bin fault-peer").run()?;
    // A fault that is not mended ends it with a panic that tells the seed and the fault.
    cmd!(sh, "cargo run --quiet {selection...} --bin soak -- {seed} {faults}").run()?;
    Ok(())
}
