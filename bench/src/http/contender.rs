//! Who relays or proxies HTTP requests, and what stands behind it; each in processes of its own.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use http::HeaderValue;
use hybridrelay::ConnectionString;
use rustls::ClientConfig;

use crate::certificate::Certificate;
use crate::contender::{Process, Transport, haproxy};
use crate::load::entrance;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Contender {
    /// The relay of this repository, and a listener that answers by itself.
    Listener,
    /// The relay, and a listener that forwards to the server.
    Forward,
    /// haproxy as a reverse proxy in front of the server.
    Haproxy,
    /// The server alone: what the load and the server reach without anybody between.
    Server,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Listener => "hybridrelay, listener",
            Self::Forward => "hybridrelay, forward, server",
            Self::Haproxy => "haproxy, server",
            Self::Server => "server",
        })
    }
}

/// The way into a contender.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// For a relay, which asks for one.
    pub(crate) token: Option<HeaderValue>,
}

/// A contender that runs.
pub(crate) struct Running {
    pub(crate) entrance: Entrance,
    front: Option<Process>,
    behind: Vec<Process>,
}

/// CPU time so far.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) front: Option<Duration>,
    pub(crate) behind: Duration,
}

impl Contender {
    /// Starts it. It ends when the result is dropped.
    pub(crate) fn start(self, transport: Transport, certificate: &Certificate) -> Result<Running> {
        self.try_start(transport, certificate).with_context(|| format!("{self} cannot be started"))
    }

    fn try_start(self, transport: Transport, certificate: &Certificate) -> Result<Running> {
        let own = std::env::current_exe()?;
        let (tls, file) = match transport {
            Transport::Plain => (None, None),
            Transport::Tls => (Some(certificate.client_config()?), Some(certificate.path())),
        };
        let entrance = |address| Entrance { address, tls: tls.clone(), token: None };
        match self {
            Self::Server => {
                let (server, announced) = Process::serve(&own, "upstream", file)?;
                Ok(Running { entrance: entrance(announced.address), front: None, behind: vec![server] })
            }
            Self::Haproxy => {
                let (server, announced) = Process::serve(&own, "upstream", file)?;
                let (proxy, address) = haproxy::start(announced.address, file, haproxy::Mode::Http)?;
                Ok(Running { entrance: entrance(address), front: Some(proxy), behind: vec![server] })
            }
            Self::Listener | Self::Forward => {
                let (relay, announced) = Process::serve(&own, "ours", file)?;
                let connection_string = announced.connection_string.context("a relay tells how to reach it")?;
                let token = Some(token(&connection_string)?);
                let entrance = Entrance { token, ..entrance(announced.address) };
                let mut behind = Vec::new();
                let mut listener = Command::new(&own);
                listener.arg("serve").env("HYBRIDRELAY_CONNECTION_STRING", &connection_string);
                if self == Self::Forward {
                    // As a rule it stands on the listener's machine, where nobody asks it for TLS.
                    let (server, announced) = Process::serve(&own, "upstream", None)?;
                    behind.push(server);
                    listener.args(["forward", "--to"]).arg(announced.address.to_string());
                } else {
                    listener.arg("listener");
                }
                behind.push(Process::announced(with_certificate(listener, file))?.0);
                Ok(Running { entrance, front: Some(relay), behind })
            }
        }
    }
}

fn with_certificate(mut command: Command, file: Option<&Path>) -> Command {
    if let Some(file) = file {
        command.arg("--certificate").arg(file);
    }
    command
}

/// The relay's token as a header's value.
pub(crate) fn token(connection_string: &str) -> Result<HeaderValue> {
    let connection_string: ConnectionString = connection_string.parse()?;
    let entity = connection_string.entity_path().context("the connection string names no entity")?;
    let mut token = HeaderValue::from_str(&entrance::token(&connection_string, entity.as_str()))?;
    token.set_sensitive(true);
    Ok(token)
}

impl Running {
    /// The CPU time that its processes have used.
    pub(crate) fn used(&self) -> Result<Used> {
        let front = self.front.as_ref().map(Process::cpu).transpose()?;
        let behind = self.behind.iter().map(Process::cpu).sum::<Result<_>>()?;
        Ok(Used { front, behind })
    }
}
