//! Proxies: which one a dial goes through, if any.

use std::fmt;
use std::sync::Arc;

use super::DialTarget;
use crate::Result;
use crate::env::Env;

mod connect;
mod environment;
mod server;
mod socks;
#[cfg(test)]
mod tests;

use environment::Environment;
pub(super) use server::ProxyServer;

/// How a listener or sender leaves the network that it is in: directly or through a proxy. It applies to everything that is dialled:
/// control channel, rendezvous and senders' connections.
///
/// `http://` and `https://` proxies are asked for a tunnel by CONNECT, with Basic credentials; `https://` speaks TLS with the proxy
/// itself, by the same trust as with the relay. `socks5://` resolves host names here, `socks5h://` at the proxy; both know user and
/// password. Ports default to 80, 443 and 1080.
///
/// Credentials never show in `Debug`, logs or errors.
#[derive(Clone, Default)]
pub struct Proxy(Choice);

#[derive(Clone, Default)]
enum Choice {
    #[default]
    Environment,
    Direct,
    Server(Arc<ProxyServer>),
}

impl Proxy {
    /// As the environment variables say when the listener or sender is made, as in curl. This is the default.
    ///
    /// `https_proxy` or `HTTPS_PROXY` for relays with TLS, `http_proxy` for relays without (in lower case only, because in CGI
    /// programs a request header sets `HTTP_PROXY`), `all_proxy` or `ALL_PROXY` for both. The lower-case name wins; an empty value
    /// counts as unset; a value without `://` is an `http://` proxy.
    ///
    /// `no_proxy` or `NO_PROXY` lists what is dialled directly, separated by commas or spaces: host names, which stand for their
    /// subdomains as well, with or without a leading dot; IP addresses and networks such as `10.0.0.0/8`; each with an optional
    /// port; or `*` for everything. `localhost` and loopback addresses are always dialled directly.
    pub fn environment() -> Self {
        Self(Choice::Environment)
    }

    /// Always directly, whatever the environment says.
    pub fn none() -> Self {
        Self(Choice::Direct)
    }

    /// Always through this proxy, such as `http://user:password@proxy.example.net:3128`. Characters in user and password that mean
    /// something in a URL are percent-encoded.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it is not the URL of a proxy of a known kind; the text itself is not repeated.
    pub fn url(text: impl AsRef<str>) -> Result<Self> {
        Ok(Self(Choice::Server(Arc::new(ProxyServer::parse(text.as_ref(), None)?))))
    }

    pub(crate) fn routing(&self, env: &Env) -> Routing {
        match &self.0 {
            Choice::Environment => Routing::Environment(Arc::new(Environment::read(|name| env.variable(name)))),
            Choice::Direct => Routing::Direct,
            Choice::Server(server) => Routing::Server(server.clone()),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Choice::Environment => f.write_str("Proxy(environment)"),
            Choice::Direct => f.write_str("Proxy(none)"),
            Choice::Server(server) => write!(f, "Proxy({server})"),
        }
    }
}

/// A [`Proxy`] whose environment variables were read.
#[derive(Clone)]
pub(crate) enum Routing {
    Direct,
    Server(Arc<ProxyServer>),
    Environment(Arc<Environment>),
}

impl Routing {
    /// The proxy through which `target` is dialled.
    pub(super) fn proxy_for(&self, target: &DialTarget) -> Result<Option<&ProxyServer>> {
        match self {
            Self::Direct => Ok(None),
            Self::Server(server) => Ok(Some(server)),
            Self::Environment(environment) => environment.proxy_for(target),
        }
    }
}

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "Direct",
            Self::Server(_) => "Server",
            Self::Environment(_) => "Environment",
        })
    }
}
