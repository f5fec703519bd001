//! Keys, and where they come from.

use std::fmt;
use std::path::{Path, PathBuf};

use hybridrelay::env::Env;

/// The longest key that clients accept (protocol.md 1.2).
const MAX_KEY: usize = 256;

/// The variable by which systemd tells where a unit's credentials are.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// What is shown instead of a key. It is none: a file with it is refused.
pub(super) const REDACTED: &str = "[redacted]";

/// A key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A key that clients can use: it fits into a connection string.
    ///
    /// # Errors
    ///
    /// What is wrong with it, to be written behind "the key".
    pub fn key(text: impl Into<String>) -> Result<Self, &'static str> {
        let key = text.into();
        if key.is_empty() {
            return Err("is empty");
        }
        if key.len() > MAX_KEY {
            return Err("is longer than 256 characters");
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
            return Err("holds characters that a connection string cannot carry");
        }
        if key == REDACTED {
            return Err("was left out when the file was shown");
        }
        Ok(Self(key))
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// A text of the file that may stand for something outside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// `${env:NAME}`
    Variable(String),
    /// `${file:PATH}`
    File(PathBuf),
    /// `${credential:NAME}`: a file in systemd's `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}

impl Reference {
    /// The reference that a text is; `None` for a plain text.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        if !text.contains("${") {
            return Ok(None);
        }
        let how = || "write ${env:NAME}, ${file:PATH} or ${credential:NAME}, and nothing beside it".to_owned();
        let inner = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).ok_or_else(how)?;
        match inner.split_once(':') {
            Some((_, "")) => Err(how()),
            Some(("env", name)) => Ok(Some(Self::Variable(name.to_owned()))),
            Some(("file", path)) => Ok(Some(Self::File(path.into()))),
            Some(("credential", name)) if !name.contains('/') && name != ".." => {
                Ok(Some(Self::Credential(name.to_owned())))
            }
            _ => Err(how()),
        }
    }

    /// The file that it stands for; `None` for a variable.
    pub(super) fn path(&self, env: &Env, folder: &Path) -> Result<Option<PathBuf>, String> {
        match self {
            Self::Variable(_) => Ok(None),
            Self::File(path) => Ok(Some(folder.join(path))),
            Self::Credential(name) => {
                let directory = credentials(env).ok_or_else(|| format!("{CREDENTIALS} is not set"))?;
                Ok(Some(directory.join(name)))
            }
        }
    }
}

/// Where systemd keeps the unit's credentials.
pub(super) fn credentials(env: &Env) -> Option<PathBuf> {
    env.variable(CREDENTIALS).map(PathBuf::from).filter(|directory| directory.is_absolute())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "${{env:{name}}}"),
            Self::File(path) => write!(f, "${{file:{}}}", path.display()),
            Self::Credential(name) => write!(f, "${{credential:{name}}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_from_plain_texts() {
        assert_eq!(Reference::parse("a$b{c}"), Ok(None));
        for text in ["${env:KEY}", "${file:/run/key}", "${credential:send.key}"] {
            let reference = Reference::parse(text).expect("a reference").expect("a reference");
            assert_eq!(reference.to_string(), text);
        }
        for text in ["${env:}", "x${env:KEY}", "${env:KEY}y", "${vault:KEY}", "${KEY}", "${credential:../key}"] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_does_not_print_itself() {
        let key = Secret::key("top-secret").expect("a key");
        assert_eq!(format!("{key:?}"), "[redacted]");
    }

    #[test]
    fn keys_that_break_a_connection_string_are_refused() {
        for bad in ["", "a;b", "a b", "ü", REDACTED, &"x".repeat(257)] {
            assert!(Secret::key(bad).is_err(), "{bad}");
        }
    }
}
