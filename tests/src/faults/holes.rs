//! Holes that swallow every packet for a while.

use std::time::Duration;

use serde_json::json;

use super::report::Report;
use super::site::{Peer, Programs, Site, Way};
use super::{NOTICED, settled};

/// What it may take more to notice a hole: the machine may have much to do.
const NOISE: Duration = Duration::from_secs(5);

/// A hole of up to so many seconds is no reason to be offline: a Ping may be unanswered for 10 s.
const UNNOTICED: u64 = 5;

/// A connection stays over a hole of up to so many seconds: its Pings, too, may be unanswered for 10 s.
const SURVIVED: u64 = 5;

/// Plays holes of these lengths in seconds, all at once, each before a host of its own.
pub async fn play(programs: &Programs, lengths: &[u64]) -> Report {
    let site = Site::start(programs, None).await;
    let before = site.quiet().await;
    let holes = lengths.iter().zip(1..).map(|(length, number)| hole(&site, number, *length));
    let reports = futures_util::future::join_all(holes).await;
    let after = settled(before, || site.vitals()).await;
    let mut report = Report::default();
    reports.into_iter().for_each(|hole| report.add(hole));
    report.process("relay, after black holes", before, after);
    report
}

async fn hole(site: &Site, number: u8, length: u64) -> Report {
    let peer = site.peer(number, &[]);
    let target = site.target(&format!("hole-{length}"), Way::Tls);
    peer.listen("listener", &target).await;
    let before = peer.quiet().await;
    peer.ask(json!({"do": "keep", "connection": "kept", "target": target}), "kept").await;

    let begun = site.swallow(&peer);
    let ending = tokio::time::sleep(Duration::from_secs(length));
    if Duration::from_secs(length) > NOTICED + NOISE {
        let noticed = Duration::from_millis(peer.offline("listener", "").await - begun);
        assert!(noticed <= NOTICED + NOISE, "a hole of {length} s was noticed after {noticed:?}");
    }
    ending.await;
    let healed = site.heal(&peer);
    let online = peer.back("listener", &target, healed).await;
    if length <= UNNOTICED {
        assert!(peer.online("listener").await < begun, "a hole of {length} s is none to speak of");
    }
    exchange(&peer, length).await;

    let after = settled(before, || peer.vitals()).await;
    peer.finish().await;
    let mut report = Report::default();
    report.fault(&format!("black hole of {length:>3} s, real"), online);
    report.process(format!("peer, after a black hole of {length:>3} s"), before, after);
    report
}

/// The connection from before goes on or says that it is lost; it does not keep its user waiting for ever.
async fn exchange(peer: &Peer, length: u64) {
    let mut exchanging = peer.begin(json!({"do": "exchange", "connection": "kept"})).await;
    let outcome = exchanging.next().await;
    let lost = outcome["event"] == "lost" && outcome["kind"] == "ConnectionLost";
    assert!(outcome["event"] == "exchanged" || (lost && length > SURVIVED), "a hole of {length} s: {outcome}");
    peer.program().tell(json!({"do": "release", "connection": "kept"})).await;
}
