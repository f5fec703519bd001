//! Faults in an order that a seed decides, on real processes in namespaces.

use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::Signal;
use serde_json::json;

use super::middle::{Ending, Middle};
use super::report::Report;
use super::site::{MIDDLE_PORT, Peer, Programs, RELAY, Site, Target, Way};
use super::{now, settled};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    RelayKilled,
    RelayRestarted,
    RelayStopped,
    ListenerStopped,
    Reset,
    BlackHole,
    TlsCut,
    TokenOutage,
}

const FAULTS: [Fault; 8] = [
    Fault::RelayKilled,
    Fault::RelayRestarted,
    Fault::RelayStopped,
    Fault::ListenerStopped,
    Fault::Reset,
    Fault::BlackHole,
    Fault::TlsCut,
    Fault::TokenOutage,
];

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::RelayKilled => "relay killed, real",
            Self::RelayRestarted => "relay restarted in good order, real",
            Self::RelayStopped => "relay stopped, real",
            Self::ListenerStopped => "listener stopped, real",
            Self::Reset => "connections reset, real",
            Self::BlackHole => "black hole, real",
            Self::TlsCut => "TLS cut inside a frame, real",
            Self::TokenOutage => "no tokens to be had, real",
        }
    }
}

/// The listener and its way to the relay.
struct Scene {
    random: Rng,
    site: Site,
    middle: Middle,
    peer: Peer,
    /// For senders, straight to the relay. The listener goes past the middle.
    sends: Target,
}

/// Plays so many faults in several scenes at once, each with a seed of its own from `seed` on.
pub async fn play_at_once(programs: &Programs, seed: u64, count: usize, scenes: usize) -> Report {
    let shares = (0..scenes).map(|scene| (count + scene) / scenes);
    let playing = shares.zip(seed..).map(|(share, seed)| play(programs, seed, share));
    let mut report = Report::default();
    futures_util::future::join_all(playing).await.into_iter().for_each(|scene| report.add(scene));
    report
}

/// Plays so many faults one after the other. After each one the listener is online and echoes; in the end nothing is left behind.
pub async fn play(programs: &Programs, seed: u64, count: usize) -> Report {
    let site = Site::start(programs, None).await;
    let relay_before = site.quiet().await;
    let middle = Middle::start(site.namespace(), (RELAY, MIDDLE_PORT).into(), (RELAY, 443).into());
    let peer = site.peer(1, &[]);
    let (listens, sends) = (site.target("hyco", Way::Middle), site.target("hyco", Way::Tls));
    peer.listen("listener", &listens).await;
    let peer_before = peer.quiet().await;
    let mut scene = Scene { random: Rng::with_seed(seed), site, middle, peer, sends };

    let mut report = Report::default();
    for number in 0..count {
        // Each kind once before any comes again.
        let fault = FAULTS[if number < FAULTS.len() { number } else { scene.random.usize(..FAULTS.len()) }];
        println!("seed {seed}, fault {number}: {fault:?}");
        let healed = scene.play(fault).await;
        report.fault(fault.name(), scene.peer.back("listener", &scene.sends, healed).await);
    }

    let Scene { site, middle, peer, .. } = scene;
    let after = settled(peer_before, || peer.vitals()).await;
    report.process(format!("peer, after {count} faults of the seed {seed}"), peer_before, after);
    peer.finish().await;
    drop(middle);
    let after = settled(relay_before, || site.vitals()).await;
    report.process(format!("relay, after {count} faults of the seed {seed}"), relay_before, after);
    report
}

impl Scene {
    /// Lets something go wrong for a while. Returns when it was healed.
    async fn play(&mut self, fault: Fault) -> u64 {
        match fault {
            Fault::RelayKilled => {
                self.site.kill_relay().await;
                self.lasts(0..1500).await;
                self.site.start_relay().await
            }
            Fault::RelayRestarted => {
                self.site.finish_relay().await;
                self.lasts(0..500).await;
                self.site.start_relay().await
            }
            Fault::RelayStopped => {
                self.site.relay().signal(Signal::SIGSTOP);
                self.lasts(100..2000).await;
                self.site.relay().signal(Signal::SIGCONT);
                now()
            }
            Fault::ListenerStopped => {
                self.peer.signal(Signal::SIGSTOP);
                self.lasts(100..2000).await;
                self.peer.signal(Signal::SIGCONT)
            }
            Fault::Reset => {
                self.middle.cut(Ending::Reset);
                now()
            }
            Fault::BlackHole => {
                self.site.swallow(&self.peer);
                self.lasts(100..3000).await;
                self.site.heal(&self.peer)
            }
            Fault::TlsCut => {
                let ending = if self.random.bool() { Ending::Reset } else { Ending::End };
                let before = self.middle.cuts();
                // What tells the listener of a sender is longer than this.
                self.middle.cut_after(self.random.usize(1..300), ending);
                let mut echoing = self.peer.begin(json!({"do": "echo", "target": self.sends, "size": 100_000})).await;
                self.middle.cut_more_than(before).await;
                self.middle.pass();
                let healed = now();
                echoing.expect("echoed").await;
                healed
            }
            Fault::TokenOutage => {
                self.peer.program().tell(json!({"do": "tokens", "available": false})).await;
                // So that a token is needed.
                self.middle.cut(Ending::Reset);
                self.peer.offline("listener", "no token is to be had").await;
                self.lasts(0..2000).await;
                self.peer.program().tell(json!({"do": "tokens", "available": true})).await;
                now()
            }
        }
    }

    /// Lets the fault last for some milliseconds.
    async fn lasts(&mut self, millis: std::ops::Range<u64>) {
        let duration = Duration::from_millis(self.random.u64(millis));
        tokio::time::sleep(duration).await;
    }
}
