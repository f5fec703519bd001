//! The wheel: one for every CPython from 3.11 on, built by maturin, and by zig where that is Linux, so that it needs no newer C library than
//! its tag says.

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use super::PROFILE;
use crate::setup;

const WHEELS: &str = "target/python/wheels";

/// The oldest C library that the wheel runs with.
const MANYLINUX: &str = "manylinux_2_28";

/// The longest extension, so that it does not grow unnoticed; it holds the relay for tests as well.
const MOST_BYTES: u64 = 9 << 20;

pub(super) fn run(sh: &Shell) -> Result<()> {
    setup::for_python_dist(sh)?;
    sh.remove_path(WHEELS)?;
    let maturin = sh.current_dir().join("target/python/dist/bin/maturin");
    // maturin looks for zig beside the interpreter on the PATH.
    let path = std::env::join_paths(
        std::iter::once(sh.current_dir().join("target/python/dist/bin"))
            .chain(std::env::split_paths(&sh.var_os("PATH").unwrap_or_default())),
    )?;
    let _path = sh.push_env("PATH", path);
    let portable: &[&str] = if cfg!(target_os = "linux") { &["--zig", "--compatibility", MANYLINUX] } else { &[] };
    let manifest = "bindings-python/Cargo.toml";
    cmd!(sh, "{maturin} build --profile {PROFILE} --locked --manifest-path {manifest} --out {WHEELS} {portable...}")
        .run()?;
    let wheel = sh.read_dir(WHEELS)?.pop().context("maturin has built no wheel")?;

    // An environment that has nothing but the wheel runs what the README says.
    let empty = "target/python/empty";
    cmd!(sh, "python3 -m venv --clear {empty}").run()?;
    let python = sh.current_dir().join(empty).join("bin/python");
    cmd!(sh, "{python} -m pip install --quiet --disable-pip-version-check --no-index {wheel}").run()?;
    cmd!(sh, "{python} -W error bindings-python/tests/installed/quickstart.py").run()?;
    let plugin = "import importlib.metadata as m; [plugin] = m.entry_points(group='pytest11'); print(plugin.value)";
    ensure!(
        cmd!(sh, "{python} -c {plugin}").read()? == "hybridrelay.pytest_plugin",
        "pytest would not find the fixtures"
    );
    let installed = "import hybridrelay._native as native; print(native.__file__)";
    let extension = cmd!(sh, "{python} -c {installed}").read()?;
    let len = std::fs::metadata(&extension)?.len();
    ensure!(len <= MOST_BYTES, "{extension} has {len} bytes, more than {MOST_BYTES}");
    eprintln!("{}: the extension has {:.1} MiB", wheel.display(), len as f64 / f64::from(1 << 20));
    Ok(())
}
