//! `cargo xtask valgrind`: the C tests under valgrind, without the sanitizers that the test command runs them with.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::{dist, setup, target};

pub(crate) fn run(sh: &Shell) -> Result<()> {
    setup::for_valgrind(sh)?;
    cmd!(sh, "cargo build --locked --package hybridrelay-ffi-c --all-features --lib").run()?;
    let target = target(sh);
    let (prefix, build) = (target.join("valgrind/prefix"), target.join("valgrind/build"));
    dist::install_c(sh, &prefix, &target.join("debug"))?;
    cmd!(sh, "cmake -S ffi-c/tests -B {build} -DCMAKE_PREFIX_PATH={prefix} -DHYBRIDRELAY_VALGRIND=ON").run()?;
    cmd!(sh, "cmake --build {build}").run()?;
    cmd!(sh, "ctest --test-dir {build} --output-on-failure --no-tests=error").run()?;
    Ok(())
}
