//! A relay in a namespace of its own, and peers in theirs, each with one link to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hybridrelay::{Listener, ListenerBuilder, Proxy, Sender, SenderBuilder};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PROMISE_WITH_NOISE, millis, now, quiet};
use crate::netns::Namespace;
use crate::program::{Events, Program};

/// The namespace of the relay's store.
pub const NAMESPACE: &str = "faults";
/// Its one rule, and the key.
pub const RULE: &str = "all";
/// The key of the rule.
pub const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Where the relay is reached from everywhere.
pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The relay's name, for those who have a resolver.
pub const RELAY_NAME: &str = "relay.test";

const PLAIN_PORT: u16 = 80;
const TLS_PORT: u16 = 443;
/// Where somebody may stand in between.
pub const MIDDLE_PORT: u16 = 8443;

/// How long a listener's tokens live, unless a test cares.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

/// The programs, which only tests and binaries know the way to.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `fault-relay`.
    pub relay: PathBuf,
    /// `fault-peer`.
    pub peer: PathBuf,
}

/// What a relay is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Where to serve without TLS.
    pub plain: SocketAddr,
    /// Where to serve with TLS.
    pub tls: SocketAddr,
    /// The folder of its authority.
    pub authority: PathBuf,
    /// The names in its certificate.
    pub names: Vec<String>,
    /// The silence after which a listener is gone. Default: the product's.
    pub gone_after: Option<Duration>,
}

/// A hybrid connection, and the way to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    connection_string: String,
    ca_pem: String,
    /// How long a listener's tokens live.
    pub token_life: Duration,
}

impl Target {
    /// Prepares a listener.
    pub fn listener(&self) -> ListenerBuilder {
        Listener::builder(self.connection_string.as_str()).extra_ca_pem(self.ca_pem.as_str()).proxy(Proxy::none())
    }

    /// Prepares a sender.
    pub fn sender(&self) -> SenderBuilder {
        Sender::builder(self.connection_string.as_str()).extra_ca_pem(self.ca_pem.as_str()).proxy(Proxy::none())
    }
}

/// The way to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Without TLS.
    Plain,
    /// With TLS.
    Tls,
    /// With TLS, past whoever stands in between.
    Middle,
    /// With TLS, by name.
    Name,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Tasks of its runtime.
    pub tasks: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Relayed connections, and listeners; of a peer none.
    pub connections: u64,
    /// Relayed connections by the relay's metrics, a moment later or earlier; of a peer none.
    pub active: u64,
    /// Listeners by the relay's metrics; of a peer none.
    pub listeners: u64,
}

/// A relay that may be killed and started again, in a namespace of its own.
#[derive(Debug)]
pub struct Site {
    relay: Option<Program>,
    programs: Programs,
    settings: Settings,
    ca_pem: String,
    // Behind the program, so that it ends first.
    namespace: Namespace,
    _files: TempDir,
}

impl Site {
    /// Starts a relay for which a listener that is silent for so long is gone; by default as long as the product has it.
    pub async fn start(programs: &Programs, gone_after: Option<Duration>) -> Self {
        let namespace = Namespace::create("relay");
        namespace.add_address(RELAY);
        let files = tempfile::tempdir().expect("files can be made");
        let settings = Settings {
            plain: (RELAY, PLAIN_PORT).into(),
            tls: (RELAY, TLS_PORT).into(),
            authority: files.path().join("authority"),
            names: vec![RELAY.to_string(), RELAY_NAME.to_owned()],
            gone_after,
        };
        let programs = programs.clone();
        let mut site = Self { relay: None, programs, settings, ca_pem: String::new(), namespace, _files: files };
        site.start_relay().await;
        site
    }

    /// The relay's namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The relay's program.
    pub fn relay(&self) -> &Program {
        self.relay.as_ref().expect("the relay was started")
    }

    /// Starts the relay (again), and tells when it served.
    pub async fn start_relay(&mut self) -> u64 {
        let mut command = self.namespace.command(&self.programs.relay.to_string_lossy());
        command.arg(serde_json::to_string(&self.settings).expect("settings are JSON"));
        let relay = Program::start("the relay", &mut command);
        let serving = relay.expect("serving").await;
        self.relay = Some(relay);
        self.ca_pem = serving["ca_pem"].as_str().expect("a certificate").to_owned();
        millis(&serving, "at")
    }

    /// Kills the relay, as by `kill -9`.
    pub async fn kill_relay(&mut self) {
        self.relay.take().expect("the relay runs").kill().await;
    }

    /// Ends the relay in good order.
    pub async fn finish_relay(&mut self) {
        self.relay.take().expect("the relay runs").finish().await;
    }

    /// The number of listeners of a hybrid connection now, and then each change.
    pub async fn watch(&self, entity: &str) -> Events {
        self.relay().tell(json!({"do": "watch", "entity": entity})).await;
        self.relay().events(entity)
    }

    /// How the relay is.
    pub async fn vitals(&self) -> Vitals {
        self.relay().tell(json!({"do": "vitals"})).await;
        let told = self.relay().expect("vitals").await;
        let number = |name: &str| told[name].as_f64().expect("a number") as u64;
        Vitals {
            tasks: number("tasks"),
            descriptors: descriptors(self.relay().pid()),
            connections: number("connections"),
            active: number("active"),
            listeners: number("listeners"),
        }
    }

    /// How the relay is when nothing changes any more.
    pub async fn quiet(&self) -> Vitals {
        let vitals = quiet(|| self.vitals()).await;
        assert_eq!(vitals.connections, vitals.active, "the metrics know as much as the relay");
        vitals
    }

    /// A hybrid connection at the relay.
    pub fn target(&self, entity: &str, way: Way) -> Target {
        let (authority, emulator) = match way {
            Way::Plain => (format!("{RELAY}:{PLAIN_PORT}"), ";UseDevelopmentEmulator=true"),
            Way::Tls => (format!("{RELAY}:{TLS_PORT}"), ""),
            Way::Middle => (format!("{RELAY}:{MIDDLE_PORT}"), ""),
            Way::Name => (format!("{RELAY_NAME}:{TLS_PORT}"), ""),
        };
        let rule = format!("SharedAccessKeyName={RULE};SharedAccessKey={KEY}");
        let connection_string = format!("Endpoint=sb://{authority}/;{rule};EntityPath={entity}{emulator}");
        Target { connection_string, ca_pem: self.ca_pem.clone(), token_life: TOKEN_LIFE }
    }

    /// Starts a peer on a host of its own, number `number`, where files in `/etc` say something else than here.
    pub fn peer(&self, number: u8, etc: &[(&str, &str)]) -> Peer {
        let namespace = Namespace::create("peer");
        let address = Ipv4Addr::new(10, 77, number, 2);
        namespace.link(address, &self.namespace, Ipv4Addr::new(10, 77, number, 1), RELAY);
        for (file, text) in etc {
            namespace.show_etc(file, text);
        }
        let program = Program::start("a peer", &mut namespace.command(&self.programs.peer.to_string_lossy()));
        Peer { program, address, namespace: Some(namespace) }
    }

    /// Starts a peer on the relay's host.
    pub fn neighbour(&self) -> Peer {
        let program = Program::start("a peer", &mut self.namespace.command(&self.programs.peer.to_string_lossy()));
        Peer { program, address: RELAY, namespace: None }
    }

    /// From now on nothing passes between the relay and a peer's host, and nobody is told.
    pub fn swallow(&self, peer: &Peer) -> u64 {
        let own = peer.namespace.as_ref().expect("the peer has a host of its own");
        // Where it comes in: what goes out is sent, as into a real hole.
        own.swallow(RELAY);
        self.namespace.swallow(peer.address);
        now()
    }

    /// Ends [`swallow`](Self::swallow), and tells when it was over.
    pub fn heal(&self, peer: &Peer) -> u64 {
        let own = peer.namespace.as_ref().expect("the peer has a host of its own");
        self.namespace.swallow_no_more(peer.address);
        own.swallow_no_more(RELAY);
        now()
    }
}

/// A program with listeners and senders.
#[derive(Debug)]
pub struct Peer {
    program: Program,
    address: Ipv4Addr,
    // Behind the program, so that it ends first.
    namespace: Option<Namespace>,
}

impl Peer {
    /// Tells it to do something, and waits for the one event that tells of it.
    pub async fn ask(&self, command: Value, event: &str) -> Value {
        self.begin(command).await.expect(event).await
    }

    /// Tells it to do something; the events tell what came of it.
    pub async fn begin(&self, mut command: Value) -> Events {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = COUNT.fetch_add(1, Ordering::Relaxed).to_string();
        command["id"] = json!(id);
        let events = self.program.events(&id);
        self.program.tell(command).await;
        events
    }

    /// The program.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Starts a listener that sends everything back, and waits until it is online.
    pub async fn listen(&self, listener: &str, target: &Target) {
        self.program.tell(json!({"do": "listen", "listener": listener, "target": target})).await;
        self.online(listener).await;
    }

    /// Waits until a listener is online, and tells since when.
    pub async fn online(&self, listener: &str) -> u64 {
        millis(&self.ask(json!({"do": "await-online", "listener": listener}), "online").await, "since")
    }

    /// Waits until a listener is offline with an error that says this, and tells since when.
    pub async fn offline(&self, listener: &str, saying: &str) -> u64 {
        let command = json!({"do": "await-offline", "listener": listener, "saying": saying});
        millis(&self.ask(command, "offline").await, "since")
    }

    /// Sends a payload there and back, however often it takes until it works.
    pub async fn echo(&self, target: &Target, size: usize) -> Value {
        self.ask(json!({"do": "echo", "target": target, "size": size}), "echoed").await
    }

    /// A payload goes there and back, and the listener is online, within what is promised of healing. Tells how long the listener took
    /// to be online, in milliseconds.
    pub async fn back(&self, listener: &str, target: &Target, healed: u64) -> u64 {
        // First what has to work: a listener that does not know yet that its channel is gone still says online.
        let echoed = self.echo(target, 100_000).await;
        let online = self.online(listener).await.saturating_sub(healed);
        let limit = PROMISE_WITH_NOISE.as_millis() as u64;
        assert!(online <= limit, "online {online} ms behind the healing; {echoed}");
        let reached = millis(&echoed, "at").saturating_sub(healed);
        assert!(reached <= limit, "reached {reached} ms behind the healing; {echoed}");
        online
    }

    /// How it is.
    pub async fn vitals(&self) -> Vitals {
        let told = self.ask(json!({"do": "vitals"}), "vitals").await;
        let tasks = millis(&told, "tasks");
        Vitals { tasks, descriptors: descriptors(self.program.pid()), connections: 0, active: 0, listeners: 0 }
    }

    /// How it is when nothing changes any more.
    pub async fn quiet(&self) -> Vitals {
        quiet(|| self.vitals()).await
    }

    /// Ends it in good order.
    pub async fn finish(self) {
        self.program.finish().await;
    }

    /// Stops it, or lets it go on, and tells when.
    pub fn signal(&self, signal: Signal) -> u64 {
        self.program.signal(signal);
        now()
    }
}

fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}

/// The resident memory of a process in KiB.
pub fn resident(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
