//! The task runner that people and CI share: `cargo xtask <task>`.
//!
//! One module per task; each runs commands, says which one it runs, and stops at the first that fails.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use xshell::Shell;

mod autobahn;
mod bench;
mod check;
mod dist;
mod setup;
mod soak;
mod test;
mod valgrind;

/// Tasks of the hybridrelay workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Set up what the tests need, and run none.
    Setup,
    /// Set up what the tests need and run all of them.
    Test(test::Options),
    /// Let things go wrong for long, and tell in a table how they were mended. Needs root.
    Soak(soak::Options),
    /// Set up what the benchmarks need and run one, in release mode. Fails if a goal is missed.
    Bench(bench::Options),
    /// Check form: formatting, lints, documentation, dependencies, fuzz targets. Runs no test.
    Check,
    /// Build what users install.
    Dist(dist::Options),
    /// Run the tests in C under valgrind. Some minutes.
    Valgrind,
    /// Run the Autobahn test suite against both of our WebSocket ends. Sets it up if need be; needs root.
    Autobahn(autobahn::Options),
}

/// Where cargo puts what it builds.
fn target(sh: &Shell) -> PathBuf {
    // Joining an absolute path gives that path.
    sh.current_dir().join(sh.var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

fn main() -> ExitCode {
    match run(&Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<()> {
    let sh = Shell::new()?;
    // What cargo says now, and not what it said when this was built: a target directory may serve several checkouts.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run as `cargo xtask`")?;
    let root = Path::new(&manifest).parent().context("xtask stands in the workspace")?;
    sh.change_dir(root);
    match task {
        Task::Setup => setup::run(&sh),
        Task::Test(options) => test::run(&sh, options),
        Task::Soak(options) => soak::run(&sh, options),
        Task::Bench(options) => bench::run(&sh, options),
        Task::Dist(options) => dist::run(&sh, options),
        Task::Check => check::run(&sh),
        Task::Valgrind => valgrind::run(&sh),
        Task::Autobahn(options) => autobahn::run(&sh, options),
    }
}
