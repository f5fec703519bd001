//! What cargo has built beside this test: programs of other packages, examples, and the libraries of other languages.
//!
//! Cargo tells a test the place of its own package's programs alone. `cargo xtask test` builds everything before it runs anything.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::symlink;
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

/// Python with what the tests need.
///
/// # Panics
///
/// If `cargo xtask setup` has not prepared it.
pub fn python() -> PathBuf {
    there(root().join("target/python/venv/bin/python"))
}

/// Makes the Python package in a folder, for `PYTHONPATH`: its sources, and the native half that cargo has built.
///
/// # Panics
///
/// If that was not built.
pub fn python_package(place: &Path) {
    let (sources, package) = (root().join("bindings-python/python/hybridrelay"), place.join("hybridrelay"));
    std::fs::create_dir(&package).expect("a new folder");
    let link = |from: &Path, name: &OsStr| symlink(from, package.join(name)).expect("a new link");
    for source in std::fs::read_dir(sources).expect("the sources").map(|entry| entry.expect("an entry")) {
        // The tests of the package leave theirs there.
        if !source.file_name().to_string_lossy().starts_with("_native.abi3") && source.file_name() != "__pycache__" {
            link(&source.path(), &source.file_name());
        }
    }
    link(&there(folder().join("deps/libhybridrelay_python.so")), OsStr::new("_native.abi3.so"));
}

/// A search path on which the programs of the workspace come first.
pub fn search_path() -> OsString {
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(folder()).chain(std::env::split_paths(&others));
    std::env::join_paths(all).expect("cargo's folder has no colon in its name")
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
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
