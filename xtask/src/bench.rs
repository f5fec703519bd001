//! `cargo xtask bench`: what the benchmarks need, then one of them.

use anyhow::Result;
use clap::Args;
use xshell::{Shell, cmd};

use crate::setup;

#[derive(Args)]
pub(crate) struct Options {
    /// Run the benchmark without a look at what it needs.
    #[arg(long)]
    no_setup: bool,
    /// Which benchmark, and its options: `streams`, `streams --quick`, `streams --help`.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "BENCHMARK")]
    args: Vec<String>,
}

pub(crate) fn run(sh: &Shell, options: &Options) -> Result<()> {
    if !options.no_setup {
        setup::for_bench(sh)?;
    }
    let args = &options.args;
    if args.first().is_some_and(|benchmark| benchmark == "bindings") {
        cmd!(sh, "cargo build --release --locked -p hybridrelay-ffi-c").run()?;
    }
    cmd!(sh, "cargo run --release --locked -p hybridrelay-bench -- {args...}").run()?;
    Ok(())
}
