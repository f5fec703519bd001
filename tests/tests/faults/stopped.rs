//! Processes that are stopped, and go on later as if nothing had happened.

use std::time::Duration;

use hybridrelay_tests::faults::site::{Site, Way};
use hybridrelay_tests::faults::{millis, settled};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{programs, run};

#[test]
fn a_listener_of_a_relay_that_is_stopped_does_not_stay_online_and_is_back_when_it_goes_on() {
    run(async {
        let site = Site::start(&programs(), None).await;
        let peer = site.peer(1, &[]);
        let target = site.target("hyco", Way::Tls);
        peer.listen("listener", &target).await;
        let before = (site.quiet().await, peer.quiet().await);

        let mut noticing = peer.begin(json!({"do": "await-offline", "listener": "listener", "saying": ""})).await;
        let stopped = hybridrelay_tests::faults::now();
        site.relay().signal(Signal::SIGSTOP);
        let noticed = millis(&noticing.expect("offline").await, "since") - stopped;
        assert!(noticed <= 35_000, "online {noticed} ms without a sign of life");
        // Its first attempts, which the kernel takes for the relay, wait for an answer.
        tokio::time::sleep(Duration::from_secs(3)).await;

        site.relay().signal(Signal::SIGCONT);
        peer.back("listener", &target, hybridrelay_tests::faults::now()).await;
        settled(before.0, || site.vitals()).await;
        settled(before.1, || peer.vitals()).await;
    });
}

#[test]
fn a_listener_that_is_stopped_is_gone_for_the_relay_and_back_when_it_goes_on() {
    run(async {
        // As much shorter than the product's 75 s as a test can be.
        let site = Site::start(&programs(), Some(Duration::from_secs(6))).await;
        let (office, phone) = (site.peer(1, &[]), site.peer(2, &[]));
        let target = site.target("hyco", Way::Tls);
        office.listen("listener", &target).await;
        let before = (site.quiet().await, office.quiet().await);
        let mut presence = site.watch("hyco").await;
        assert_eq!(presence.expect("listeners").await["count"], 1);

        let stopped = office.signal(Signal::SIGSTOP);
        // One who comes before the relay has noticed waits for the listener, and is told when it is gone.
        let mut waiting = phone.begin(json!({"do": "connect", "target": target})).await;
        let gone = presence.expect("listeners").await;
        assert_eq!(gone["count"], 0);
        let noticed = millis(&gone, "at") - stopped;
        assert!(noticed <= 6_000 + 3_000, "present {noticed} ms without a sign of life");
        let refused = waiting.expect("refused").await;
        assert!(["NoListeners", "Timeout"].contains(&refused["kind"].as_str().unwrap()), "{refused}");
        assert!(millis(&refused, "took") <= 30_000 + 5_000, "{refused}");
        // One who comes later is told at once.
        let refused = phone.ask(json!({"do": "connect", "target": target}), "refused").await;
        assert_eq!((&refused["kind"], &refused["status"]), (&json!("NoListeners"), &json!(404)), "{refused}");
        assert!(millis(&refused, "took") <= 5_000, "{refused}");

        let goes_on = office.signal(Signal::SIGCONT);
        office.back("listener", &target, goes_on).await;
        phone.echo(&target, 1 << 20).await;
        // The watcher is a task of the relay's process.
        let with_watcher = hybridrelay_tests::faults::site::Vitals { tasks: before.0.tasks + 1, ..before.0 };
        settled(with_watcher, || site.vitals()).await;
        settled(before.1, || office.vitals()).await;
    });
}
