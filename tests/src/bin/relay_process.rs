//! A local relay alone in its process, so that its memory and descriptors can be looked at from outside.
//!
//! `relay_process [tls] [events]` writes one line of JSON (`address`, `key`, `ca`) and serves until its standard input ends. For each
//! line that comes before that it answers with one: `{"connections":…,"tasks":…}`.

#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, Write};

use hybridrelay_relay::{Distribution, Entity, LocalRelay};
use serde_json::{Value, json};
use tokio::runtime::Builder;

fn main() -> anyhow::Result<()> {
    let modes: Vec<String> = std::env::args().skip(1).collect();
    let is = |mode| modes.iter().any(|given| given == mode);
    // As many threads as any machine has: what a thread keeps in reserve is not a matter of the machine then.
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let relay = runtime.block_on(LocalRelay::builder().tls(is("tls")).start())?;
    if is("events") {
        let entity = Entity::new("hyco".parse()?).with_distribution(Distribution::All(Default::default()));
        relay.store().put_entity(relay.namespace(), entity);
    }
    say(&json!({"address": relay.local_addr().to_string(), "key": relay.key(), "ca": relay.ca_pem()}))?;
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
