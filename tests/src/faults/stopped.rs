//! Processes that are stopped, and go on later as if nothing had happened.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::report::Report;
use super::site::{Programs, Site, Way};
use super::{NOTICED, millis, now, settled};

/// The relay's own, unless it is told another: a listener that is silent for so long is gone (decision 19).
const GONE_AFTER: Duration = Duration::from_secs(75);

/// What else it may take: the machine may have much to do.
const NOISE: Duration = Duration::from_secs(5);

/// Stops the relay until its listener has noticed, and a little longer.
pub async fn relay(programs: &Programs) -> Report {
    let site = Site::start(programs, None).await;
    let peer = site.peer(1, &[]);
    let target = site.target("hyco", Way::Tls);
    peer.listen("listener", &target).await;
    let before = (site.quiet().await, peer.quiet().await);

    let stopped = now();
    site.relay().signal(Signal::SIGSTOP);
    let noticed = Duration::from_millis(peer.offline("listener", "").await - stopped);
    assert!(noticed <= NOTICED + NOISE, "online {noticed:?} without a sign of life");
    // Its first attempt, which the kernel takes for the relay, waits for an answer.
    tokio::time::sleep(Duration::from_secs(2)).await;
    site.relay().signal(Signal::SIGCONT);
    let goes_on = now();

    let mut report = Report::default();
    report.fault("relay stopped for 30 s, real", peer.back("listener", &target, goes_on).await);
    let after = settled(before.0, || site.vitals()).await;
    report.process("relay, after it was stopped for 30 s", before.0, after);
    let after = settled(before.1, || peer.vitals()).await;
    report.process("peer, after its relay was stopped for 30 s", before.1, after);
    report
}

/// Stops a listener until the relay has noticed, which by default takes as long as in the product, and asks for it as a sender.
pub async fn listener(programs: &Programs, gone_after: Option<Duration>) -> Report {
    let site = Site::start(programs, gone_after).await;
    let (office, phone) = (site.peer(1, &[]), site.peer(2, &[]));
    let target = site.target("hyco", Way::Tls);
    office.listen("listener", &target).await;
    let mut presence = site.watch("hyco").await;
    assert_eq!(presence.expect("listeners").await["count"], 1);
    let before = (site.quiet().await, office.quiet().await);

    let stopped = office.signal(Signal::SIGSTOP);
    // One who comes before the relay has noticed waits for the listener, and is told in the end.
    let mut waiting = phone.begin(json!({"do": "connect", "target": target})).await;
    let gone = presence.expect("listeners").await;
    assert_eq!(gone["count"], 0);
    let noticed = Duration::from_millis(millis(&gone, "at") - stopped);
    assert!(noticed <= gone_after.unwrap_or(GONE_AFTER) + NOISE, "present {noticed:?} without a sign of life");
    let refused = waiting.expect("refused").await;
    let kind = refused["kind"].as_str().unwrap_or_default();
    assert!(["NoListeners", "Timeout"].contains(&kind), "{refused}");
    // The relay gives an accept 30 s (decision 5).
    assert!(millis(&refused, "took") <= 30_000 + NOISE.as_millis() as u64, "{refused}");
    // One who comes later is told at once.
    let refused = phone.ask(json!({"do": "connect", "target": target}), "refused").await;
    assert_eq!((&refused["kind"], &refused["status"]), (&json!("NoListeners"), &json!(404)), "{refused}");
    assert!(millis(&refused, "took") <= NOISE.as_millis() as u64, "{refused}");

    let goes_on = office.signal(Signal::SIGCONT);
    let mut report = Report::default();
    report.fault("listener stopped until it was gone, real", office.back("listener", &target, goes_on).await);
    phone.echo(&target, 1 << 20).await;
    let after = settled(before.0, || site.vitals()).await;
    report.process("relay, after a listener was stopped", before.0, after);
    let after = settled(before.1, || office.vitals()).await;
    report.process("peer, after it was stopped", before.1, after);
    report
}
