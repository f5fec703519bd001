//! What cargo has built beside this test: programs of other packages, examples, and the C library.
//!
//! Cargo tells a test the place of its own package's programs alone. `cargo xtask test` builds everything before it runs anything.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The answer to everything that is missing.
const PREPARE: &str = "run `cargo xtask test`, which builds everything first";

/// A program of the workspace, such as `hybridrelay`.
///
/// # Panics
///
/// If it was not built.
pub fn program(name: &str) -> PathBuf {
    there(folder().join(name))
}

/// An example of the workspace, such as `echo`.
///
/// # Panics
///
/// If it was not built.
pub fn example(name: &str) -> PathBuf {
    there(examples().join(name))
}

/// The folder of the examples.
///
/// # Panics
///
/// If none was built.
pub fn examples() -> PathBuf {
    there(folder().join("examples"))
}

/// The C library, which is called `libhybridrelay_c.so` here.
///
/// # Panics
///
/// If it was not built.
pub fn c_library() -> PathBuf {
    there(folder().join("deps/libhybridrelay_c.so"))
}

/// A search path on which the programs of the workspace come first.
pub fn search_path() -> OsString {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder()).chain(std::env::split_paths(&others));
    std::env::join_paths(all).expect("cargo's folder has no colon in its name")
}

/// The folder of cargo's profile.
fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it lies");
    test.parent().and_then(Path::parent).expect("a test lies in deps").to_owned()
}

fn there(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing; {PREPARE}", path.display());
    path
}
