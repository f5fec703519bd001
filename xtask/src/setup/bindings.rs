//! What the bindings are tested with.

use anyhow::Result;
use xshell::Shell;

use super::interop::python_environment;

/// Installs what `bindings-python/tests/requirements.txt` says into a virtual environment, `target/python/venv`.
pub(super) fn python(sh: &Shell) -> Result<()> {
    python_environment(sh, "bindings-python/tests/requirements.txt", "target/python/venv")
}

/// The same for what builds the wheels.
pub(super) fn python_dist(sh: &Shell) -> Result<()> {
    python_environment(sh, "bindings-python/dist-requirements.txt", "target/python/dist")
}
