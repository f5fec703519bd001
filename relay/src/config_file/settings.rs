//! What a configuration file says, before keys and certificates are loaded.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hybridrelay::EntityPath;
use toml::de::DeTable;

use super::limits::{self, Tunables};
use super::namespaces;
use super::problem::{Place, Report};
use super::secret::{Reference, Secret};
use super::table::{At, Table, suggestion};
use crate::endpoint::Endpoint;
use crate::namespace::{AutoCreate, EntitySettings, Rights};

/// What `level` in `[log]` may be.
pub(super) const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// The one version of the format that there is.
const VERSION: u64 = 1;

/// Everything that a file says, with defaults for what it leaves out.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) listen: Vec<Listen>,
    pub(super) admin: Option<Listen>,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) tunables: Tunables,
    pub(super) namespaces: Vec<NamespaceSettings>,
    pub(super) log: LogSettings,
}

/// A socket, and its certificate if it has TLS.
#[derive(Clone, Debug)]
pub(super) struct Listen {
    pub(super) endpoint: Endpoint,
    pub(super) tls: Option<TlsFiles>,
}

/// Certificate and key, as the file names them.
#[derive(Clone, Debug)]
pub(super) struct TlsFiles {
    pub(super) cert: At<FilePath>,
    pub(super) key: At<FilePath>,
}

/// A path, or what stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FilePath {
    Plain(PathBuf),
    By(Reference),
}

#[derive(Debug)]
pub(super) struct NamespaceSettings {
    pub(super) name: String,
    /// All of them, the name included.
    pub(super) hosts: Vec<String>,
    /// `*.` and a domain: hosts that name a hybrid connection by themselves.
    pub(super) entity_hosts: Option<String>,
    /// Whether `GET /` tells what is online.
    pub(super) discovery: bool,
    pub(super) rules: Vec<RuleSettings>,
    pub(super) entities: Vec<EntityTable>,
    pub(super) auto_create: Option<AutoCreate>,
}

#[derive(Debug)]
pub(super) struct RuleSettings {
    pub(super) name: String,
    pub(super) rights: Rights,
    pub(super) primary: At<KeySource>,
    pub(super) secondary: Option<At<KeySource>>,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySource {
    /// It stands in the file.
    Here(Secret),
    By(Reference),
    /// `…_key_file`.
    File(PathBuf),
}

#[derive(Debug)]
pub(super) struct EntityTable {
    pub(super) path: EntityPath,
    pub(super) anonymous: bool,
    pub(super) host: Option<String>,
    pub(super) settings: EntitySettings,
    pub(super) user_metadata: String,
    pub(super) rules: Vec<RuleSettings>,
}

/// `[log]`: what a program that serves by the file should log, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// What to log: a level, or directives such as `warn,hybridrelay_relay=debug`. Default: `info`.
    pub filter: String,
    /// The form of the lines.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::default() }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Parsed {
    /// Reads a text as far as it goes; what is wrong is in the report.
    pub(super) fn read(text: &str, report: &mut Report<'_>) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            report.syntax(Place(error.span().map_or(0, |span| span.start)), error.message());
        }
        let mut top = Table::new("", Place(0), document.get_ref());
        let mut settings = Self::default();
        version(&mut top, report);
        for table in top.tables("listen", "[[listen]]", report) {
            let place = table.place();
            let Some(listen) = listen(table, "url", report) else { continue };
            if listen.endpoint.port() != 0 && settings.listen.iter().any(|known| known.is_at(&listen)) {
                report.error(place, format!("{} is there twice", listen.endpoint), "keep one of them");
            }
            settings.listen.push(listen);
        }
        if settings.listen.is_empty() && top.value("listen").is_none() {
            let advice = "write [[listen]] and url = \"https://0.0.0.0:443\", tls.cert = \"…\", tls.key = \"…\"";
            report.missing(top.place(), "there is no address to listen on", advice);
        }
        if let Some(table) = top.table("admin", "[admin]", report) {
            settings.admin = listen(table, "listen", report);
        }
        if let Some(mut table) = top.table("metrics", "[metrics]", report) {
            let address = table.text("listen", report);
            settings.metrics = metrics(&table, address.as_ref(), report);
            table.finish(report);
        }
        if let Some(table) = top.table("relay", "[relay]", report) {
            relay(table, &mut settings.tunables, report);
        }
        if let Some(table) = top.table("limits", "[limits]", report) {
            limits::read(table, &mut settings.tunables, report);
        }
        if let Some(table) = top.table("log", "[log]", report) {
            settings.log = log(table, report);
        }
        settings.namespaces = namespaces::read(&mut top, report);
        top.finish(report);
        settings
    }
}

fn version(top: &mut Table<'_>, report: &mut Report<'_>) {
    let there = top.value("version").is_some();
    match top.count("version", report) {
        Some(version) if version.value != VERSION => {
            let message = format!("version {} of the format is not known", version.value);
            report.error(version.place, message, "write version = 1");
        }
        None if !there => {
            report.missing(top.place(), "the version of the format is not given", "begin the file with version = 1");
        }
        _ => {}
    }
}

/// Reads `[[listen]]` or `[admin]`, whose address stands under `key`.
fn listen(mut table: Table<'_>, key: &'static str, report: &mut Report<'_>) -> Option<Listen> {
    let there = table.value(key).is_some();
    let endpoint = table.parsed::<Endpoint>(key, report);
    if !there {
        let advice = format!("write {key} = \"https://0.0.0.0:443\"");
        report.missing(table.place(), format!("{} has no {key}", table.name()), advice);
    }
    let (name, place) = (format!("tls of {}", table.name()), table.place());
    let has_tls = table.value("tls").is_some();
    let tls = table.table("tls", &name, report).and_then(|tls| tls_files(tls, report));
    table.finish(report);
    let endpoint = endpoint?;
    match (endpoint.value.is_secure(), has_tls) {
        (true, false) => {
            let message = format!("{} is https and has no certificate", endpoint.value);
            report.missing(place, message, "add tls.cert = \"…\" and tls.key = \"…\", the paths of PEM files");
        }
        (false, true) => {
            let message = format!("{} is http and has a certificate", endpoint.value);
            report.error(endpoint.place, message, "write https, or remove tls.cert and tls.key");
        }
        _ => {}
    }
    Some(Listen { endpoint: endpoint.value, tls })
}

fn tls_files(mut table: Table<'_>, report: &mut Report<'_>) -> Option<TlsFiles> {
    let mut file = |key: &'static str, what: &str, report: &mut Report<'_>| {
        if table.value(key).is_none() {
            let message = format!("{} has no {key}", table.name());
            report.missing(table.place(), message, format!("add tls.{key} = \"…\", the path of the {what} in PEM"));
        }
        let text = table.text(key, report)?;
        match Reference::parse(text.value) {
            Ok(None) if text.value.is_empty() => {
                report.error(text.place, format!("{key} is empty"), format!("write the path of the {what} in PEM"));
                None
            }
            Ok(None) => Some(At { value: FilePath::Plain(text.value.into()), place: text.place }),
            Ok(Some(reference)) => Some(At { value: FilePath::By(reference), place: text.place }),
            Err(how) => {
                report.error(text.place, format!("{key} cannot be {:?}", text.value), how);
                None
            }
        }
    };
    let (cert, key) = (file("cert", "certificate chain", report), file("key", "private key", report));
    table.finish(report);
    Some(TlsFiles { cert: cert?, key: key? })
}

/// An IP address with its port, with or without `http://`.
fn metrics(table: &Table<'_>, address: Option<&At<&str>>, report: &mut Report<'_>) -> Option<SocketAddr> {
    let Some(text) = address else {
        report.missing(table.place(), "[metrics] has no listen", "write listen = \"127.0.0.1:9090\"");
        return None;
    };
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        let message = format!("listen in [metrics] cannot be {:?}", text.value);
        report.error(text.place, message, "write an IP address and a port, such as \"127.0.0.1:9090\"");
    }
    parsed
}

fn relay(mut table: Table<'_>, tunables: &mut Tunables, report: &mut Report<'_>) {
    let config = &mut tunables.config;
    if let Some(url) = table.text("public_url", report) {
        let parsed = url.value.parse::<http::Uri>().ok();
        let usable = |url: &http::Uri| matches!(url.scheme_str(), Some("https" | "http")) && url.host().is_some();
        config.public_url = parsed.filter(usable);
        if config.public_url.is_none() {
            let advice = "write https://host or https://host:port, by which listeners reach this relay";
            report.error(url.place, format!("public_url cannot be {:?}", url.value), advice);
        }
    }
    config.trusted_proxies = table.addresses("trusted_proxies", report).unwrap_or_default();
    config.strict_dotnet_errors = table.flag("strict_dotnet_errors", report).unwrap_or_default();
    if let Some(text) = table.text("max_token_life", report) {
        match crate::units::parse_duration(text.value) {
            Ok(life) => config.max_token_life = Some(life),
            Err(how) => report.error(text.place, format!("max_token_life cannot be {:?}", text.value), how),
        }
    }
    table.finish(report);
}

fn log(mut table: Table<'_>, report: &mut Report<'_>) -> LogSettings {
    const FORMATS: [&str; 2] = ["text", "json"];
    let level = table.text("level", report);
    let filter = table.text("filter", report);
    if let Some(level) = level.as_ref().filter(|level| !LEVELS.contains(&level.value)) {
        report.error(level.place, format!("level cannot be {:?}", level.value), suggestion(level.value, &LEVELS));
    }
    if let (Some(_), Some(filter)) = (&level, &filter) {
        report.error(filter.place, "[log] has a level and a filter", "keep one of the two");
    }
    let format = match table.text("format", report) {
        None => LogFormat::Text,
        Some(format) => match format.value {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => {
                report.error(format.place, format!("format cannot be {other:?}"), suggestion(other, &FORMATS));
                LogFormat::Text
            }
        },
    };
    table.finish(report);
    let filter = filter.or(level).map_or_else(|| LogSettings::default().filter, |text| text.value.to_owned());
    LogSettings { filter, format }
}

impl FilePath {
    /// As the file writes it.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Plain(path) => path.display().to_string(),
            Self::By(reference) => reference.to_string(),
        }
    }
}

impl Listen {
    /// Where it would listen by another file: the same place if only its certificate differs.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
    }
}

/// The folder that the paths of a file are relative to.
pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new(""))
}
