//! From what the file says to what the relay works with: keys and certificates are read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hybridrelay::env::Env;
use rustls::sign::CertifiedKey;

use super::certificate::{self, Part, unreadable};
use super::problem::{Place, Report};
use super::secret::{Reference, Secret, credentials};
use super::settings::{FilePath, KeySource, Listen, NamespaceSettings, Parsed, RuleSettings, TlsFiles, folder_of};
use super::table::At;
use super::watched::Watched;
use crate::namespace::{Entity, Namespace, Rule};

/// A key file that is longer than this is another kind of file.
const LONGEST_KEY_FILE: u64 = 64 << 10;

/// What the file's references led to.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) namespaces: Vec<Namespace>,
    /// For each address, in their order.
    pub(super) certificates: Vec<Option<Arc<CertifiedKey>>>,
    pub(super) admin: Option<Arc<CertifiedKey>>,
    /// The files that were read.
    pub(super) watched: Watched,
}

/// Loads everything; what cannot be is in the report, and left out.
pub(super) fn load(parsed: &Parsed, env: &Env, file: &Path, report: &mut Report<'_>) -> Loaded {
    let mut loader = Loader { env, file, report, watched: Watched::default() };
    let certificates = parsed.listen.iter().map(|listen| loader.certificate(listen)).collect();
    let admin = parsed.admin.as_ref().and_then(|admin| loader.certificate(admin));
    let namespaces = parsed.namespaces.iter().map(|namespace| loader.namespace(namespace)).collect();
    loader.check_own_permissions(parsed);
    Loaded { namespaces, certificates, admin, watched: loader.watched }
}

struct Loader<'l, 'r> {
    env: &'l Env,
    file: &'l Path,
    report: &'l mut Report<'r>,
    watched: Watched,
}

impl Loader<'_, '_> {
    fn certificate(&mut self, listen: &Listen) -> Option<Arc<CertifiedKey>> {
        let TlsFiles { cert, key } = listen.tls.as_ref()?;
        let (cert_path, key_path) = (self.path(cert), self.path(key));
        let (cert_path, key_path) = (cert_path?, key_path?);
        self.watched.add(&cert_path);
        self.watched.add(&key_path);
        self.check_permissions(&key_path, key.place);
        match certificate::load(&cert_path, &key_path) {
            Ok(certificate) => {
                self.check_validity(&certificate, &cert_path, cert.place);
                Some(Arc::new(certificate))
            }
            Err(unusable) => {
                for unusable in unusable {
                    let place = if unusable.file == Part::Certificate { cert.place } else { key.place };
                    self.report.error(place, unusable.message, unusable.advice);
                }
                None
            }
        }
    }

    fn path(&mut self, path: &At<FilePath>) -> Option<PathBuf> {
        let folder = folder_of(self.file);
        match &path.value {
            FilePath::Plain(plain) => Some(folder.join(plain)),
            FilePath::By(Reference::Variable(name)) => Some(folder.join(self.variable(name, path.place)?)),
            FilePath::By(reference) => self.path_of(reference, path.place),
        }
    }

    fn path_of(&mut self, reference: &Reference, place: Place) -> Option<PathBuf> {
        match reference.path(self.env, folder_of(self.file)) {
            Ok(path) => path,
            Err(why) => {
                let advice = "start the relay by a systemd unit with LoadCredential=, or name a file";
                self.report.error(place, format!("{reference} leads nowhere: {why}"), advice);
                None
            }
        }
    }

    fn variable(&mut self, name: &str, place: Place) -> Option<String> {
        let value = self.env.variable(name);
        if value.is_none() {
            let message = format!("the environment variable {name} is not set");
            self.report.error(place, message, format!("set {name}, or name a file"));
        }
        value
    }

    fn namespace(&mut self, settings: &NamespaceSettings) -> Namespace {
        let mut namespace = Namespace::new(&settings.name).with_hosts(&settings.hosts);
        namespace.rules = self.rules(&settings.rules);
        namespace.auto_create = settings.auto_create.clone();
        namespace.entity_hosts.clone_from(&settings.entity_hosts);
        namespace.discovery = settings.discovery;
        for settings in &settings.entities {
            let mut entity = Entity::new(settings.path.clone());
            entity.requires_client_authorization = !settings.anonymous;
            entity.host.clone_from(&settings.host);
            entity.settings.clone_from(&settings.settings);
            entity.user_metadata.clone_from(&settings.user_metadata);
            entity.rules = self.rules(&settings.rules);
            namespace.insert(entity);
        }
        namespace
    }

    fn rules(&mut self, settings: &[RuleSettings]) -> Vec<Rule> {
        let rules = settings.iter().filter_map(|settings| {
            let primary = self.key(&settings.primary);
            let secondary = settings.secondary.as_ref().map(|secondary| self.key(secondary));
            let rule = Rule::new(&settings.name, settings.rights, primary?.expose());
            Some(match secondary {
                Some(secondary) => rule.with_secondary_key(secondary?.expose()),
                None => rule,
            })
        });
        rules.collect()
    }

    fn key(&mut self, source: &At<KeySource>) -> Option<Secret> {
        let place = source.place;
        let (text, origin) = match &source.value {
            KeySource::Here(key) => return Some(key.clone()),
            KeySource::By(Reference::Variable(name)) => {
                (self.variable(name, place)?, format!("the environment variable {name}"))
            }
            KeySource::By(reference) => {
                let path = self.path_of(reference, place)?;
                (self.key_file(&path, place)?, path.display().to_string())
            }
            KeySource::File(path) => {
                let path = folder_of(self.file).join(path);
                (self.key_file(&path, place)?, path.display().to_string())
            }
        };
        match Secret::key(text.trim()) {
            Ok(key) => Some(key),
            Err(why) => {
                let advice = "a key has 1 to 256 visible ASCII characters without semicolons";
                self.report.error(place, format!("the key from {origin} {why}"), advice);
                None
            }
        }
    }

    /// The text of a key file; a newline at its end does no harm.
    fn key_file(&mut self, path: &Path, place: Place) -> Option<String> {
        self.watched.add(path);
        let advice = "make the file and put the key into it, or name another";
        let too_long = fs::metadata(path).is_ok_and(|found| found.len() > LONGEST_KEY_FILE);
        if too_long {
            self.report.error(place, format!("{} is too long to be a key", path.display()), advice);
            return None;
        }
        match fs::read_to_string(path) {
            Ok(text) => {
                self.check_permissions(path, place);
                Some(text)
            }
            Err(error) => {
                self.report.error(place, unreadable(path, &error), advice);
                None
            }
        }
    }

    fn check_permissions(&mut self, path: &Path, place: Place) {
        // systemd gives its credentials to one user by an access list, which looks like a right of the group.
        let is_credential = credentials(self.env).is_some_and(|directory| path.starts_with(directory));
        if is_open_to_others(path) && !is_credential {
            let message = format!("{} can be read by others than its owner", path.display());
            self.report.warning(place, message, format!("run chmod 600 {}", path.display()));
        }
    }

    /// A file that holds keys is a secret itself.
    fn check_own_permissions(&mut self, parsed: &Parsed) {
        let rules = parsed.namespaces.iter().flat_map(|namespace| {
            namespace.rules.iter().chain(namespace.entities.iter().flat_map(|entity| &entity.rules))
        });
        let mut keys = rules.flat_map(|rule| [Some(&rule.primary), rule.secondary.as_ref()]).flatten();
        let here = keys.find(|key| matches!(key.value, KeySource::Here(_)));
        if let Some(place) = here.map(|key| key.place)
            && is_open_to_others(self.file)
        {
            let message = "this file holds a key and can be read by others than its owner";
            self.report.warning(
                place,
                message,
                format!("keep the key elsewhere, or run chmod 600 {}", self.file.display()),
            );
        }
    }

    fn check_validity(&mut self, certificate: &CertifiedKey, path: &Path, place: Place) {
        let Some((from, to)) = certificate::validity(certificate) else { return };
        let now = self.env.wall_clock();
        let date = |time| httpdate::fmt_http_date(time);
        let path = path.display();
        if now > to {
            let message = format!("the certificate in {path} has expired: {}", date(to));
            self.report.warning(place, message, "renew it; clients refuse it");
        } else if now < from {
            let message = format!("the certificate in {path} is not valid before {}", date(from));
            self.report.warning(place, message, "look at this machine's clock");
        }
    }
}

fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
}
