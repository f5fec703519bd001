//! The directory in which a development relay keeps its certificate authority and its key.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hybridrelay::env::Env;
use hybridrelay_relay::config_file::Secret;
use hybridrelay_relay::dev_ca::{create_private_directory, write_private};
use nix::fcntl::{Flock, FlockArg};

use crate::failure::{Exit, Failure};

/// The authority's certificate, as [`DevCa`](hybridrelay_relay::dev_ca::DevCa) names it.
pub(crate) const CA_FILE: &str = "ca.pem";

const KEY_FILE: &str = "key";

const LOCK_FILE: &str = "lock";

/// Where the state is if nobody says otherwise: `$XDG_STATE_HOME/hybridrelay`, else `~/.local/state/hybridrelay`.
pub(crate) fn home_directory() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(base.join("hybridrelay"))
}

/// The state directory to use: the one that is given, else systemd's `$STATE_DIRECTORY`, else the one at home.
pub(crate) fn directory(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    // systemd separates several directories with colons; the first is the unit's own.
    let systemd = || env::split_paths(&env::var_os("STATE_DIRECTORY")?).next().filter(|path| path.is_absolute());
    given.or_else(systemd).or_else(home_directory).ok_or_else(|| {
        Failure::usage("there is no home directory to keep the certificate authority in")
            .with_advice("name a directory with --state DIR")
    })
}

/// Makes the directory for its owner alone. One that others use as well is refused rather than closed to them.
pub(crate) fn prepare(directory: &Path) -> Result<PathBuf, Failure> {
    let unusable = |error| Failure::io(format!("{} cannot hold the relay's state", directory.display()), &error);
    if let Ok(found) = fs::metadata(directory)
        && found.permissions().mode() & 0o077 != 0
        && !directory.join(CA_FILE).exists()
        && fs::read_dir(directory).map_err(unusable)?.next().is_some()
    {
        let message = format!("{} is open to others and holds other files", directory.display());
        return Err(Failure::usage(message).with_advice("give a directory of its own with --state DIR"));
    }
    create_private_directory(directory).map_err(unusable)?;
    directory.canonicalize().map_err(unusable)
}

/// Waits until no other process makes the state in this directory, and keeps them from it until dropped: two first starts at once would
/// otherwise each make an authority and a key, of which one is lost.
pub(crate) fn lock(directory: &Path) -> Result<Flock<fs::File>, Failure> {
    let file = directory.join(LOCK_FILE);
    let unusable = |error: io::Error| Failure::io(format!("{} cannot be locked", file.display()), &error);
    let opened = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&file);
    Flock::lock(opened.map_err(unusable)?, FlockArg::LockExclusive).map_err(|(_, error)| unusable(error.into()))
}

/// The certificate of the authority in the state directory at home, if there is one, and where it lies.
pub(crate) fn home_ca() -> Option<(PathBuf, Vec<u8>)> {
    let file = home_directory()?.join(CA_FILE);
    let pem = fs::read(&file).ok()?;
    Some((file, pem))
}

/// The key of the relay's one rule: the given one, else the one that is kept in the directory, else a new one that is kept there.
pub(crate) fn key(env: &Env, directory: &Path, given: Option<String>) -> Result<String, Failure> {
    if let Some(key) = given {
        return Secret::key(key).map(exposed).map_err(|why| Failure::usage(format!("--key {why}")));
    }
    let file = directory.join(KEY_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => Secret::key(text.trim()).map(exposed).map_err(|why| {
            let message = format!("the key in {} {why}", file.display());
            Failure::new(Exit::Failed, "InvalidArgument", message).with_advice("remove the file to get a new key")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = STANDARD.encode(env.random::<32>());
            write_private(&file, &key)?;
            Ok(key)
        }
        Err(error) => Err(Failure::io(format!("{} cannot be read", file.display()), &error)),
    }
}

/// The development relay prints its key.
fn exposed(key: Secret) -> String {
    key.expose().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_use_is_not_closed_to_them() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(directory.path().join("other"), "").unwrap();
        assert_eq!(prepare(directory.path()).unwrap_err().exit(), Exit::Usage);
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o755);
    }

    #[test]
    fn an_empty_directory_becomes_private() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        prepare(directory.path()).unwrap();
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let env = Env::system();
        let first = key(&env, directory.path(), None).unwrap();
        assert_eq!(key(&env, directory.path(), None).unwrap(), first);
        assert_eq!(key(&env, directory.path(), Some("given".into())).unwrap(), "given");
        assert_eq!(key(&env, directory.path(), None).unwrap(), first);
        let mode = fs::metadata(directory.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
