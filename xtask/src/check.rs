//! `cargo xtask check`: the form of the code, and what it depends on.

use std::path::PathBuf;

use anyhow::Result;
use xshell::{Shell, cmd};

/// cargo-deny, and the version that is installed where none is there.
const DENY_VERSION: &str = "0.20.2";

pub(crate) fn run(sh: &Shell) -> Result<()> {
    let fuzz = ["--manifest-path", "fuzz/Cargo.toml"];

    cmd!(sh, "cargo fmt --all --check").run()?;
    cmd!(sh, "cargo fmt {fuzz...} --check").run()?;
    cmd!(sh, "cargo clippy --workspace --all-targets --all-features --locked -- -D warnings").run()?;
    // As cargo-fuzz does: what the targets reach beside the public API exists only then.
    cmd!(sh, "cargo clippy {fuzz...} --locked -- -D warnings").env("RUSTFLAGS", "--cfg fuzzing").run()?;
    cmd!(sh, "cargo doc --workspace --no-deps --all-features --locked").env("RUSTDOCFLAGS", "-D warnings").run()?;

    // Advisories are left out: they come from a database on the network, and a new one must not fail an old commit.
    let deny = cargo_deny(sh)?;
    cmd!(sh, "{deny} --locked --all-features check bans licenses sources").run()?;
    Ok(())
}

/// The program: the user's own, or one in `target/tools`, where it is installed if need be.
fn cargo_deny(sh: &Shell) -> Result<PathBuf> {
    if cmd!(sh, "cargo-deny --version").quiet().ignore_stdout().run().is_ok() {
        return Ok("cargo-deny".into());
    }
    let tools = sh.current_dir().join("target/tools");
    let program = tools.join("bin/cargo-deny");
    if !sh.path_exists(&program) {
        eprintln!("cargo-deny is not installed: version {DENY_VERSION} comes into {}, once", tools.display());
        cmd!(sh, "cargo install --quiet --locked cargo-deny --version {DENY_VERSION} --root {tools}").run()?;
    }
    Ok(program)
}
