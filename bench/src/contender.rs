//! Who is measured, each in a process of its own.

use std::fmt;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::certificate::{Certificate, server_config};
use crate::load::Entrance;

pub(crate) mod haproxy;
mod process;

pub(crate) use process::Process;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Contender {
    /// The relay of this repository.
    Ours,
    /// The relay in another build of this program, to see what a change brings.
    #[value(skip)]
    Baseline,
    /// A relay of two WebSockets with tokio-tungstenite.
    Tungstenite,
    /// haproxy as a TCP proxy, with its own buffer size.
    Haproxy,
    /// haproxy as a TCP proxy, with buffers for throughput.
    HaproxyTuned,
    /// One receive and one send: the floor.
    Bare,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "hybridrelay",
            Self::Baseline => "hybridrelay, baseline",
            Self::Tungstenite => "tokio-tungstenite",
            Self::Haproxy => "haproxy",
            Self::HaproxyTuned => "haproxy, 64 KiB buffers",
            Self::Bare => "bare send + receive",
        })
    }
}

/// What lies under the WebSockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Tls => "TLS",
        })
    }
}

/// What all contenders of a run have in common.
pub(crate) struct Stage<'a> {
    pub(crate) transport: Transport,
    pub(crate) certificate: &'a Certificate,
    /// The other build of this program.
    pub(crate) baseline: Option<&'a Path>,
}

/// A contender that runs.
pub(crate) struct Running {
    pub(crate) entrance: Entrance,
    pub(crate) process: Process,
}

impl Contender {
    /// Starts it. It ends when the result is dropped.
    pub(crate) fn start(self, stage: &Stage<'_>) -> Result<Running> {
        self.try_start(stage).with_context(|| format!("{self} cannot be started"))
    }

    fn try_start(self, stage: &Stage<'_>) -> Result<Running> {
        let Stage { transport, certificate, baseline } = *stage;
        let (client_tls, file) = match transport {
            Transport::Plain => (None, None),
            Transport::Tls => (Some(certificate.client_config()?), Some(certificate.path())),
        };
        if let Self::Haproxy | Self::HaproxyTuned = self {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let backend_tls = file.map(server_config).transpose()?;
            let mode = if self == Self::HaproxyTuned { haproxy::Mode::TcpTuned } else { haproxy::Mode::Tcp };
            let (process, address) = haproxy::start(listener.local_addr()?, file, mode)?;
            return Ok(Running { entrance: Entrance::proxy(address, client_tls, listener, backend_tls), process });
        }
        let name = match self {
            Self::Ours | Self::Baseline => "ours",
            Self::Tungstenite => "tungstenite",
            _ => "bare",
        };
        let own = std::env::current_exe()?;
        let program = baseline.filter(|_| self == Self::Baseline).unwrap_or(&own);
        let (process, announced) = Process::serve(program, name, file)?;
        let address = announced.address;
        let entrance = match announced.connection_string {
            Some(connection_string) => Entrance::ours(address, client_tls, &connection_string)?,
            None if self == Self::Tungstenite => Entrance::tungstenite(address, client_tls),
            None => Entrance::bare(address, client_tls),
        };
        Ok(Running { entrance, process })
    }
}
