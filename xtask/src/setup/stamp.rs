//! What is there already is not made again.

use std::path::PathBuf;

use anyhow::Result;
use xshell::Shell;

/// A file that is written last, with all that an installation depends on: if it is as expected, nothing has to be done.
pub(crate) struct Stamp {
    pub(crate) file: PathBuf,
    pub(crate) contents: String,
}

impl Stamp {
    pub(crate) fn is_current(&self, sh: &Shell) -> bool {
        sh.read_file(&self.file).is_ok_and(|contents| contents == self.contents)
    }

    pub(crate) fn write(&self, sh: &Shell) -> Result<()> {
        Ok(sh.write_file(&self.file, &self.contents)?)
    }
}
