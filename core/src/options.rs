//! What listeners and senders are built from: where, with which credential, and the options both share.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::address::{EntityPath, RelayAddress};
use crate::connection::ConnectionSettings;
use crate::connection_string::ConnectionString;
use crate::dial::{ClientTls, Dialer, Proxy};
use crate::env::Env;
use crate::link::WebSocketSettings;
use crate::token::TokenProvider;
use crate::{Error, Result};

/// The environment variable that is read where a program names no target.
const CONNECTION_STRING: &str = "HYBRIDRELAY_CONNECTION_STRING";

/// The environment variable that names a file holding the connection string.
const CONNECTION_STRING_FILE: &str = "HYBRIDRELAY_CONNECTION_STRING_FILE";

/// Where a listener or sender goes and with which credential: made from a connection string, a [`ConnectionString`], a
/// [`RelayAddress`] or an address such as `sb://relay.example.net/hyco`.
///
/// A text that is not usable is reported by the call that needs it (`open`, `connect`).
#[derive(Clone, Debug)]
pub struct Target(Result<(RelayAddress, Option<TokenProvider>, Option<Duration>)>);

impl Target {
    /// The connection string in `HYBRIDRELAY_CONNECTION_STRING`, or in the file that `HYBRIDRELAY_CONNECTION_STRING_FILE` names.
    pub fn from_environment() -> Self {
        if let Ok(text) = std::env::var(CONNECTION_STRING) {
            return text.into();
        }
        match std::env::var_os(CONNECTION_STRING_FILE) {
            Some(path) => Self::from_file(path),
            None => Self(Err(Error::invalid("no connection string was given")
                .with_hint(format!("pass one, or set {CONNECTION_STRING} or {CONNECTION_STRING_FILE}")))),
        }
    }

    /// The connection string in a file; white space around it is dropped.
    pub fn from_file(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        match std::fs::read_to_string(path) {
            Ok(text) => text.trim().into(),
            Err(error) => {
                Self(Err(Error::invalid(format!("cannot read the connection string from {}", path.display()))
                    .with_reason(error.to_string())
                    .with_source(error)))
            }
        }
    }
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        if text.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphabetic())) {
            Self(text.parse().map(|address| (address, None, None)))
        } else {
            match text.parse::<ConnectionString>() {
                Ok(parsed) => parsed.into(),
                Err(error) => Self(Err(error)),
            }
        }
    }
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Target {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<ConnectionString> for Target {
    fn from(parsed: ConnectionString) -> Self {
        Self(parsed.address().and_then(|address| Ok((address, parsed.token_provider()?, parsed.operation_timeout()))))
    }
}

impl From<&ConnectionString> for Target {
    fn from(parsed: &ConnectionString) -> Self {
        parsed.clone().into()
    }
}

impl From<RelayAddress> for Target {
    fn from(address: RelayAddress) -> Self {
        Self(Ok((address, None, None)))
    }
}

/// The options that listeners and senders share, with their defaults.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) target: Target,
    pub(crate) entity: Option<String>,
    pub(crate) credential: Option<TokenProvider>,
    pub(crate) env: Env,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) close_timeout: Duration,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) proxy: Proxy,
    pub(crate) extra_ca_pem: Vec<Vec<u8>>,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) insecure_plaintext: bool,
    pub(crate) tls_config: Option<Arc<rustls::ClientConfig>>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) max_message_size: usize,
}

/// Without the headers: they may hold the program's own credentials.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("target", &self.target)
            .field("entity", &self.entity)
            .field("credential", &self.credential)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

/// A namespace, the way there and the credential for it: all that a request needs.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    pub(crate) address: RelayAddress,
    pub(crate) credential: Option<TokenProvider>,
    pub(crate) dialer: Dialer,
    pub(crate) connect_timeout: Duration,
}

/// Options that were checked.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) address: RelayAddress,
    pub(crate) entity: EntityPath,
    pub(crate) credential: Option<TokenProvider>,
    pub(crate) dialer: Dialer,
    pub(crate) connect_timeout: Duration,
    pub(crate) link: WebSocketSettings,
    pub(crate) connection: ConnectionSettings,
}

impl Options {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target,
            entity: None,
            credential: None,
            env: Env::system(),
            connect_timeout: None,
            close_timeout: Duration::from_secs(60),
            keep_alive: Some(Duration::from_secs(20)),
            proxy: Proxy::environment(),
            extra_ca_pem: Vec::new(),
            insecure_skip_verify: false,
            insecure_plaintext: false,
            tls_config: None,
            headers: Vec::new(),
            max_message_size: 64 * 1024 * 1024,
        }
    }

    pub(crate) fn check(self) -> Result<Checked> {
        let address = self.address()?;
        let Some(entity) = address.entity().cloned() else {
            return Err(Error::invalid("no hybrid connection is named")
                .with_hint("add EntityPath=… to the connection string, or name the entity"));
        };
        let (keep_alive, close_timeout, max_message_size) =
            (self.keep_alive, self.close_timeout, self.max_message_size);
        let Reach { credential, dialer, connect_timeout, .. } = self.reach(address.clone())?;
        Ok(Checked {
            address,
            entity,
            credential,
            dialer,
            connect_timeout,
            link: WebSocketSettings { keep_alive, keep_alive_deadline: Duration::from_secs(10), close_timeout },
            connection: ConnectionSettings { close_timeout, max_message_size },
        })
    }

    /// Checks what counts for a namespace as a whole.
    pub(crate) fn check_namespace(self) -> Result<Reach> {
        let address = self.address()?.without_entity();
        self.reach(address)
    }

    fn address(&self) -> Result<RelayAddress> {
        let (address, _, _) = self.target.0.clone()?;
        match &self.entity {
            Some(entity) => Ok(address.with_entity(entity.parse()?)),
            None => Ok(address),
        }
    }

    fn reach(self, address: RelayAddress) -> Result<Reach> {
        let (_, credential, operation_timeout) = self.target.0?;
        address.check_plaintext(self.insecure_plaintext)?;
        let tls = match self.tls_config {
            Some(config) => ClientTls::from_config(config),
            None => ClientTls::new(&self.extra_ca_pem, self.insecure_skip_verify)?,
        };
        if self.insecure_skip_verify {
            tracing::warn!(
                relay = address.authority(),
                "insecure_skip_verify is set: the relay's certificate is not checked"
            );
        }
        let routing = self.proxy.routing(&self.env);
        Ok(Reach {
            address,
            credential: self.credential.or(credential),
            dialer: Dialer::new(self.env, tls, routing, header_map(&self.headers)?),
            connect_timeout: self.connect_timeout.or(operation_timeout).unwrap_or(Duration::from_secs(60)),
        })
    }
}

impl Checked {
    pub(crate) fn reach(&self) -> Reach {
        let Self { address, credential, dialer, connect_timeout, .. } = self;
        Reach {
            address: address.clone(),
            credential: credential.clone(),
            dialer: dialer.clone(),
            connect_timeout: *connect_timeout,
        }
    }
}

/// Checks header fields that a program gave.
pub(crate) fn header_map(fields: &[(String, String)]) -> Result<HeaderMap> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let parsed: HeaderName = name.parse().map_err(|_| Error::invalid(format!("{name:?} is not a header name")))?;
        if RESERVED.contains(&parsed.as_str()) {
            return Err(Error::invalid(format!("the header {name} is set by the handshake itself")));
        }
        let value = HeaderValue::from_str(value).map_err(|_| {
            Error::invalid(format!("the value of the header {name} holds characters that may not be sent"))
        })?;
        map.append(parsed, value);
    }
    Ok(map)
}

/// Headers that belong to the WebSocket handshake or to the connection.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];

/// Generates the builder methods of all that reaches a relay, over a field `options: Options`.
macro_rules! reach_options {
    () => {
        /// The credential, instead of the connection string's.
        pub fn credential(mut self, provider: $crate::token::TokenProvider) -> Self {
            self.options.credential = Some(provider);
            self
        }

        /// How long a whole connect may take, the token included. Default: the connection string's `OperationTimeout`, else 60 s,
        /// which is longer than the relay's own 30 s, so that its explanation arrives. A listener that was online before waits for the
        /// answer to its handshake for 20 s at most.
        pub fn connect_timeout(mut self, limit: std::time::Duration) -> Self {
            self.options.connect_timeout = Some(limit);
            self
        }

        /// The proxy between this program and the relay. Default: as the environment says,
        /// [`Proxy::environment`](crate::Proxy::environment).
        pub fn proxy(mut self, proxy: $crate::Proxy) -> Self {
            self.options.proxy = proxy;
            self
        }

        /// Trusts the certificates in this PEM text beside the platform's. May be called several times.
        pub fn extra_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
            self.options.extra_ca_pem.push(pem.into());
            self
        }

        /// Accepts any certificate of the relay and of an `https://` proxy, so anybody in between can read and change everything. Logs a warning.
        pub fn insecure_skip_verify(mut self, yes: bool) -> Self {
            self.options.insecure_skip_verify = yes;
            self
        }

        /// Allows `UseDevelopmentEmulator=true`, `ws://` and `http://` also for public hosts, where tokens and data travel
        /// readable.
        pub fn insecure_plaintext(mut self, yes: bool) -> Self {
            self.options.insecure_plaintext = yes;
            self
        }

        /// The TLS configuration, taken as it is: the two options about certificates have no effect then.
        pub fn tls_config(mut self, config: std::sync::Arc<rustls::ClientConfig>) -> Self {
            self.options.tls_config = Some(config);
            self
        }

        /// Adds a header to every handshake with the namespace. May be called several times.
        pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
            self.options.headers.push((name.into(), value.into()));
            self
        }

        /// The environment to run in. Default: the system's.
        #[doc(hidden)]
        pub fn env(mut self, env: $crate::env::Env) -> Self {
            self.options.env = env;
            self
        }
    };
}
pub(crate) use reach_options;

/// Generates the builder methods that listeners and senders share, over a field `options: Options`.
macro_rules! shared_options {
    () => {
        $crate::options::reach_options!();

        /// The hybrid connection, instead of the target's `EntityPath`.
        pub fn entity(mut self, path: impl Into<String>) -> Self {
            self.options.entity = Some(path.into());
            self
        }

        /// How long a closing connection may make no progress before it is aborted. Default 60 s.
        pub fn close_timeout(mut self, limit: std::time::Duration) -> Self {
            self.options.close_timeout = limit;
            self
        }

        /// Ping after this long without a byte in one of the directions; a peer that does not answer within 10 s is gone. Behind
        /// messages that may not have been read yet it has 130 s, since a side that does not read is not dead. Default 20 s.
        ///
        /// `None` never pings. Then only a program that keeps receiving answers the relay's own pings, and the relay takes one that
        /// does neither for dead.
        pub fn keep_alive(mut self, interval: impl Into<Option<std::time::Duration>>) -> Self {
            self.options.keep_alive = interval.into();
            self
        }

        /// The longest message that [`Connection::receive`](crate::Connection::receive) puts together. Default 64 MiB. Byte
        /// streams have no limit.
        pub fn max_message_size(mut self, bytes: usize) -> Self {
            self.options.max_message_size = bytes;
            self
        }
    };
}
pub(crate) use shared_options;
