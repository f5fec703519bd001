//! The contenders that run from this binary, each in a process of its own.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::{Args, ValueEnum};
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};

use crate::certificate;

mod answers;
mod bare;
mod endpoint;
mod listener;
mod ours;
mod tungstenite;
mod upstream;

pub(crate) use answers::Repeated;
pub(crate) use ours::EVENTS;

#[derive(Args)]
pub(crate) struct Options {
    /// Which one
    contender: Served,
    /// Serve TLS with the certificate and key in this PEM file
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Where `forward` forwards to
    #[arg(long, value_name = "ADDRESS", required_if_eq("contender", "forward"))]
    to: Option<SocketAddr>,
}

/// A contender that this binary serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Served {
    /// The hybridrelay relay
    Ours,
    /// A relay of two WebSockets with tokio-tungstenite
    Tungstenite,
    /// No relay: receives on one socket and sends on another
    Bare,
    /// No relay: what clients are measured against
    Endpoint,
    /// No relay: a server that answers HTTP requests
    Upstream,
    /// Listens at the relay of the connection string in the environment and answers HTTP requests as `upstream` does
    Listener,
    /// Listens there and forwards HTTP requests to a server
    Forward,
}

/// What a served contender says on standard output when it is ready.
#[derive(Deserialize, Serialize)]
pub(crate) struct Announcement {
    /// Where to come; for a listener, the server that it forwards to, or nowhere.
    pub(crate) address: SocketAddr,
    /// How to reach it, for a relay that asks for tokens.
    pub(crate) connection_string: Option<String>,
}

/// Serves until standard input ends, as it does when the one who started this is gone.
pub(crate) fn run(options: &Options) -> Result<()> {
    let certificate = options.certificate.as_deref();
    let tls = certificate.map(certificate::server_config).transpose()?;
    let runtime = tokio::runtime::Runtime::new()?;
    match options.contender {
        Served::Ours => {
            let _relay = runtime.block_on(ours::start(tls))?;
            wait_for_end()
        }
        Served::Tungstenite => {
            runtime.block_on(tungstenite::start(tls))?;
            wait_for_end()
        }
        Served::Bare => {
            bare::start(tls)?;
            wait_for_end()
        }
        Served::Endpoint => {
            runtime.block_on(endpoint::start(tls))?;
            wait_for_end()
        }
        Served::Upstream => {
            runtime.block_on(upstream::start(tls))?;
            wait_for_end()
        }
        Served::Listener | Served::Forward => {
            runtime.block_on(listener::start(certificate, options.to))?;
            wait_for_end()
        }
    }
}

fn announce(address: SocketAddr, connection_string: Option<String>) -> Result<()> {
    let mut line = serde_json::to_vec(&Announcement { address, connection_string })?;
    line.push(b'\n');
    std::io::stdout().write_all(&line)?;
    Ok(())
}

fn wait_for_end() -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The TLS configuration of a contender, or none.
type Tls = Option<Arc<ServerConfig>>;
