//! Hosts, the connections between them, and what can go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use super::connection::Connection;
use super::{Event, MOST_POLLS, Own, Random, Record, Trace};

/// The first port that dialling hosts use.
const FIRST_EPHEMERAL_PORT: u16 = 49_152;

/// How many bytes one direction holds between the writer and the reader, by default.
const WINDOW: usize = 64 * 1024;

/// A host's place in the order in which hosts were named.
pub(super) type HostId = usize;

/// Everything that the hosts share.
pub(super) struct World {
    seed: u64,
    beginning: Instant,
    state: Mutex<State>,
    /// The moment of the latest poll of a task, and how many there were in it.
    polls: Mutex<(Instant, u64)>,
    /// Wakes the scenario when there were too many.
    pub(super) scenario: AtomicWaker,
}

pub(super) struct State {
    hosts: Vec<Host>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) next_connection: u64,
    pub(super) bound: BTreeMap<(HostId, u16), Bound>,
    /// Directions, from and to, in which nothing arrives now.
    held: BTreeSet<(HostId, HostId)>,
    refusing: BTreeSet<HostId>,
    hidden: BTreeSet<HostId>,
    pub(super) latency: Duration,
    pub(super) window: usize,
    /// Dials that wait for a path to be open again.
    pub(super) waiting_dials: Vec<Waker>,
    trace: Vec<Record>,
}

struct Host {
    name: Arc<str>,
    ip: IpAddr,
    next_port: u16,
    own: Arc<Own>,
}

/// A port that somebody listens on.
#[derive(Default)]
pub(super) struct Bound {
    /// Reachable from the same host only.
    pub(super) loopback: bool,
    /// Connected and not accepted yet, with the address of who dialled.
    pub(super) backlog: VecDeque<(u64, SocketAddr)>,
    pub(super) acceptor: Option<Waker>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let beginning = tokio::time::Instant::now().into_std();
        Self {
            seed,
            beginning,
            state: Mutex::new(State::new()),
            polls: Mutex::new((beginning, 0)),
            scenario: AtomicWaker::new(),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        tokio::time::Instant::now().into_std().saturating_duration_since(self.beginning)
    }

    /// Counts a poll; false once there were too many without any time passing.
    pub(super) fn count_poll(&self) -> bool {
        let now = tokio::time::Instant::now().into_std();
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, count) = &mut *polls;
        if *at != now {
            (*at, *count) = (now, 0);
        }
        *count += 1;
        *count <= MOST_POLLS
    }

    pub(super) fn trace(&self) -> Trace {
        self.with(|state, _| Trace(state.trace.clone()))
    }

    /// Finds a host, or makes it.
    pub(super) fn host(&self, name: &str) -> (HostId, Arc<Own>) {
        self.with(|state, _| {
            if let Some(id) = state.find(name) {
                return (id, state.hosts[id].own.clone());
            }
            let id = state.hosts.len();
            let [.., high, low] = (id as u32 + 1).to_be_bytes();
            let own = Arc::new(Own { random: Random::new(self.seed, name), wall_offset: AtomicI64::new(0) });
            state.hosts.push(Host {
                name: name.to_ascii_lowercase().into(),
                ip: Ipv4Addr::new(10, 0, high, low).into(),
                next_port: FIRST_EPHEMERAL_PORT,
                own: own.clone(),
            });
            (id, own)
        })
    }

    /// What a host has for itself.
    pub(super) fn named(&self, name: &str) -> Arc<Own> {
        self.with(|state, _| state.hosts[state.known(name)].own.clone())
    }

    pub(super) fn resolve(&self, name: &str) -> io::Result<IpAddr> {
        if let Ok(literal) = name.parse() {
            return Ok(literal);
        }
        if name.eq_ignore_ascii_case("localhost") {
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        let found = self.with(|state, _| {
            let id = state.find(name).filter(|id| !state.hidden.contains(id))?;
            Some(state.hosts[id].ip)
        });
        found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host is known"))
    }

    /// Works on the state, then wakes whoever is concerned: a waker may drop a task, and with it a socket, which needs the
    /// state again.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State, &mut Vec<Waker>) -> T) -> T {
        let mut wakers = Vec::new();
        let result = work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    pub(super) fn record(&self, state: &mut State, event: Event) {
        state.trace.push(Record { at: self.elapsed(), event });
    }
}

impl State {
    fn new() -> Self {
        Self {
            hosts: Vec::new(),
            connections: BTreeMap::new(),
            next_connection: 0,
            bound: BTreeMap::new(),
            held: BTreeSet::new(),
            refusing: BTreeSet::new(),
            hidden: BTreeSet::new(),
            latency: Duration::ZERO,
            window: WINDOW,
            waiting_dials: Vec::new(),
            trace: Vec::new(),
        }
    }

    fn find(&self, name: &str) -> Option<HostId> {
        self.hosts.iter().position(|host| host.name.eq_ignore_ascii_case(name))
    }

    fn known(&self, name: &str) -> HostId {
        self.find(name).unwrap_or_else(|| panic!("no host is named {name:?}"))
    }

    pub(super) fn name(&self, host: HostId) -> Arc<str> {
        self.hosts[host].name.clone()
    }

    pub(super) fn ip(&self, host: HostId) -> IpAddr {
        self.hosts[host].ip
    }

    pub(super) fn host_at(&self, ip: IpAddr) -> Option<HostId> {
        self.hosts.iter().position(|host| host.ip == ip)
    }

    /// A port of this host that nobody listens on.
    pub(super) fn free_port(&mut self, host: HostId) -> io::Result<u16> {
        for _ in FIRST_EPHEMERAL_PORT..=u16::MAX {
            let port = self.hosts[host].next_port;
            self.hosts[host].next_port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
            if !self.bound.contains_key(&(host, port)) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    pub(super) fn is_held(&self, from: HostId, to: HostId) -> bool {
        self.held.contains(&(from, to))
    }

    pub(super) fn refuses(&self, host: HostId) -> bool {
        self.refusing.contains(&host)
    }

    fn between(&mut self, a: HostId, b: HostId) -> impl Iterator<Item = (u64, &mut Connection)> {
        let live = self.connections.iter_mut().map(|(id, connection)| (*id, connection));
        live.filter(move |(_, connection)| connection.ends == [a, b] || connection.ends == [b, a])
    }
}

/// The network of a simulation. What goes wrong stays wrong until it is healed.
///
/// Every method panics if there is no host of a given name.
#[derive(Clone)]
pub struct Network(Arc<World>);

impl Network {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self(world)
    }

    /// How long every byte travels. Default: no time at all.
    pub fn set_latency(&self, one_way: Duration) {
        self.0.with(|state, _| state.latency = one_way);
    }

    /// How many bytes each direction of a connection holds between the writer and the reader; then writing waits. Default:
    /// 64 KiB.
    pub fn set_window(&self, bytes: usize) {
        self.0.with(|state, wakers| {
            state.window = bytes;
            state.connections.values_mut().for_each(|connection| connection.wake(wakers));
        });
    }

    /// Resets every connection between two hosts now; what is under way is lost. New connections work.
    pub fn cut(&self, a: &str, b: &str) {
        self.0.with(|state, wakers| {
            let (a, b) = (state.known(a), state.known(b));
            let cut: Vec<u64> =
                state.between(a, b).filter(|(_, connection)| !connection.is_cut()).map(|(id, _)| id).collect();
            for id in cut {
                if let Some(connection) = state.connections.get_mut(&id) {
                    connection.cut(wakers);
                    self.0.record(state, Event::Cut { connection: id });
                }
            }
        });
    }

    /// From now on nothing passes between two hosts, neither bytes nor ends nor resets, and nobody is told. Dials hang.
    ///
    /// As with TCP, what was sent meanwhile arrives when the path is healed, if both ends are still there then.
    pub fn blackhole(&self, a: &str, b: &str) {
        self.hold(a, b);
        self.hold(b, a);
    }

    /// From now on nothing that `from` sends arrives at `to`; the other direction works. For `from` it looks as if `to` had
    /// stopped reading: as much as the window holds is taken, then writing waits.
    pub fn hold(&self, from: &str, to: &str) {
        self.0.with(|state, _| {
            let direction = (state.known(from), state.known(to));
            state.held.insert(direction);
        });
    }

    /// Ends [`blackhole`](Self::blackhole) and [`hold`](Self::hold) between two hosts.
    pub fn heal(&self, a: &str, b: &str) {
        self.0.with(|state, wakers| {
            let (a, b) = (state.known(a), state.known(b));
            state.held.remove(&(a, b));
            state.held.remove(&(b, a));
            wakers.append(&mut state.waiting_dials);
            let healed: Vec<u64> = state.between(a, b).map(|(id, _)| id).collect();
            for id in healed {
                self.0.healed(state, id, wakers);
            }
        });
    }

    /// Makes a black hole of the connections between two hosts that exist now, for ever; new connections work. A middlebox
    /// that has forgotten its connections does this.
    pub fn strand(&self, a: &str, b: &str) {
        self.0.with(|state, _| {
            let (a, b) = (state.known(a), state.known(b));
            state.between(a, b).for_each(|(_, connection)| connection.strand());
        });
    }

    /// Whether dials to a host are refused, as if nobody listened there.
    pub fn refuse(&self, host: &str, yes: bool) {
        self.0.with(|state, _| {
            let host = state.known(host);
            if yes {
                state.refusing.insert(host)
            } else {
                state.refusing.remove(&host)
            };
        });
    }

    /// Whether a host's name cannot be resolved.
    pub fn hide(&self, host: &str, yes: bool) {
        self.0.with(|state, _| {
            let host = state.known(host);
            if yes {
                state.hidden.insert(host)
            } else {
                state.hidden.remove(&host)
            };
        });
    }
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Network")
    }
}
