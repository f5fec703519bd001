//! The files of the repository, without what is generated.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files that no commit holds.
const NOT_OURS: [&str; 7] = [".git", "target", "node_modules", ".venv", "__pycache__", "artifacts", "coverage"];

/// A file and what is in it.
pub(crate) struct File {
    /// Relative to the root, with slashes.
    pub(crate) path: String,
    /// Bytes that are no UTF-8 are replaced: nothing that is looked for has any.
    pub(crate) text: String,
}

impl File {
    /// Whether the name ends in one of these, given without dot.
    pub(crate) fn is_one_of(&self, extensions: &[&str]) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
    }

    /// The lines with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the repository").to_owned()
}

/// One file, by its path from the root.
pub(crate) fn read(path: &str) -> File {
    let bytes = fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    File { path: path.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() }
}

/// Every file, in the order of the paths.
pub(crate) fn all() -> Vec<File> {
    let root = root();
    let mut paths = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                continue;
            }
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                paths.push(entry.path().strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/"));
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}
