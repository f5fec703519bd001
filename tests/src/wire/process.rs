//! Relays in processes of their own.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use hybridrelay::{Listener, ListenerBuilder, Sender, SenderBuilder};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::Soon;
use super::peers::{RawListener, token};
use super::raw::{Ask, Door, RawWebSocket};
use super::setup::HYCO;

/// The local relay's one rule.
const RULE: &str = "RootManageSharedAccessKey";

/// A relay in a process of its own; it ends with this.
#[derive(Debug)]
pub struct RelayProcess {
    /// The way to it.
    pub door: Door,
    key: String,
    ca: Option<String>,
    child: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What a relay's process says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Relayed connections.
    pub connections: u64,
    /// Tasks of its runtime.
    pub tasks: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Resident memory in KiB.
    pub resident: u64,
}

impl RelayProcess {
    /// Starts the program at `path` (`relay_process` of this crate), with or without TLS.
    pub async fn start(path: impl AsRef<Path>, tls: bool) -> Self {
        Self::start_with(path, tls.then_some("tls")).await
    }

    /// The same; every listener of `hyco` gets everything there.
    pub async fn start_for_events(path: impl AsRef<Path>, tls: bool) -> Self {
        Self::start_with(path, tls.then_some("tls").into_iter().chain(["events"])).await
    }

    async fn start_with(path: impl AsRef<Path>, modes: impl IntoIterator<Item = &str>) -> Self {
        let mut command = Command::new(path.as_ref());
        command.args(modes).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the program is there");
        let ask = child.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let begun = read(&mut answers).await;
        let addr: SocketAddr = begun["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let key = begun["key"].as_str().expect("a key").to_owned();
        let ca = begun["ca"].as_str().map(str::to_owned);
        Self { door: Door::new(addr, ca.as_deref()), key, ca, child, ask, answers }
    }

    /// Prepares a listener that trusts the relay.
    pub fn listener(&self) -> ListenerBuilder {
        let builder = Listener::builder(self.connection_string());
        match &self.ca {
            Some(pem) => builder.extra_ca_pem(pem.as_str()),
            None => builder,
        }
    }

    /// Prepares a sender that trusts the relay.
    pub fn sender(&self) -> SenderBuilder {
        let builder = Sender::builder(self.connection_string());
        match &self.ca {
            Some(pem) => builder.extra_ca_pem(pem.as_str()),
            None => builder,
        }
    }

    /// Kills the process, as by `kill -9`.
    pub async fn kill(mut self) {
        self.child.kill().soon().await.expect("it runs");
    }

    /// What listeners and senders of `hyco` are built from.
    pub fn connection_string(&self) -> String {
        let emulator = if self.ca.is_some() { "" } else { ";UseDevelopmentEmulator=true" };
        let Self { door, key, .. } = self;
        let rule = format!("SharedAccessKeyName={RULE};SharedAccessKey={key}");
        format!("Endpoint=sb://{}/;{rule};EntityPath={HYCO}{emulator}", door.authority)
    }

    /// An authorised handshake.
    pub fn websocket(&self, target: &str) -> Ask {
        Ask::websocket(target).token(&token("http://localhost/", RULE, &self.key))
    }

    /// Opens a control channel under `hyco`.
    pub async fn listen(&self) -> RawListener {
        let answer = self.websocket("/$hc/hyco?sb-hc-action=listen").send(&self.door).await;
        RawListener::new(&self.door, answer)
    }

    /// Joins two raw peers.
    pub async fn pair(&self, control: &mut RawListener) -> (RawWebSocket, RawWebSocket) {
        let (sender, accepted) = tokio::join!(self.websocket("/$hc/hyco").send(&self.door), control.accept());
        (sender.websocket(), accepted)
    }

    /// How it is.
    pub async fn vitals(&mut self) -> Vitals {
        self.ask.write_all(b"\n").soon().await.expect("it is there");
        let told = read(&mut self.answers).await;
        let process = format!("/proc/{}", self.child.id().expect("it runs"));
        let number = |name: &str| told[name].as_u64().expect("a number");
        Vitals {
            connections: number("connections"),
            tasks: number("tasks"),
            descriptors: std::fs::read_dir(format!("{process}/fd")).expect("procfs").count(),
            resident: resident(&process).expect("procfs"),
        }
    }
}

async fn read(answers: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = answers.next_line().soon().await.expect("a pipe").expect("the process lives");
    serde_json::from_str(&line).expect("JSON")
}

fn resident(process: &str) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().map_err(io::Error::other)
}
