//! Faults in an order that a seed decides, in simulation: hours of them in a second, and every promise kept to the millisecond.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use hybridrelay::env::sim::{self, Event, Sim};
use hybridrelay::token::{SasToken, Token};
use hybridrelay::{Error, ErrorKind, Incoming, Listener, Sender, Status, TokenProvider};
use hybridrelay_relay::{Entity, ListenAddress, MemoryStore, Namespace, Relay, RelayHandle, Rights, Rule};

use super::PROMISE;
use super::report::Report;
use super::site::{KEY, NAMESPACE, RULE, Vitals};
use crate::payload::{self, Kind};

const RELAY: &str = "relay";
const LISTENER: &str = "office";
const SENDER: &str = "phone";
const ENTITY: &str = "hyco";

const SECOND: Duration = Duration::from_secs(1);

/// A path on which an address answers after two of these.
const LATENCY: Duration = Duration::from_millis(50);

/// The relay lets go of a silent side after 150 s, and looks again after as long at most.
const SETTLED: Duration = Duration::from_secs(400);

/// What a listener needs to begin with is over after this.
const QUIET: Duration = Duration::from_secs(1);

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    RelayKilled,
    RelayRestarted,
    RelayMute,
    ListenerMute,
    Reset,
    BlackHole,
    NameLost,
    TokenOutage,
    ClockJump,
}

const FAULTS: [Fault; 9] = [
    Fault::RelayKilled,
    Fault::RelayRestarted,
    Fault::RelayMute,
    Fault::ListenerMute,
    Fault::Reset,
    Fault::BlackHole,
    Fault::NameLost,
    Fault::TokenOutage,
    Fault::ClockJump,
];

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::RelayKilled => "relay killed, simulated",
            Self::RelayRestarted => "relay restarted in good order, simulated",
            Self::RelayMute => "nothing comes from the relay, simulated",
            Self::ListenerMute => "nothing comes from the listener, simulated",
            Self::Reset => "connections reset, simulated",
            Self::BlackHole => "black hole of 1 to 120 s, simulated",
            Self::NameLost => "relay's name not resolved, simulated",
            Self::TokenOutage => "no tokens to be had, simulated",
            Self::ClockJump => "wall clocks jump by hours, simulated",
        }
    }
}

/// Plays so many faults one after the other. After each one the listener is online and echoes; in the end nothing is left behind.
pub fn play(seed: u64, count: usize) -> Report {
    sim::run(seed, async |sim| {
        sim.network().set_latency(LATENCY);
        let store = MemoryStore::new([namespace()]);
        for host in [RELAY, LISTENER, SENDER] {
            sim.env(host);
        }
        let mut scene = Scene {
            random: Rng::with_seed(seed),
            relay: Some(start(&sim, &store).await),
            listener: None,
            outage: Arc::default(),
            store,
            sim,
        };
        scene.listen().await;
        scene.sim.sleep(QUIET).await;
        let before = tasks();
        let mut report = Report::default();
        for number in 0..count {
            let fault = FAULTS[scene.random.usize(..FAULTS.len())];
            println!("simulation {seed}, fault {number} at {:?}: {fault:?}", scene.sim.elapsed());
            let begun = scene.sim.elapsed();
            scene.play(fault).await;
            report.fault(fault.name(), scene.back(begun).await);
            // Sometimes long enough to be trusted again.
            let rest = scene.random.u32(0..60);
            scene.sim.sleep(rest * SECOND).await;
        }
        scene.sim.sleep(SETTLED).await;
        let after = tasks();
        assert_eq!(after, before, "tasks stay behind");
        assert_eq!(scene.relay().connections(), 0);
        assert_eq!(scene.relay().listeners(NAMESPACE, ENTITY).len(), 1);
        let vitals = |tasks| Vitals { tasks, descriptors: 0, connections: 0, active: 0, listeners: 1 };
        report.process(format!("simulation {seed}, after {count} faults"), vitals(before), vitals(after));
        report
    })
}

fn tasks() -> u64 {
    tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64
}

fn namespace() -> Namespace {
    let entity = Entity::new(ENTITY.parse().expect("a valid name"));
    Namespace::new(NAMESPACE).with_rule(Rule::new(RULE, Rights::LISTEN_AND_SEND, KEY)).with_entity(entity)
}

fn connection_string() -> String {
    let credential = format!("SharedAccessKeyName={RULE};SharedAccessKey={KEY}");
    format!("Endpoint=sb://{RELAY}/;{credential};EntityPath={ENTITY};UseDevelopmentEmulator=true")
}

async fn start(sim: &Sim, store: &MemoryStore) -> RelayHandle {
    let listen = ListenAddress::plain(([0, 0, 0, 0], 80).into());
    let relay = Relay::builder().listen(listen).store(store.clone()).env(sim.env(RELAY)).build();
    relay.start().await.expect("port 80 is free")
}

struct Scene {
    random: Rng,
    relay: Option<RelayHandle>,
    listener: Option<Listener>,
    outage: Arc<AtomicBool>,
    store: MemoryStore,
    sim: Sim,
}

impl Scene {
    fn relay(&self) -> &RelayHandle {
        self.relay.as_ref().expect("it was started")
    }

    /// Gets online as a listener that sends everything back.
    async fn listen(&mut self) {
        let (outage, env) = (self.outage.clone(), self.sim.env(LISTENER));
        let tokens = TokenProvider::from_fn(move |audience| {
            let (outage, env) = (outage.clone(), env.clone());
            async move {
                if outage.load(Ordering::Relaxed) {
                    return Err(Error::new(ErrorKind::Network, "no token is to be had"));
                }
                let expires_at = env.wall_clock() + 600 * SECOND;
                Ok(Token::new(SasToken::create(&audience, RULE, KEY, expires_at).to_text(), None))
            }
        });
        let env = self.sim.env(LISTENER);
        let listener = Listener::builder(connection_string()).credential(tokens).env(env.clone()).open();
        let listener = listener.await.expect("the relay is there");
        self.listener = Some(listener.clone());
        let spawner = env.clone();
        env.spawn(async move {
            while let Ok(Some(incoming)) = listener.accept().await {
                spawner.spawn(async move {
                    if let Incoming::Connect(connect) = incoming
                        && let Ok(connection) = connect.accept().await
                    {
                        while let Ok(Some(message)) = connection.receive().await {
                            if connection.send(message).await.is_err() {
                                return;
                            }
                        }
                        let _ = connection.close().await;
                    }
                });
            }
        });
    }

    /// Lets something go wrong for a while.
    async fn play(&mut self, fault: Fault) {
        let network = self.sim.network();
        match fault {
            Fault::RelayKilled => {
                network.cut(RELAY, LISTENER);
                network.cut(RELAY, SENDER);
                self.relay = None;
                self.lasts(0..60).await;
                self.relay = Some(start(&self.sim, &self.store).await);
            }
            Fault::RelayRestarted => {
                let relay = self.relay.take().expect("it was started");
                relay.shutdown(5 * SECOND).await;
                self.lasts(0..60).await;
                self.relay = Some(start(&self.sim, &self.store).await);
            }
            Fault::RelayMute => {
                network.hold(RELAY, LISTENER);
                self.lasts(1..100).await;
                network.heal(RELAY, LISTENER);
            }
            Fault::ListenerMute => {
                network.hold(LISTENER, RELAY);
                self.lasts(1..100).await;
                network.heal(LISTENER, RELAY);
            }
            Fault::Reset => network.cut(RELAY, LISTENER),
            Fault::BlackHole => {
                network.blackhole(LISTENER, RELAY);
                // Half of them longer than it takes to notice.
                let lengths = if self.random.bool() { 1..30 } else { 30..121 };
                self.lasts(lengths).await;
                network.heal(LISTENER, RELAY);
            }
            Fault::NameLost => {
                network.hide(RELAY, true);
                network.cut(RELAY, LISTENER);
                self.lasts(1..60).await;
                network.hide(RELAY, false);
            }
            Fault::TokenOutage => {
                self.outage.store(true, Ordering::Relaxed);
                // Sometimes a token is needed, sometimes the old one lasts.
                if self.random.bool() {
                    network.cut(RELAY, LISTENER);
                }
                self.lasts(1..600).await;
                self.outage.store(false, Ordering::Relaxed);
            }
            Fault::ClockJump => {
                let hours = self.random.i64(-72..=72);
                for host in [RELAY, LISTENER, SENDER] {
                    self.sim.move_wall_clock(host, hours * 3600);
                }
                // The relay looks at its clock once a minute, and the listener too: who is first renews, or is let go and comes back.
                self.lasts(61..120).await;
            }
        }
    }

    /// The fault lasts for so many seconds, and a part of one more.
    async fn lasts(&mut self, seconds: std::ops::Range<u64>) {
        let duration = Duration::from_millis(self.random.u64(seconds.start * 1000..seconds.end * 1000));
        self.sim.sleep(duration).await;
    }

    /// The listener is online within what is promised, a payload goes there and back, and nobody has hammered the relay. Tells how
    /// many milliseconds behind the healing the listener was online.
    async fn back(&self, begun: Duration) -> u64 {
        let healed = self.sim.elapsed();
        let listener = self.listener.as_ref().expect("it listens");
        let mut status = listener.status();
        // What was under way arrives first: an old channel's end, too.
        self.sim.sleep(2 * LATENCY + Duration::from_millis(1)).await;
        while !matches!(status.current(), Status::Online { .. }) {
            status.changed().await.expect("the listener goes on for ever");
        }
        let online = self.sim.elapsed() - healed;
        assert!(online <= PROMISE, "online {online:?} behind the healing");
        self.echo().await;
        let reached = self.sim.elapsed() - healed;
        assert!(reached <= PROMISE, "reached {reached:?} behind the healing");
        assert!(status.current().is_online());

        let trace = self.sim.trace();
        let by_listener = |event: &Event| matches!(event, Event::Dialled { from, .. } if **from == *LISTENER);
        let dials = trace.records().iter().filter(|record| record.at >= begun && by_listener(&record.event)).count();
        // Four at first, then one every 2 s, and some for the echo.
        let most = 8 + (self.sim.elapsed() - begun).as_secs() / 2;
        assert!(dials as u64 <= most, "{dials} dials in {:?}", self.sim.elapsed() - begun);
        u64::try_from(online.as_millis()).expect("a few seconds")
    }

    /// Sends a payload there and back.
    async fn echo(&self) {
        let sender = Sender::builder(connection_string()).env(self.sim.env(SENDER)).build().expect("a good address");
        let size = 50_000;
        let connection = loop {
            match sender.connect().await {
                Ok(connection) => break connection,
                Err(error) => println!("  a sender was refused: {error}"),
            }
            self.sim.sleep(Duration::from_millis(100)).await;
        };
        let sent = payload::message(Kind::Binary, size);
        let expected = payload::digested(&sent);
        let (sending, received) = tokio::join!(connection.send(sent), connection.receive());
        sending.expect("the connection is new");
        let received = received.expect("the connection is new").expect("the listener sends back");
        assert_eq!(payload::digested(&received), expected);
        connection.close().await.expect("the listener closes");
    }
}
