//! `cargo xtask test`: everything that the tests need, then all of them.

use std::thread::available_parallelism;

use anyhow::Result;
use clap::Args;
use xshell::{Shell, cmd};

use crate::setup;

#[derive(Args)]
pub(crate) struct Options {
    /// Run the tests without a look at what they need.
    #[arg(long)]
    no_setup: bool,
    /// For the test binaries: a filter on names, or their options, such as `-- --nocapture`.
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
}

pub(crate) fn run(sh: &Shell, options: &Options) -> Result<()> {
    if !options.no_setup {
        setup::run(sh)?;
    }
    // Tests that start the programs find them built, and with the same features as everything else.
    let selection = ["--workspace", "--all-features", "--locked"];
    cmd!(sh, "cargo build {selection...} --bins --examples --tests").run()?;
    let args = &options.args;
    // One more than there are cores: a test that mostly waits takes no turn away from the others.
    let threads = sh.var("RUST_TEST_THREADS").unwrap_or((available_parallelism()?.get() + 1).to_string());
    let _threads = sh.push_env("RUST_TEST_THREADS", threads);
    // Everything is told that fails, not only the first of it.
    cmd!(sh, "cargo test {selection...} --no-fail-fast -- {args...}").run()?;
    Ok(())
}
