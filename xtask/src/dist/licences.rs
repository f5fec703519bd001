//! The licences of what is handed out: the project's own, and those of everything that is inside.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Shell, cmd};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: String,
    /// `None` for crates of the workspace.
    source: Option<String>,
}

/// What the texts are called that a crate brings.
const TEXTS: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// Writes the licences of a crate of the workspace and of what is linked into it.
pub(super) fn install(sh: &Shell, package: &str, folder: &Path) -> Result<()> {
    sh.create_dir(folder)?;
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        sh.copy_file(name, folder.join(name))?;
    }
    sh.write_file(folder.join("THIRD-PARTY-LICENCES"), third_party(sh, package)?)?;
    Ok(())
}

fn third_party(sh: &Shell, package: &str) -> Result<String> {
    let metadata = cmd!(sh, "cargo metadata --format-version 1 --locked --all-features").quiet().read()?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo's metadata")?;
    let tree = cmd!(sh, "cargo tree --locked --package {package} --edges normal --prefix none");
    let tree = tree.quiet().read()?;
    let linked: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();
    let mut all = String::from("libhybridrelay holds parts of these programs, under the licences that follow.\n");
    let is_linked = |package: &&Package| linked.contains(&(package.name.as_str(), package.version.as_str()));
    for package in metadata.packages.iter().filter(is_linked).filter(|package| package.source.is_some()) {
        let licence = package.license.as_deref().unwrap_or("see below");
        write!(all, "\n==== {} {}: {licence}\n", package.name, package.version)?;
        let home = Path::new(&package.manifest_path).parent().context("a manifest lies in a folder")?;
        for text in texts(sh, home)? {
            write!(all, "\n{}\n", text.trim_end())?;
        }
    }
    Ok(all)
}

fn texts(sh: &Shell, folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for path in sh.read_dir(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_file() && TEXTS.iter().any(|text| name.starts_with(text)) {
            texts.push(sh.read_file(path)?);
        }
    }
    Ok(texts)
}
