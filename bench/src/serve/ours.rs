//! The relay as a user runs it: tokens are asked for, on a runtime with a thread for each core.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use hybridrelay::EntityPath;
use hybridrelay_relay::{
    Distribution, Entity, EventSettings, ListenAddress, MemoryStore, Namespace, Relay, RelayHandle, Rights, Rule,
};

use super::{Tls, announce};

/// The hybrid connection at which every listener gets everything.
pub(crate) const EVENTS: &str = "events";

const RULE: &str = "bench";
const KEY: &str = "a key for measurements on this machine";

pub(super) async fn start(tls: Tls) -> Result<RelayHandle> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (listen, emulator) = match tls {
        Some(tls) => (ListenAddress::tls(loopback, tls), ""),
        None => (ListenAddress::plain(loopback), ";UseDevelopmentEmulator=true"),
    };
    let entity: EntityPath = "bench".parse()?;
    let namespace = Namespace::new("bench")
        .with_rule(Rule::new(RULE, Rights::MANAGE, KEY))
        .with_entity(Entity::new(entity.clone()))
        .with_entity(Entity::new(EVENTS.parse()?).with_distribution(Distribution::All(EventSettings::default())));
    let relay = Relay::builder().listen(listen).store(MemoryStore::new([namespace])).build().start().await?;
    // One address was given, so one is bound.
    let address = relay.local_addrs()[0];
    let connection_string = format!(
        "Endpoint=sb://localhost:{}/;SharedAccessKeyName={RULE};SharedAccessKey={KEY};EntityPath={entity}{emulator}",
        address.port()
    );
    announce(address, Some(connection_string))?;
    Ok(relay)
}
