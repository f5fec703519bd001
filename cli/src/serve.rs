//! `serve`: the relay.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hybridrelay::env::Env;
use hybridrelay_relay::config_file::ConfigFile;
use hybridrelay_relay::dev_ca::DevCa;
use hybridrelay_relay::units::parse_duration;
use hybridrelay_relay::{
    AutoCreate, Endpoint, EntitySettings, MemoryStore, Namespace, Relay, RelayBuilder, Rights, Rule, WebSocketPaths,
};
use nix::fcntl::Flock;
use serde_json::json;

use crate::config;
use crate::console::Console;
use crate::failure::Failure;
use crate::listen::connections;
use crate::signals::{self, Signals};
use crate::state;
use crate::supervisor::Supervisor;

mod endpoint;
mod file;
mod ready;

use endpoint::{Bound, Port, bind as bind_at, loopback};
use ready::Ready;

/// The name of a development relay's one rule, which has every right.
const RULE: &str = "RootManageSharedAccessKey";

const EXAMPLES: &str = "\
Examples:
  hybridrelay serve --dev                            https on 9443, http on 9080
  hybridrelay serve --dev --listen https://[::1]:0   any free port
  hybridrelay serve --dev --public 'web/*'           senders of web/… need no key
  hybridrelay serve --dev --events 'events/*'        every listener of events/… gets everything
  hybridrelay serve --dev --hostname relay.lan --listen https://0.0.0.0:9443
  hybridrelay serve --config /etc/hybridrelay/relay.toml

When a development relay is ready it prints, at a terminal, what can be pasted; otherwise one line of JSON with the \
addresses, the connection string and the file to trust. A relay with a configuration file prints its addresses. SIGINT and SIGTERM \
let open connections end first; a second one stops at once. SIGHUP has the configuration file read again.";

/// The options that a configuration file replaces.
const DEVELOPMENT: [&str; 9] = ["dev", "listen", "admin", "state", "key", "hostname", "public", "events", "drain"];

/// Run a relay
///
/// With --config: as a configuration file says; 'hybridrelay config example' writes one. Certificates and key files are taken up by
/// themselves when they change, the file itself on SIGHUP; what is wrong is told, and the relay goes on as before.
///
/// With --dev: for development on this machine. Everything that is needed is made at the first start and kept: a certificate
/// authority that can vouch for this machine's names only, and the key of the one rule, RootManageSharedAccessKey. Hybrid
/// connections appear when somebody listens on them.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArguments {
    /// Run a relay as this file says
    #[arg(long, value_name = "FILE", conflicts_with_all = DEVELOPMENT)]
    config: Option<PathBuf>,

    /// Run a development relay
    #[arg(long)]
    dev: bool,

    /// Listen here instead of at https://127.0.0.1:9443 and http://127.0.0.1:9080 [repeatable]
    ///
    /// A default port that is taken is replaced by the next free one; one that is given and taken is an error. Port 0 takes any free
    /// port.
    #[arg(long, value_name = "URL")]
    listen: Vec<Endpoint>,

    /// Administration address [default: https://127.0.0.1:9444]
    ///
    /// Reserved: this version answers every request there with 404.
    #[arg(long, value_name = "URL")]
    admin: Option<Endpoint>,

    /// Serve metrics in plain text at http://ADDR/metrics, for an address that only you reach
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,

    /// Directory for the certificate authority and the key
    ///
    /// Default: $STATE_DIRECTORY, $XDG_STATE_HOME/hybridrelay, or ~/.local/state/hybridrelay.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Use this key for this run instead of the kept one
    ///
    /// Other users of this machine can read command lines.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Further name or address of this machine for the certificate [repeatable]
    ///
    /// The first one is named in the connection string if the relay listens beyond loopback.
    #[arg(long, value_name = "NAME")]
    hostname: Vec<String>,

    /// Let senders of matching hybrid connections in without a key; '*' stands for any characters [repeatable]
    #[arg(long, value_name = "PATTERN")]
    public: Vec<String>,

    /// Hand what is sent to matching hybrid connections to everybody who listens there; '*' stands for any characters [repeatable]
    #[arg(long, value_name = "PATTERN")]
    events: Vec<String>,

    /// How to tell that the relay is ready
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    ready: Form,

    /// How long open connections may go on after SIGINT or SIGTERM
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    drain: Duration,
}

/// The form of the ready line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Text at a terminal, JSON otherwise
    #[default]
    Auto,
    /// Six lines for a person
    Text,
    /// One line of JSON
    Json,
}

impl ServeArguments {
    /// Loads the configuration file, if one is given.
    pub(crate) fn load(&self, console: Console) -> Result<Option<ConfigFile>, Failure> {
        self.config.as_ref().map(|path| config::load(path, console)).transpose()
    }
}

pub(crate) async fn run(arguments: ServeArguments, file: Option<ConfigFile>, console: Console) -> Result<(), Failure> {
    if let Some(file) = file {
        return file::run(file, arguments.ready, console).await;
    }
    if !arguments.dev {
        return Err(Failure::usage("serve needs --config FILE or --dev").with_advice(
            "begin a file with 'hybridrelay config example', or run a development relay: hybridrelay serve --dev",
        ));
    }
    let env = Env::system();
    let mut signals = Signals::catch()?;
    let supervisor = Supervisor::from_environment();
    raise_descriptor_limit();
    let directory = state::prepare(&state::directory(arguments.state)?)?;
    let lock = lock(&directory, &mut signals).await?;
    let key = state::key(&env, &directory, arguments.key)?;

    let sockets = bind(&env, &arguments.listen, arguments.admin).await?;
    let names = certificate_names(&arguments.hostname, &sockets);
    let ca = DevCa::load_or_create(&env, &directory, &names)?;
    if ca.was_replaced() {
        let text = "the certificate authority was made anew for the host names; clients must trust the new one";
        console.event("authorityReplaced", json!({"caFile": ca.ca_file()}), text);
    }
    drop(lock);
    let mut ready = ready(&sockets, &arguments.hostname, &directory, key);
    let _admin = on(Relay::builder(), sockets.admin, &ca).build().start().await?;
    let settings = EntitySettings { websocket: WebSocketPaths::AnyPath, ..EntitySettings::default() };
    let policy = AutoCreate { public: arguments.public, events: arguments.events, settings, limit: 0 };
    let namespace = Namespace::new(&ready.namespace)
        .with_rule(Rule::new(RULE, Rights::MANAGE, &ready.key))
        .with_auto_create(policy)
        // `web.localhost` stands for `web`, so that browsers see an origin of its own.
        .with_entity_hosts("*.localhost");
    let builder = Relay::builder().store(MemoryStore::new([namespace]));
    let builder = arguments.metrics.into_iter().fold(builder, RelayBuilder::metrics_listen);
    let relay =
        sockets.listen.into_iter().fold(builder, |builder, bound| on(builder, bound, &ca)).build().start().await?;

    ready.metrics = relay.metrics_addr().map(|address| format!("http://{address}/metrics"));
    announce(arguments.ready, || ready.to_text(), || ready.to_json())?;
    supervisor.ready(&format!("listening on {}", ready.listen.join(" ")));
    tokio::select! {
        _ = signals.next() => {}
        () = supervisor.watch(&env) => {}
    }
    let (open, limit) = (relay.connections(), arguments.drain);
    let draining = drain(open, limit, relay.shutdown(limit), signals, console, &supervisor);
    tokio::select! {
        () = draining => {}
        () = supervisor.watch(&env) => {}
    }
    Ok(())
}

/// As many descriptors as may be: a relayed connection takes two.
fn raise_descriptor_limit() {
    match hybridrelay_relay::raise_descriptor_limit() {
        Ok(limit) => tracing::info!("this process may have {limit}"),
        Err(error) => tracing::warn!(%error, "the limit of descriptors stays as it is"),
    }
}

/// The lock of the state directory. A signal ends the wait for it, and the process.
async fn lock(directory: &Path, signals: &mut Signals) -> Result<Flock<File>, Failure> {
    let directory = directory.to_owned();
    tokio::select! {
        locked = tokio::task::spawn_blocking(move || state::lock(&directory)) => {
            locked.map_err(|error| Failure::io("the state directory cannot be locked", &io::Error::other(error)))?
        }
        signal = signals.next() => signals::exit_by(signal),
    }
}

/// The sockets of a relay.
struct Sockets {
    listen: Vec<Bound>,
    admin: Bound,
}

async fn bind(env: &Env, listen: &[Endpoint], admin: Option<Endpoint>) -> Result<Sockets, Failure> {
    let mut bound = Vec::new();
    if listen.is_empty() {
        for default in [loopback("https", 9443), loopback("http", 9080)] {
            bound.push(bind_at(default, env, Port::OrNext).await?);
        }
    }
    for endpoint in listen {
        bound.push(bind_at(endpoint.clone(), env, Port::Exactly).await?);
    }
    let admin = match admin {
        Some(endpoint) => bind_at(endpoint, env, Port::Exactly).await?,
        None => bind_at(loopback("https", 9444), env, Port::OrNext).await?,
    };
    Ok(Sockets { listen: bound, admin })
}

/// Serves on a socket, with TLS where its address says so.
fn on(builder: RelayBuilder, bound: Bound, ca: &DevCa) -> RelayBuilder {
    let tls = bound.endpoint.is_secure().then(|| ca.server_config());
    builder.listen_on(bound.acceptor, tls)
}

/// What the certificate must name beside `localhost` and its addresses.
fn certificate_names(hostnames: &[String], sockets: &Sockets) -> Vec<String> {
    let mut names = hostnames.to_vec();
    let addresses = sockets.listen.iter().chain([&sockets.admin]).map(|bound| &bound.endpoint);
    for host in addresses.filter(|endpoint| endpoint.is_secure()).filter_map(endpoint::host_to_certify) {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(&host)) {
            names.push(host);
        }
    }
    names
}

fn ready(sockets: &Sockets, hostnames: &[String], directory: &Path, key: String) -> Ready {
    let endpoints = sockets.listen.iter().map(|bound| &bound.endpoint);
    // The bound list is never empty; TLS comes first.
    let main = endpoints.clone().find(|endpoint| endpoint.is_secure()).unwrap_or(&sockets.listen[0].endpoint);
    let namespace = endpoint::host_for_clients(main, hostnames);
    let emulator = if main.is_secure() { "" } else { ";UseDevelopmentEmulator=true" };
    let authority = endpoint::authority(&namespace, main.port());
    Ready {
        ready: true,
        listen: endpoints.map(ToString::to_string).collect(),
        connection_string: format!(
            "Endpoint=sb://{authority}/;SharedAccessKeyName={RULE};SharedAccessKey={key}{emulator}"
        ),
        namespace,
        ca_file: directory.join(state::CA_FILE).to_string_lossy().into_owned(),
        key_name: RULE,
        key,
        admin: sockets.admin.endpoint.to_string(),
        base: format!("{}://{authority}", if main.is_secure() { "https" } else { "http" }),
        metrics: None,
    }
}

fn announce(form: Form, text: impl Fn() -> String, json: impl Fn() -> String) -> Result<(), Failure> {
    let as_text = match form {
        Form::Auto => io::stdout().is_terminal(),
        Form::Text => true,
        Form::Json => false,
    };
    let text = if as_text { text() } else { json() };
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|error| Failure::io("the ready line cannot be written", &error))
}

/// Ends the relay in good order, or at once by another signal.
async fn drain(
    open: usize,
    limit: Duration,
    shutdown: impl Future<Output = ()>,
    mut signals: Signals,
    console: Console,
    supervisor: &Supervisor,
) {
    supervisor.stopping(limit, &format!("waiting for {} to end", connections(open)));
    if open > 0 {
        let text = format!("waiting for {} to end; another signal stops at once", connections(open));
        console.event("draining", json!({"connections": open}), &text);
    }
    tokio::select! {
        () = shutdown => {}
        signal = signals.next() => signals::exit_by(signal),
    }
}
