//! Readers that do not read for a while: what is on its way to them costs as little as is promised, and arrives.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::report::Report;
use super::site::{Peer, Programs, Site, Target, Way, resident};
use crate::program::Events;

/// What a pair that is stalled in one direction costs the relay at most, in KiB: a buffer, larger with TLS.
const PLAIN_PAIR: u64 = 128;
const TLS_PAIR: u64 = 192;

/// What an end that is stalled costs its program at most, in KiB: the message that it sends, 64 KiB that wait, and TLS.
const END: u64 = 256;

/// What a relay and a program with the SDK take once, with their first connections, in KiB: a few pairs are nothing beside it.
const RELAY_ONCE: u64 = 2 * 1024;
const ONCE: u64 = 8 * 1024;

/// How much the kernel keeps for a socket: as little as possible, or it would take most of what is sent; then as much as it likes.
const SMALL: &str = "4096 16384 32768";
const LARGE: &str = "4096 131072 6291456";

/// Everything may have to arrive before anything has arrived whole.
const PATIENCE: Duration = Duration::from_secs(900);

/// Opens so many pairs without TLS and as many with it, and floods each with `size` bytes of which nobody reads any until nothing
/// moves; then everything arrives.
pub async fn play(programs: &Programs, pairs: usize, size: usize) -> Report {
    let site = Site::start(programs, None).await;
    kernel_buffers(&site, SMALL);
    let (listener, sender) = (site.neighbour(), site.neighbour());
    let targets = [("plain", site.target("plain", Way::Plain)), ("tls", site.target("tls", Way::Tls))];
    let mut heard = BTreeMap::new();
    for (name, target) in &targets {
        let command = json!({"do": "listen-deaf", "listener": name, "target": target});
        listener.program().tell(command).await;
        heard.insert(*name, listener.program().events(name));
        listener.online(name).await;
    }

    let resident_now = || [site.relay(), sender.program(), listener.program()].map(resident);
    let before = resident_now();
    let mut floods = BTreeMap::new();
    for (name, target) in &targets {
        floods.insert(*name, begin(&sender, target, pairs, size).await);
    }
    let mut sent = 0;
    for flood in floods.values_mut() {
        let stalled = flood.expect("stalled").await;
        sent += stalled["sent"].as_u64().expect("a number");
    }
    let full = resident_now();
    assert_eq!(site.vitals().await.connections, 2 * pairs as u64);
    assert!(sent < 2 * (pairs * size) as u64 / 2, "nothing slows the senders down: {sent} bytes were taken");
    let [relay, sender_grown, listener_grown] = [0, 1, 2].map(|place| full[place].saturating_sub(before[place]));
    let pairs = pairs as u64;
    let told = format!(
        "{pairs} stalled pairs without TLS and {pairs} with it: relay +{relay} KiB, sender +{sender_grown} KiB, \
         listener +{listener_grown} KiB"
    );
    println!("{told}");
    assert!(relay <= RELAY_ONCE + pairs * (PLAIN_PAIR + TLS_PAIR), "{told}");
    let ends = ONCE + 2 * pairs * END;
    assert!(sender_grown <= ends && listener_grown <= ends, "{told}");

    kernel_buffers(&site, LARGE);
    listener.program().tell(json!({"do": "hear"})).await;
    for (name, _) in &targets {
        let (flood, heard) = (floods.get_mut(name).expect("begun above"), heard.get_mut(name).expect("begun above"));
        let (sent, received) = tokio::join!(digests(flood, "flooded", pairs), digests(heard, "heard", pairs));
        assert_eq!(sent, received);
    }
    listener.finish().await;
    sender.finish().await;
    let mut report = Report::default();
    report.note(told);
    report
}

fn kernel_buffers(site: &Site, sizes: &str) {
    site.namespace().set_parameter("ipv4/tcp_rmem", sizes);
    site.namespace().set_parameter("ipv4/tcp_wmem", sizes);
}

async fn begin(sender: &Peer, target: &Target, pairs: usize, size: usize) -> Events {
    let mut flood = sender.begin(json!({"do": "flood", "target": target, "count": pairs, "size": size})).await;
    flood.expect("open").await;
    flood
}

/// The SHA-256 of what went over each connection, by its path.
async fn digests(events: &mut Events, event: &str, count: u64) -> BTreeMap<String, String> {
    let mut digests = BTreeMap::new();
    for _ in 0..count {
        let told = events.next_within(PATIENCE).await;
        assert_eq!(told["event"], event, "{told}");
        let text = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("sha256").len(), 64, "{told}");
        digests.insert(text("path"), text("sha256"));
    }
    digests
}
