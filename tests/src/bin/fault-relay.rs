//! A relay that the fault tests kill, stop and start again: told by its one argument, an object of JSON, where to serve and with
//! which authority, so that it is the same relay after it was started again.
//!
//! It says `serving`, and answers commands on its standard input, see `hybridrelay_tests::program`. When that ends, it ends in good
//! order.

// Real sockets and real time are the point here.
#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use anyhow::Result;
use hybridrelay::env::Env;
use hybridrelay_relay::dev_ca::DevCa;
use hybridrelay_relay::{
    AutoCreate, Config, EntitySettings, ListenAddress, MemoryStore, Namespace, Relay, RelayHandle, Rights, Rule,
    WebSocketPaths,
};
use hybridrelay_tests::faults::site::{KEY, NAMESPACE, RULE, Settings};
use hybridrelay_tests::faults::{now, tell};
use hybridrelay_tests::metrics::Samples;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Command {
    /// Tells the number of listeners of a hybrid connection now and at each change, under its name.
    Watch { entity: String },
    /// Tells how the process is.
    Vitals,
}

fn main() -> Result<()> {
    let settings: Settings = serde_json::from_str(&std::env::args().nth(1).unwrap_or_default())?;
    // As many threads as any machine has: what a thread keeps in reserve is not a matter of the machine then.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> Result<()> {
    let env = Env::system();
    let ca = DevCa::load_or_create(&env, &settings.authority, &settings.names)?;
    let mut config = Config::default();
    if let Some(gone) = settings.gone_after {
        config.timings.control_ping = gone / 3;
        config.timings.control_gone = gone;
    }
    let entities = EntitySettings { websocket: WebSocketPaths::AnyPath, ..EntitySettings::default() };
    let policy = AutoCreate { settings: entities, ..AutoCreate::default() };
    let namespace = Namespace::new(NAMESPACE).with_rule(Rule::new(RULE, Rights::MANAGE, KEY)).with_auto_create(policy);
    let relay = Relay::builder()
        .listen(ListenAddress::tls(settings.tls, ca.server_config()))
        .listen(ListenAddress::plain(settings.plain))
        .store(MemoryStore::new([namespace]))
        .config(config)
        .env(env)
        .build();
    let relay = relay.start().await?;
    tell(&json!({"event": "serving", "at": now(), "ca_pem": ca.ca_pem()}));

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Command::Watch { entity } => {
                tokio::spawn(watch(relay.watch_listeners(NAMESPACE, &entity), entity));
            }
            Command::Vitals => tell_vitals(&relay),
        }
    }
    relay.shutdown(Duration::from_secs(2)).await;
    Ok(())
}

async fn watch(mut listeners: tokio::sync::watch::Receiver<usize>, entity: String) {
    loop {
        let count = *listeners.borrow_and_update();
        tell(&json!({"event": "listeners", "id": entity, "count": count, "at": now()}));
        if listeners.changed().await.is_err() {
            return;
        }
    }
}

fn tell_vitals(relay: &RelayHandle) {
    let samples = Samples::from(relay);
    let gauge = |name: &str| samples.sum(name, &[]);
    tell(&json!({
        "event": "vitals",
        "tasks": tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        "connections": relay.connections(),
        "active": gauge("hybridrelay_active_connections"),
        "listeners": gauge("hybridrelay_active_listeners"),
        "sockets": gauge("hybridrelay_sockets"),
    }));
}
