//! Whether files have changed.
//!
//! They are looked at every few seconds. Notifications of the system would have to be asked for along every link of every path, again
//! after every exchange of one, and do not come from network file systems; what the path leads to in the end, and when that was
//! written, tells of rewriting, renaming and exchanged links alike.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files, and what they were when they were looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Watched(Vec<(PathBuf, Option<Stamp>)>);

/// What changes when a file is written or another takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watched {
    /// Adds a file that is about to be read: what changes after this is noticed.
    pub(super) fn add(&mut self, path: &Path) {
        self.0.push((path.to_owned(), Stamp::of(path)));
    }

    /// The same files as they are now.
    pub(super) fn look(&self) -> Self {
        Self(self.0.iter().map(|(path, _)| (path.clone(), Stamp::of(path))).collect())
    }
}

impl Stamp {
    /// `None` for a file that is not there.
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_way_to_exchange_a_file_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["a", "b"] {
            fs::create_dir(at(name)).expect("a folder");
            fs::write(at(name).join("key"), "same").expect("written");
        }
        symlink("a", at("current")).expect("a link");
        let path = at("current").join("key");
        let mut watched = Watched::default();
        watched.add(&path);
        assert_eq!(watched.look(), watched);

        let mut expect_change = |what: &str| {
            let now = watched.look();
            assert_ne!(now, watched, "{what}");
            watched = now;
        };
        fs::write(&path, "longer").expect("written");
        expect_change("written anew");
        fs::write(at("next"), "longer").expect("written");
        fs::rename(at("next"), &path).expect("renamed");
        expect_change("another renamed to it");
        symlink("b", at("new")).expect("a link");
        fs::rename(at("new"), at("current")).expect("renamed");
        expect_change("a link on the way exchanged");
        fs::remove_file(&path).expect("removed");
        expect_change("removed");
        fs::write(&path, "back").expect("written");
        expect_change("there again");
    }
}
