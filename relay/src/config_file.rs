//! The configuration file: reading and checking it, serving by it, and reading it again while the relay runs (feature `config-file`).
//!
//! The format is TOML; [`EXAMPLE`] shows all of it, `docs/limits.md` the keys of `[limits]`. Everything that is wrong with a file is
//! found in one go and told with its line, its column and what to do: see [`Problem`].
//!
//! ```no_run
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! use hybridrelay::env::Env;
//! use hybridrelay_relay::config_file::ConfigFile;
//!
//! let file = ConfigFile::load(&Env::system(), "relay.toml".as_ref())?;
//! let mut relay = file.start(&Env::system()).await?;
//! loop {
//!     relay.files_changed().await;
//!     match relay.reload_files().await {
//!         Ok(applied) => println!("{} warnings", applied.warnings.len()),
//!         Err(problems) => eprintln!("the relay goes on as before:\n{problems}"),
//!     }
//! }
//! # }
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hybridrelay::env::Env;

use crate::config::Config;

mod certificate;
mod entity;
mod http;
mod limits;
mod load;
mod namespaces;
mod problem;
mod running;
mod secret;
mod settings;
mod show;
mod table;
#[cfg(test)]
mod tests;
mod watched;

use load::Loaded;
use problem::Report;
pub use problem::{Problem, Problems, Severity};
pub use running::{FileRelay, Reloaded};
pub use secret::Secret;
use settings::Parsed;
pub use settings::{LogFormat, LogSettings};

/// A file with every section and comments. It can be used once the keys and certificates that it names are there.
pub const EXAMPLE: &str = include_str!("config_file/example.toml");

/// What a configuration file says, with defaults for what it leaves out. Keys and certificates are not loaded.
pub struct Settings(Parsed);

/// A configuration file that can be served by: it was read and checked, its keys and certificates are loaded. `Debug` shows none of
/// them.
pub struct ConfigFile {
    source: Source,
    settings: Parsed,
    loaded: Loaded,
    warnings: Vec<Problem>,
}

/// The text of a file.
#[derive(Clone)]
struct Source {
    path: PathBuf,
    text: String,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it. Of keys and certificates only how they are named is looked at.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let source = Source::read(path)?;
        let mut report = source.report();
        let settings = Parsed::read(&source.text, &mut report);
        report.finish().map(|_| Self(settings))
    }

    /// The same as a file in which every default is written out. Keys that stand in the file are `"[redacted]"`; where others come
    /// from is told.
    pub fn to_toml(&self) -> String {
        show::to_toml(&self.0)
    }
}

impl ConfigFile {
    /// Reads and checks a file, and loads what it names. Blocks while it reads files.
    ///
    /// Paths are relative to the file's folder; `${env:…}` comes from `env`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn load(env: &Env, path: &Path) -> Result<Self, Problems> {
        Source::read(path)?.load(env)
    }

    /// What is not wrong, but perhaps not as it was meant.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// What to log.
    pub fn log(&self) -> &LogSettings {
        &self.settings.log
    }

    /// Limits, timings and the rest.
    pub fn config(&self) -> &Config {
        &self.settings.tunables.config
    }

    /// How long open connections may go on when the relay ends: `drain`, 30 s.
    pub fn drain(&self) -> Duration {
        self.settings.tunables.drain
    }

    /// How many addresses the relay listens on, and how many namespaces it serves.
    pub fn counts(&self) -> (usize, usize) {
        (self.settings.listen.len(), self.settings.namespaces.len())
    }
}

impl Source {
    fn read(path: &Path) -> Result<Self, Problems> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { path: path.to_owned(), text }),
            Err(error) => Err(Problems(vec![Problem {
                severity: Severity::Error,
                file: path.to_owned(),
                line: 0,
                column: 0,
                message: format!("the file cannot be read: {error}"),
                advice: None,
            }])),
        }
    }

    fn report(&self) -> Report<'_> {
        Report::new(&self.path, &self.text)
    }

    /// Loads what the text names, which may have changed since the last time.
    fn load(self, env: &Env) -> Result<ConfigFile, Problems> {
        let mut report = self.report();
        let settings = Parsed::read(&self.text, &mut report);
        let loaded = load::load(&settings, env, &self.path, &mut report);
        let warnings = report.finish()?;
        Ok(ConfigFile { settings, loaded, warnings, source: self })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settings")
    }
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigFile").field("path", &self.source.path).finish_non_exhaustive()
    }
}
