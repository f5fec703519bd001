//! The clients of other languages, installed from their lock files into places that only the tests use.

use std::path::Path;

use anyhow::Result;
use xshell::{Shell, cmd};

use super::Stamp;

/// Installs what `tests/interop/node/package-lock.json` says, next to it.
pub(super) fn node(sh: &Shell) -> Result<()> {
    let folder = "tests/interop/node";
    let lock = format!("{folder}/package-lock.json");
    if !sh.path_exists(&lock) {
        return Ok(());
    }
    // `npm ci` begins by removing the folder, so the stamp in it never outlives what it stands for.
    let stamp = Stamp {
        file: format!("{folder}/node_modules/.installed-from").into(),
        contents: cmd!(sh, "node --version").quiet().read()? + "\n" + &sh.read_file(&lock)?,
    };
    if stamp.is_current(sh) {
        return Ok(());
    }
    let _folder = sh.push_dir(folder);
    cmd!(sh, "npm ci --no-audit --no-fund").run()?;
    drop(_folder);
    stamp.write(sh)
}

/// Installs what `tests/interop/python/requirements.txt` says into a virtual environment, `target/interop/python`.
pub(super) fn python(sh: &Shell) -> Result<()> {
    python_environment(sh, "tests/interop/python/requirements.txt", "target/interop/python")
}

/// The same for the benchmarks.
pub(super) fn python_for_bench(sh: &Shell) -> Result<()> {
    python_environment(sh, "bench/requirements.txt", "target/bench/python")
}

/// A virtual environment with what a file of requirements says.
pub(super) fn python_environment(sh: &Shell, requirements: &str, venv: &str) -> Result<()> {
    if !sh.path_exists(requirements) {
        return Ok(());
    }
    let venv = Path::new(venv);
    let stamp = Stamp {
        file: venv.join("installed-from"),
        contents: cmd!(sh, "python3 --version").quiet().read()? + "\n" + &sh.read_file(requirements)?,
    };
    if stamp.is_current(sh) {
        return Ok(());
    }
    // `--clear` removes an older environment with its stamp.
    cmd!(sh, "python3 -m venv --clear {venv}").run()?;
    let python = venv.join("bin/python");
    cmd!(sh, "{python} -m pip install --quiet --disable-pip-version-check --requirement {requirements}").run()?;
    stamp.write(sh)
}
