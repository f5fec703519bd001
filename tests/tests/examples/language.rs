//! In which languages an idea is told, and how its program is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use hybridrelay_tests::built;
use tempfile::TempDir;
use tokio::process::Command;

/// A language of the examples. One more is a variant here, its name and file, and how it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    C,
    Python,
    Shell,
}

impl Language {
    pub(crate) const ALL: [Self; 4] = [Self::Rust, Self::C, Self::Python, Self::Shell];

    /// The file of an idea in this language.
    pub(crate) fn file(self, idea: &str) -> PathBuf {
        let name = match self {
            Self::Rust => format!("{idea}.rs"),
            Self::C => format!("{idea}.c"),
            // A script of its own name would stand before the module `token` of the standard library.
            Self::Python if idea == "token" => "token-example.py".to_owned(),
            Self::Python => format!("{idea}.py"),
            Self::Shell => format!("{idea}.sh"),
        };
        folder().join(idea).join(name)
    }

    /// Those in which an idea is told.
    pub(crate) fn of(idea: &str) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |language| language.file(idea).exists())
    }
}

/// The folder of all examples.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// A program of an idea, ready to be started any number of times.
pub(crate) struct Example {
    pub(crate) language: Language,
    path: PathBuf,
    /// Where a compiled program and what it is linked to lie, or the package that a script uses.
    built: Option<TempDir>,
}

impl Example {
    /// Compiles what needs to be.
    pub(crate) async fn new(idea: &str, language: Language) -> Self {
        let source = language.file(idea);
        match language {
            Language::Rust => Self { language, path: built::example(idea), built: None },
            Language::Shell => Self { language, path: source, built: None },
            Language::Python => {
                let folder = tempfile::tempdir().expect("a folder");
                built::python_package(folder.path());
                Self { language, path: source, built: Some(folder) }
            }
            Language::C => {
                let folder = tempfile::tempdir().expect("a folder");
                let path = folder.path().join(idea);
                compile(&source, &path).await;
                Self { language, path, built: Some(folder) }
            }
        }
    }

    /// The program with this connection string, and nothing else of this process's surroundings.
    pub(crate) fn command(&self, connection_string: &str) -> Command {
        let mut command = match self.language {
            Language::Python => Command::new(built::python()),
            _ => Command::new(&self.path),
        };
        if self.language == Language::Python {
            // Warnings are errors there, resources that nobody closed included.
            command.args(["-X", "dev", "-W", "error"]).arg(&self.path);
        }
        command.env_clear().env("PATH", built::search_path()).env("HYBRIDRELAY_CONNECTION_STRING", connection_string);
        if let Some(folder) = &self.built {
            command.env("LD_LIBRARY_PATH", folder.path()).env("PYTHONPATH", folder.path());
        }
        command
    }
}

/// As the first comment of each file says, and with every warning an error.
async fn compile(source: &Path, program: &Path) {
    let beside = program.parent().expect("it lies in a folder");
    // The library's names when it is installed: the linker's and the loader's.
    for name in ["libhybridrelay.so", "libhybridrelay.so.0"] {
        std::os::unix::fs::symlink(built::c_library(), beside.join(name)).expect("a link");
    }
    let mut cc = Command::new("cc");
    // What is not freed, or freed twice, is found by the sanitizers.
    cc.args(["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"])
        .args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-D_POSIX_C_SOURCE=200809L", "-I"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ffi-c/include"))
        .arg(source)
        .arg("-L")
        .arg(beside)
        .args(["-lhybridrelay", "-lpthread", "-o"])
        .arg(program)
        .stdin(Stdio::null());
    let output = cc.output().await.expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The names of all ideas.
pub(crate) fn ideas() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("the examples").map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.file_type().expect("a type").is_dir());
    let mut names: Vec<_> = folders.map(|folder| folder.file_name().into_string().expect("a plain name")).collect();
    names.sort();
    names
}
