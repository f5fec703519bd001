//! Which relay a command talks to, with which credential, and whom it trusts.

use std::env;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hybridrelay::{
    ConnectionString, EntityPath, Listener, ListenerBuilder, Namespace, NamespaceBuilder, Proxy, RelayAddress, Sender,
    SenderBuilder, Target,
};
use hybridrelay_relay::units::parse_duration;

use crate::destination::nothing_named;
use crate::failure::{Failure, Place};
use crate::state;

const CONNECTION_STRING: &str = "HYBRIDRELAY_CONNECTION_STRING";
const CONNECTION_STRING_FILE: &str = "HYBRIDRELAY_CONNECTION_STRING_FILE";
const EXTRA_CA: &str = "HYBRIDRELAY_EXTRA_CA";

/// Where the relay is and the key. Not `Debug`: it holds secrets.
#[derive(Args)]
#[command(next_help_heading = "Relay")]
pub(crate) struct TargetArguments {
    /// Connection string of the relay, or an address such as sb://host/ to go without a key
    ///
    /// Default: the environment variable HYBRIDRELAY_CONNECTION_STRING, or the file that HYBRIDRELAY_CONNECTION_STRING_FILE names.
    /// Prefer these: other users of this machine can read command lines.
    #[arg(long, value_name = "CS", conflicts_with = "connection_string_file")]
    connection_string: Option<String>,

    /// File that holds the connection string
    #[arg(long, value_name = "FILE")]
    connection_string_file: Option<PathBuf>,
}

/// How to get there.
#[derive(Args)]
#[command(next_help_heading = "Relay")]
pub(crate) struct RelayArguments {
    #[command(flatten)]
    target: TargetArguments,

    /// Trust the certificates in this PEM file beside the system's [repeatable]
    ///
    /// For a relay on this machine (localhost or a loopback address) the certificate authority that 'hybridrelay serve --dev' keeps in
    /// ~/.local/state/hybridrelay is trusted without this option. Default: the file that HYBRIDRELAY_EXTRA_CA names.
    #[arg(long, value_name = "FILE")]
    extra_ca: Vec<PathBuf>,

    /// Add a header to the handshakes and requests that go to the relay, such as 'X-Team: blue' [repeatable]
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,

    /// Go through this proxy: [http|https|socks5|socks5h]://[user:password@]host:port, or 'none'
    ///
    /// Default: as the environment variables https_proxy, all_proxy and no_proxy say. Prefer these for a proxy with a password: other
    /// users of this machine can read command lines.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,

    /// Give up connecting after this time [default: the connection string's OperationTimeout, or 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    connect_timeout: Option<Duration>,

    /// Accept any certificate of the relay: who sits in between can read and change everything
    #[arg(long)]
    insecure_skip_verify: bool,

    /// Go without TLS also to public hosts: tokens and data travel readable
    #[arg(long)]
    insecure_plaintext: bool,
}

/// What both ends of a WebSocket agree on.
#[derive(Args)]
#[command(next_help_heading = "Relay")]
pub(crate) struct SubprotocolArguments {
    /// Offer or take this WebSocket sub-protocol [repeatable]
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,
}

/// A relay and the credential for it.
pub(crate) struct Relay {
    address: RelayAddress,
    connection_string: Option<ConnectionString>,
}

/// A relay and how to get there.
pub(crate) struct Route {
    pub(crate) relay: Relay,
    extra_ca_pem: Vec<Vec<u8>>,
    /// Where the first of these certificates lies, for other programs.
    pub(crate) ca_file: Option<PathBuf>,
    /// Where the connection string was read from, if that was named on the command line.
    pub(crate) connection_string_file: Option<PathBuf>,
    headers: Vec<(String, String)>,
    proxy: Proxy,
    connect_timeout: Option<Duration>,
    pub(crate) insecure_skip_verify: bool,
    insecure_plaintext: bool,
}

impl TargetArguments {
    /// The relay that the options name, else the environment; `None` if neither does.
    pub(crate) fn find(&self) -> Result<Option<Relay>, Failure> {
        if let Some(text) = &self.connection_string {
            return Relay::parse(text, "--connection-string").map(Some);
        }
        if let Some(file) = &self.connection_string_file {
            return Relay::read(file).map(Some);
        }
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        if let Some(text) = set(CONNECTION_STRING) {
            return Relay::parse(&text.to_string_lossy(), CONNECTION_STRING).map(Some);
        }
        set(CONNECTION_STRING_FILE).map(|file| Relay::read(Path::new(&file))).transpose()
    }
}

impl RelayArguments {
    /// The way to a relay, and the hybrid connection: the one that is named, else the connection string's.
    pub(crate) fn resolve_for(&self, entity: Option<&str>) -> Result<(Route, EntityPath), Failure> {
        if let Some(entity) = entity {
            refuse_connection_string(entity)?;
        }
        let route = self.resolve()?;
        let entity = match (entity, route.relay.address().entity()) {
            (Some(name), _) => name.parse()?,
            (None, Some(own)) => own.clone(),
            (None, None) => return Err(nothing_named().into()),
        };
        Ok((route, entity))
    }

    pub(crate) fn resolve(&self) -> Result<Route, Failure> {
        let relay = self.target.find()?.ok_or_else(|| {
            Failure::usage("no relay is named").with_advice(format!(
                "set {CONNECTION_STRING} to a connection string ('hybridrelay serve --dev' prints one), or see --connection-string-file"
            ))
        })?;
        let proxy = match self.proxy.as_deref() {
            None => Proxy::environment(),
            Some("none") => Proxy::none(),
            Some(url) => Proxy::url(url)?,
        };
        let (extra_ca_pem, ca_file) = self.trusted(&relay)?;
        let headers = self.header.iter().map(|text| parse_header(text)).collect::<Result<_, _>>()?;
        Ok(Route {
            extra_ca_pem,
            ca_file,
            connection_string_file: self.target.connection_string_file.clone(),
            headers,
            proxy,
            connect_timeout: self.connect_timeout,
            insecure_skip_verify: self.insecure_skip_verify,
            insecure_plaintext: self.insecure_plaintext,
            relay,
        })
    }

    /// The certificates to trust beside the system's, and where the first of them lies.
    fn trusted(&self, relay: &Relay) -> Result<(Vec<Vec<u8>>, Option<PathBuf>), Failure> {
        let named = env::var_os(EXTRA_CA).filter(|file| !file.is_empty()).map(PathBuf::from);
        let files = if self.extra_ca.is_empty() { Vec::from_iter(named) } else { self.extra_ca.clone() };
        if files.is_empty() {
            let own = if relay.is_local() && !relay.address.is_plaintext() { state::home_ca() } else { None };
            return Ok(own.map_or_else(Default::default, |(file, pem)| (vec![pem], Some(file))));
        }
        let read = |file: &PathBuf| {
            fs::read(file).map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))
        };
        Ok((files.iter().map(read).collect::<Result<_, _>>()?, files.first().cloned()))
    }
}

impl Relay {
    fn parse(text: &str, origin: &str) -> Result<Self, Failure> {
        let text = text.trim();
        let blame = |error: hybridrelay::Error| {
            let failure = Failure::usage(format!("{origin}: {error}"));
            match error.hint() {
                Some(hint) => failure.with_advice(hint),
                None => failure,
            }
        };
        // The same rule by which the library tells an address from a connection string.
        if text.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphabetic())) {
            return Ok(Self { address: text.parse().map_err(blame)?, connection_string: None });
        }
        let parsed: ConnectionString = text.parse().map_err(blame)?;
        Ok(Self { address: parsed.address().map_err(blame)?, connection_string: Some(parsed) })
    }

    fn read(file: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(file).map_err(|error| {
            Failure::usage(format!("the connection string cannot be read from {}: {error}", file.display()))
        })?;
        Self::parse(&text, &file.display().to_string())
    }

    pub(crate) fn address(&self) -> &RelayAddress {
        &self.address
    }

    /// The rule's name and key, if the credential is a key.
    pub(crate) fn key(&self) -> Option<(&str, &str)> {
        let connection_string = self.connection_string.as_ref()?;
        Some((connection_string.key_name()?, connection_string.key()?))
    }

    /// Whether the relay is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let host = self.address.host();
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    fn target(&self) -> Target {
        match &self.connection_string {
            Some(connection_string) => connection_string.into(),
            None => self.address.clone().into(),
        }
    }
}

/// Calls the setters that all builders have.
macro_rules! with_route {
    ($builder:expr, $route:expr) => {{
        let mut builder = $builder
            .proxy($route.proxy.clone())
            .insecure_skip_verify($route.insecure_skip_verify)
            .insecure_plaintext($route.insecure_plaintext);
        for pem in &$route.extra_ca_pem {
            builder = builder.extra_ca_pem(pem.clone());
        }
        for (name, value) in &$route.headers {
            builder = builder.header(name, value);
        }
        if let Some(limit) = $route.connect_timeout {
            builder = builder.connect_timeout(limit);
        }
        builder
    }};
}

impl Route {
    pub(crate) fn listener(&self, entity: &EntityPath) -> ListenerBuilder {
        with_route!(Listener::builder(self.relay.target()).entity(entity.as_str()), self)
    }

    pub(crate) fn sender(&self, entity: &EntityPath) -> SenderBuilder {
        with_route!(Sender::builder(self.relay.target()).entity(entity.as_str()), self)
    }

    /// The namespace as a whole.
    pub(crate) fn namespace(&self) -> NamespaceBuilder {
        with_route!(Namespace::builder(self.relay.target()), self)
    }

    /// A sender without a token.
    pub(crate) fn stranger(&self, entity: &EntityPath) -> SenderBuilder {
        with_route!(Sender::builder(self.relay.address.clone()).entity(entity.as_str()), self)
    }

    /// Host and port of the relay.
    pub(crate) fn authority(&self) -> String {
        self.relay.address.authority()
    }

    /// Names the place of a failure.
    pub(crate) fn failure(&self, error: hybridrelay::Error, entity: &EntityPath, sender: bool) -> Failure {
        let authority = self.authority();
        let place = Place { entity: entity.as_str(), authority: &authority, local: self.relay.is_local(), sender };
        Failure::relay(error, &place)
    }
}

/// Refuses a connection string where the name of a hybrid connection is expected, without showing it.
pub(crate) fn refuse_connection_string(entity: &str) -> Result<(), Failure> {
    let lower = entity.to_ascii_lowercase();
    if lower.contains("endpoint=") || lower.contains("sharedaccess") {
        let advice = format!("set {CONNECTION_STRING} to it, and name the hybrid connection here");
        return Err(Failure::usage("ENTITY is a connection string").with_advice(advice));
    }
    Ok(())
}

fn parse_header(text: &str) -> Result<(String, String), Failure> {
    // The text is not shown: it may hold a credential.
    let (name, value) = text.split_once(':').ok_or_else(|| Failure::usage("--header is written 'Name: value'"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
