//! A program that runs: a client that is told what to do, or a server that is asked.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::runtime::Runtime;

use super::case::Case;
use super::client::Client;
use crate::certificate::Certificate;
use crate::contender::Process;
use crate::http::{Entrance, Load, token};

/// A program at work on a case.
pub(super) struct Running {
    pub(super) client: Client,
    process: Process,
    work: Work,
}

enum Work {
    /// By its standard input; it answers by its output when it is done.
    Told { input: ChildStdin, output: BufReader<ChildStdout> },
    /// By requests of this process, which come by the relay if there is one.
    Asked { runtime: Runtime, load: Load, _relay: Option<Process> },
}

impl Running {
    /// Starts a client of the server at `endpoint`, or a server.
    pub(super) fn start(
        client: Client,
        case: Case,
        endpoint: SocketAddr,
        certificate: Option<&Certificate>,
    ) -> Result<Self> {
        let mut command = client.command(case)?;
        if let Some(certificate) = certificate {
            command.env("BENCH_CA", certificate.path());
        }
        let started = match case {
            Case::Serve(connections) => Self::serve(client, command, connections, certificate),
            _ => Self::converse(client, command, case, endpoint, certificate.is_some()),
        };
        started.with_context(|| format!("{client}, {case}"))
    }

    fn converse(client: Client, mut command: Command, case: Case, endpoint: SocketAddr, is_tls: bool) -> Result<Self> {
        let (name, size) = case.arguments();
        let port = endpoint.port().to_string();
        let emulator = if is_tls { "" } else { ";UseDevelopmentEmulator=true" };
        let connection_string = format!(
            "Endpoint=sb://localhost:{port}/;SharedAccessKeyName=bench;SharedAccessKey=a key that nobody checks;EntityPath=bench{emulator}"
        );
        command.arg(name).arg(size.to_string());
        command.env("BENCH_CONNECTION_STRING", connection_string).env("BENCH_PORT", port);
        let (process, input, mut output) = Process::conversing(command)?;
        expect(&mut output, "ready")?;
        Ok(Self { client, process, work: Work::Told { input, output } })
    }

    fn serve(
        client: Client,
        mut command: Command,
        connections: usize,
        certificate: Option<&Certificate>,
    ) -> Result<Self> {
        let tls = certificate.map(Certificate::client_config).transpose()?;
        let (relay, entrance, process) = if client == Client::Uvicorn {
            let (process, announced) = Process::announced(command)?;
            (None, Entrance { address: announced.address, tls, token: None }, process)
        } else {
            let file = certificate.map(Certificate::path);
            let (relay, announced) = Process::serve(&std::env::current_exe()?, "ours", file)?;
            let connection_string = announced.connection_string.context("a relay tells how to reach it")?;
            command.env("BENCH_CONNECTION_STRING", &connection_string);
            let (process, _) = Process::announced(command)?;
            let token = Some(token(&connection_string)?);
            (Some(relay), Entrance { address: announced.address, tls, token }, process)
        };
        // One thread: what is measured has the rest of the machine.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let load = runtime.block_on(Load::connect(&entrance, connections))?;
        Ok(Self { client, process, work: Work::Asked { runtime, load, _relay: relay } })
    }

    /// Lets it do so much, and tells how long it took and what CPU time.
    pub(super) fn work(&mut self, units: u64) -> Result<(Duration, Duration)> {
        let (began, before) = (Instant::now(), self.process.cpu()?);
        match &mut self.work {
            Work::Told { input, output } => {
                input.write_all(format!("{units}\n").as_bytes())?;
                expect(output, "done").with_context(|| self.client.to_string())?;
            }
            Work::Asked { runtime, load, .. } => {
                let asked = runtime.block_on(load.small(usize::try_from(units)?));
                asked.with_context(|| self.client.to_string())?;
            }
        }
        Ok((began.elapsed(), self.process.cpu()? - before))
    }
}

fn expect(output: &mut impl BufRead, word: &str) -> Result<()> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    if line.trim_end() != word { bail!("it said {line:?} instead of {word}") } else { Ok(()) }
}
