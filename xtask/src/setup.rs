//! What tests and benchmarks need: programs of the system, and the clients of other languages that stand opposite to ours.
//!
//! Nothing is installed twice, and nothing is built before everything is there.

use anyhow::Result;
use xshell::Shell;

mod bindings;
mod interop;
mod programs;
mod stamp;

pub(crate) use stamp::Stamp;

/// What the tests need.
pub(crate) fn run(sh: &Shell) -> Result<()> {
    programs::require(sh, programs::FOR_TESTS)?;
    interop::node(sh)?;
    interop::python(sh)?;
    bindings::python(sh)
}

/// What the Autobahn suite needs to be set up itself.
pub(crate) fn for_autobahn(sh: &Shell) -> Result<()> {
    programs::require(sh, programs::FOR_AUTOBAHN)
}

/// What looks at the memory of C programs.
pub(crate) fn for_valgrind(sh: &Shell) -> Result<()> {
    programs::require(sh, programs::FOR_VALGRIND)
}

/// What the benchmarks need.
pub(crate) fn for_bench(sh: &Shell) -> Result<()> {
    programs::require(sh, programs::FOR_BENCH)?;
    interop::python_for_bench(sh)
}

/// What builds the wheels of the Python package.
pub(crate) fn for_python_dist(sh: &Shell) -> Result<()> {
    bindings::python_dist(sh)
}
