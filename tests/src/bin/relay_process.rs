//! A relay alone in its process, so that its memory and descriptors can be looked at from outside. It is none of those that tests
//! steer: what stands between them and their connections is not looked at.
//!
//! `relay_process [tls] [events]` writes one line of JSON (`address`, `key`, `ca`) and serves until its standard input ends. For each
//! line that comes before that it answers with one: `{"connections":…,"tasks":…}`.

#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hybridrelay::env::Env;
use hybridrelay_relay::dev_ca::DevCa;
use hybridrelay_relay::{AutoCreate, Distribution, Entity, ListenAddress, MemoryStore, Namespace, Relay, Rights, Rule};
use serde_json::{Value, json};
use tokio::runtime::Builder;

fn main() -> anyhow::Result<()> {
    let modes: Vec<String> = std::env::args().skip(1).collect();
    let is = |mode| modes.iter().any(|given| given == mode);
    // As many threads as any machine has: what a thread keeps in reserve is not a matter of the machine then.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let env = Env::system();
    let ca = is("tls").then(|| DevCa::ephemeral(&env, &[])).transpose()?;
    let address = ([127, 0, 0, 1], 0).into();
    let listen = match &ca {
        Some(ca) => ListenAddress::tls(address, ca.server_config()),
        None => ListenAddress::plain(address),
    };
    let key = STANDARD.encode(env.random::<32>());
    let store = MemoryStore::new([Namespace::new("localhost")
        .with_rule(Rule::new("RootManageSharedAccessKey", Rights::MANAGE, key.clone()))
        .with_auto_create(AutoCreate::default())]);
    if is("events") {
        let entity = Entity::new("hyco".parse()?).with_distribution(Distribution::All(Default::default()));
        store.put_entity("localhost", entity);
    }
    let relay = runtime.block_on(Relay::builder().listen(listen).store(store).build().start())?;
    let ca_pem = ca.as_ref().map(DevCa::ca_pem);
    say(&json!({"address": relay.local_addrs()[0].to_string(), "key": key, "ca": ca_pem}))?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let tasks = runtime.metrics().num_alive_tasks();
        say(&json!({"connections": relay.connections(), "tasks": tasks}))?;
    }
    Ok(())
}

fn say(value: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}
