//! `cargo xtask valgrind`: the C tests under valgrind, without the sanitizers that the test command runs them with.

use anyhow::Result;
use xshell::{Shell, cmd};

use crate::{dist, setup};

pub(crate) fn run(sh: &Shell) -> Result<()> {
    setup::for_valgrind(sh)?;
    cmd!(sh, "cargo build --locked --package hybridrelay-ffi-c --all-features --lib").run()?;
    let target = sh.var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let (prefix, build) = (format!("{target}/valgrind/prefix"), format!("{target}/valgrind/build"));
    dist::install_c(sh, prefix.as_ref(), format!("{target}/debug").as_ref())?;
    let prefix = sh.current_dir().join(prefix);
    cmd!(sh, "cmake -S ffi-c/tests -B {build} -DCMAKE_PREFIX_PATH={prefix} -DHYBRIDRELAY_VALGRIND=ON").run()?;
    cmd!(sh, "cmake --build {build}").run()?;
    cmd!(sh, "ctest --test-dir {build} --output-on-failure --no-tests=error").run()?;
    Ok(())
}
