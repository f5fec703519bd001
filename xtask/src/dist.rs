//! `cargo xtask dist`: what is handed to users, as they install it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use xshell::Shell;

mod c;
mod licences;
mod python;

/// What everything is built with: see the workspace's manifest.
const PROFILE: &str = "dist";

#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The C library as a prefix to install from: headers, shared and static library, pkg-config, CMake, licences.
    C {
        /// Where it goes; what is there already stays. Default: target/dist/c of the workspace.
        #[arg(long, value_name = "DIR")]
        prefix: Option<PathBuf>,
        /// Take the libraries that cargo has put there, whatever their profile, and build none. They are not measured.
        #[arg(long, value_name = "DIR")]
        artefacts: Option<PathBuf>,
    },
    /// The wheel of the Python package, for this machine's architecture, built and tried where nothing else is.
    Python,
}

pub(crate) fn run(sh: &Shell, options: &Options) -> Result<()> {
    match &options.what {
        What::C { prefix, artefacts } => {
            let prefix = match prefix {
                Some(prefix) => std::path::absolute(prefix)?,
                None => sh.current_dir().join("target/dist/c"),
            };
            let artefacts = artefacts.as_ref().map(std::path::absolute).transpose()?;
            c::run(sh, &prefix, artefacts.as_deref())
        }
        What::Python => python::run(sh),
    }
}

/// The same for tasks that need the C library installed: from what cargo has built, to a prefix. Both paths are absolute.
pub(crate) fn install_c(sh: &Shell, prefix: &Path, artefacts: &Path) -> Result<()> {
    c::run(sh, prefix, Some(artefacts))
}
