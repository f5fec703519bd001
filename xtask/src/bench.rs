//! `cargo xtask bench`: what the benchmarks need, then one of them.

use anyhow::{Context, Result};
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
        install_python(sh)?;
    }
    cmd!(sh, "cargo run --release --locked -p hybridrelay-bench -- {args...}").run()?;
    Ok(())
}

/// Puts the Python package where the benchmark's clients in Python find it, as a wheel, which is how users have it.
fn install_python(sh: &Shell) -> Result<()> {
    let (bin, wheels) = ("target/bench/python/bin", "target/bench/wheels");
    sh.remove_path(wheels)?;
    let manifest = "bindings-python/Cargo.toml";
    cmd!(sh, "{bin}/maturin build --release --locked --compatibility linux --manifest-path {manifest} --out {wheels}")
        .run()?;
    let wheel = sh.read_dir(wheels)?.pop().context("maturin has built no wheel")?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    cmd!(sh, "{bin}/python {pip...} --no-index --no-deps --force-reinstall {wheel}").run()?;
    Ok(())
}
