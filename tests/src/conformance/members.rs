//! The one table of languages: how the program of each is started, and which peculiarities of it are known.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::process::Command;

use super::scenario::Role;
use crate::built;

/// A language, or a library that speaks the same protocol.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// As it stands in the table of results.
    pub name: &'static str,
    /// How its program is started.
    pub launch: Launch,
    /// Environment variables for it.
    pub variables: &'static [(&'static str, &'static str)],
    /// What it is known to do differently.
    pub quirks: &'static [Quirk],
}

/// How a program is started.
#[derive(Clone, Copy, Debug)]
pub enum Launch {
    /// The binary `testee` of this crate.
    Rust,
    /// The sources in `tests/conformance/c`, compiled and linked to the C library.
    C,
    /// A script that uses the Python package.
    Python(&'static str),
    /// An interpreter, by its name or by its path from the root of the repository, and a script.
    Script(&'static str, &'static str),
}

/// A scenario that is not for a member, although it lacks no capability.
#[derive(Clone, Copy, Debug)]
pub struct Quirk {
    /// The scenario.
    pub scenario: &'static str,
    /// The role in which it shows.
    pub role: Role,
    /// Why.
    pub reason: &'static str,
}

/// Every member. The first is the one that all others are measured by.
pub const MEMBERS: &[Member] = &[
    member("rust", Launch::Rust, &[]),
    member("c", Launch::C, &[]),
    member("python", Launch::Python("tests/conformance/python/testee.py"), &[]),
    member(
        "hyco-ws",
        Launch::Script("node", "tests/conformance/node/hyco-ws.js"),
        &[
            listener_quirk("close-while-waiting", "with itself it closes what it has accepted"),
            listener_quirk("too-large", "its limit is the package's and no option"),
        ],
    ),
    member("hyco-https", Launch::Script("node", "tests/conformance/node/hyco-https.js"), &[]),
];

const fn member(name: &'static str, launch: Launch, quirks: &'static [Quirk]) -> Member {
    Member { name, launch, variables: &[], quirks }
}

const fn listener_quirk(scenario: &'static str, reason: &'static str) -> Quirk {
    Quirk { scenario, role: Role::Listener, reason }
}

/// The C program, in `tests/conformance/c`.
const C_SOURCES: [&str; 7] = ["testee.c", "streams.c", "bytes.c", "http.c", "events.c", "process.c", "support.c"];

/// Where the programs are that were built.
#[derive(Debug)]
pub struct Builds {
    rust: PathBuf,
    /// Holds what is compiled.
    folder: TempDir,
}

impl Builds {
    /// With the path of the binary `testee`, which only a test knows.
    ///
    /// # Errors
    ///
    /// If there is no place for what is compiled.
    pub fn new(rust: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self { rust: rust.into(), folder: tempfile::tempdir()? })
    }

    /// The command that starts the program of a member.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub async fn command(&self, member: &Member) -> Result<Command> {
        let mut command = match member.launch {
            Launch::Rust => Command::new(&self.rust),
            Launch::C => self.compiled().await?,
            Launch::Python(script) => {
                let mut command = Command::new(built::python());
                command.arg(root().join(script)).env("PYTHONPATH", self.python_package()?);
                command
            }
            Launch::Script(interpreter, script) => {
                // One that was made for the tests stands in the repository.
                let is_ours = interpreter.contains('/');
                let mut command =
                    if is_ours { Command::new(root().join(interpreter)) } else { Command::new(interpreter) };
                command.arg(root().join(script));
                command
            }
        };
        command.envs(member.variables.iter().copied());
        Ok(command)
    }

    /// Compiles the C program without a warning and links it to the library that cargo has built.
    async fn compiled(&self) -> Result<Command> {
        let program = self.folder.path().join("testee");
        let library = self.c_library()?;
        let folder = library.parent().context("a file has a folder")?;
        if !program.exists() {
            let sources = root().join("tests/conformance/c");
            let mut cc = Command::new("cc");
            cc.args(["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-D_GNU_SOURCE", "-o"])
                .arg(&program)
                .arg("-I")
                .arg(root().join("ffi-c/include"))
                .args(C_SOURCES.map(|source| sources.join(source)))
                .arg("-L")
                .arg(folder)
                .args(["-lhybridrelay_c", "-lcjson", "-lcrypto", "-lpthread"]);
            let done = cc.output().await.context("cc cannot be started; run `cargo xtask setup`")?;
            if !done.status.success() {
                bail!("the C program cannot be compiled:\n{}", String::from_utf8_lossy(&done.stderr));
            }
            // The library's soname is that of its release; here it lies under its own name.
            std::os::unix::fs::symlink(&library, self.folder.path().join("libhybridrelay.so.0"))?;
        }
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", self.folder.path());
        Ok(command)
    }

    /// Where the Python package is, with what cargo has built of it.
    fn python_package(&self) -> Result<PathBuf> {
        let place = self.folder.path().join("python");
        if !place.exists() {
            std::fs::create_dir(&place)?;
            built::python_package(&place);
        }
        Ok(place)
    }

    /// The newest of the places where cargo puts the library: beside this test, or a folder above.
    fn c_library(&self) -> Result<PathBuf> {
        let program = std::env::current_exe()?;
        let folders = program.ancestors().skip(1).take(2);
        let found = folders.map(|folder| folder.join("libhybridrelay_c.so")).filter(|file| file.exists());
        let newest = found.max_by_key(|file| file.metadata().and_then(|data| data.modified()).ok());
        newest.context("libhybridrelay_c.so was not built; `cargo build -p hybridrelay-ffi-c` does it")
    }
}

/// The root of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
