//! Three machines in a row: a client behind a firewall, a proxy that both others reach, and the relay.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use hybridrelay::env::Env;
use hybridrelay_relay::dev_ca::DevCa;
use hybridrelay_relay::{
    AutoCreate, Config, EntitySettings, ListenAddress, MemoryStore, Namespace as RelayNamespace, Relay, RelayHandle,
    Rights, Rule, WebSocketPaths,
};
use hybridrelay_tests::netns::{Exit, Namespace};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// The longest that a test may take. Far beyond what a busy machine needs: it only keeps a failing test from hanging.
const PATIENCE: Duration = Duration::from_secs(300);

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 2);

/// The proxy as the client sees it, and as the relay does.
pub(crate) const PROXY: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
pub(crate) const PROXY_AT_RELAY: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
pub(crate) const PROXY_PORT: u16 = 3128;

/// The relay's address, and the name by which machines know it that were told.
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 2);
pub(crate) const RELAY_NAME: &str = "relay.test";

/// Without lookups in a network that is not there.
const NSSWITCH: &str = "passwd: files\nshadow: files\ngroup: files\nhosts: files\n";

const LOCALHOST: &str = "127.0.0.1 localhost\n";

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The machines, and a relay with TLS and one without on the last of them. The client's firewall lets only the proxy's port out.
pub(crate) struct World {
    pub(crate) client: Namespace,
    pub(crate) proxy: Namespace,
    pub(crate) relay: RelayHandle,
    pub(crate) files: TempDir,
}

/// Runs a test on the relay's machine.
pub(crate) fn in_world<F>(config: Config, test: impl FnOnce(World) -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    let (client, proxy, relay) = (Namespace::create("client"), Namespace::create("proxy"), Namespace::create("relay"));
    client.link(CLIENT, &proxy, PROXY, RELAY);
    relay.link(RELAY, &proxy, PROXY_AT_RELAY, CLIENT);
    // The firewall alone keeps the client from the relay.
    proxy.forward();
    client.close_but(Exit { address: PROXY, port: PROXY_PORT });
    for machine in [&client, &proxy] {
        machine.show_etc("nsswitch.conf", NSSWITCH);
    }
    client.show_etc("hosts", LOCALHOST);
    proxy.show_etc("hosts", &hosts());
    let thread = relay.thread(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let world = World::new(client, proxy, config).await;
            tokio::time::timeout(PATIENCE, test(world)).await.expect("the test takes too long");
        });
    });
    let outcome = thread.join();
    drop(relay);
    outcome.unwrap_or_else(|panic| resume_unwind(panic));
}

/// The hosts file of a machine that knows the relay by name.
fn hosts() -> String {
    format!("{LOCALHOST}{RELAY} {RELAY_NAME}\n")
}

impl World {
    async fn new(client: Namespace, proxy: Namespace, config: Config) -> Self {
        let ca = DevCa::ephemeral(&Env::system(), &[RELAY_NAME.to_owned()]).expect("certificates can be made");
        let files = tempfile::tempdir().expect("files can be made");
        fs::write(files.path().join("ca.pem"), ca.ca_pem()).expect("files can be written");
        let settings = EntitySettings { websocket: WebSocketPaths::AnyPath, ..EntitySettings::default() };
        let policy = AutoCreate { settings, ..AutoCreate::default() };
        let namespace =
            RelayNamespace::new("test").with_rule(Rule::new("both", Rights::MANAGE, KEY)).with_auto_create(policy);
        let address = |port| SocketAddr::from((RELAY, port));
        let relay = Relay::builder()
            .listen(ListenAddress::tls(address(443), ca.server_config()))
            .listen(ListenAddress::plain(address(80)))
            .store(MemoryStore::new([namespace]))
            .config(config)
            .build();
        let relay = relay.start().await.expect("the relay starts");
        Self { client, proxy, relay, files }
    }

    /// The connection string of the relay with TLS, by name.
    pub(crate) fn secure(&self) -> String {
        format!("Endpoint=sb://{RELAY_NAME}/;SharedAccessKeyName=both;SharedAccessKey={KEY};EntityPath=hyco")
    }

    /// The connection string of the relay without TLS, by address.
    pub(crate) fn plain(&self) -> String {
        format!(
            "Endpoint=sb://{RELAY}/;SharedAccessKeyName=both;SharedAccessKey={KEY};EntityPath=hyco;UseDevelopmentEmulator=true"
        )
    }

    /// Tells the client the relay's address.
    pub(crate) fn tell_client_the_name(&self) {
        self.client.show_etc("hosts", &hosts());
    }

    /// Lets the client trust another authority.
    pub(crate) fn trust(&self, pem: &str) {
        let trusted = fs::read_to_string(self.file("ca.pem")).expect("files can be read");
        fs::write(self.file("ca.pem"), trusted + pem).expect("files can be written");
    }

    /// Lets the client listen, connect to itself and exchange data. Tells the outcome.
    pub(crate) async fn round_trip(&self, target: &str, variables: &[(&str, &str)], options: &[&str]) -> Value {
        let mut command = self.peer(target, "round-trip");
        command.envs(variables.iter().copied()).args(options);
        let output = command.output().await.expect("the client runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let outcome = serde_json::from_slice(&output.stdout);
        outcome.unwrap_or_else(|_| panic!("the client ended with {} and said:\n{stderr}", output.status))
    }

    /// The client's program for a task, without any proxy in its environment.
    pub(crate) fn peer(&self, target: &str, task: &str) -> Command {
        let mut command = self.client.command(env!("CARGO_BIN_EXE_namespace-peer"));
        for variable in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(variable).env_remove(variable.to_ascii_uppercase());
        }
        command.arg(task).arg("--ca").arg(self.file("ca.pem"));
        command.env("HYBRIDRELAY_CONNECTION_STRING", target);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }
}

/// The URL of the proxy.
pub(crate) fn proxy_url(scheme: &str, user_info: &str) -> String {
    format!("{scheme}://{user_info}{PROXY}:{PROXY_PORT}")
}
