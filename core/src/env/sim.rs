//! A simulated environment: hosts, their clocks and the network between them, all in memory.
//!
//! [`run`] plays a scenario on a single thread under a paused clock. Nothing in it depends on the machine: the same seed gives
//! the same [`Trace`], and an hour passes in the time that the work of that hour takes.
//!
//! ```
//! use std::time::Duration;
//!
//! use hybridrelay::env::sim;
//! use tokio::io::AsyncReadExt;
//!
//! let heard = sim::run(1, async |sim| {
//!     let (alice, bob) = (sim.env("alice"), sim.env("bob"));
//!     let mut acceptor = bob.bind(([0, 0, 0, 0], 80).into()).await?;
//!     let _calling = alice.dial(alice.resolve("bob", 80).await?[0]).await?;
//!     let mut called = acceptor.accept().await?;
//!     sim.network().blackhole("alice", "bob");
//!     alice.timeout(Duration::from_secs(3600), called.read_u8()).await.map_or(Ok(None), |byte| byte.map(Some))
//! });
//! assert_eq!(heard.unwrap(), None);
//! ```
//!
//! # Time
//!
//! The clock stands still while any task can run and jumps to the next timer when none can. Let time pass with [`Sim::sleep`]:
//! whatever is due in between happens at its own time. (`tokio::time::advance` would let all of it happen late.) Every host has a
//! wall clock of its own, which runs with the common clock and can be moved; see [`Sim::move_wall_clock`].
//!
//! # What is not simulated
//!
//! TLS works over simulated sockets, but draws its own randomness, so its bytes differ from run to run. Anything that waits
//! for another thread, a file or a real socket leaves the simulation: time then jumps ahead of it. TCP's own timers do not
//! exist: a black hole lasts until it is healed, however long nothing is acknowledged.
#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::AbortHandle;

use super::{Acceptor, BoxFuture, BoxSocket, Env, Environment};

mod connection;
mod network;
mod random;
mod socket;
mod trace;

pub use network::Network;
pub use trace::{Event, Record, Trace};

use network::{HostId, World};
use random::Random;

/// The wall clock of every host when the simulation begins: 2026-01-31 08:15:00 UTC.
const BEGINNING: Duration = Duration::from_secs(1_769_847_300);

/// A scenario that takes longer waits for something that never comes.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// So many polls without any time passing mean that a task wakes itself for ever.
const MOST_POLLS: u64 = 1_000_000;

/// Plays a scenario from its beginning to its end, then stops every task that it left behind.
///
/// # Panics
///
/// If the scenario panics, has not ended after seven days of simulated time, or if tasks run on and on while no time passes.
pub fn run<T>(seed: u64, scenario: impl AsyncFnOnce(Sim) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system");
    runtime.block_on(async {
        let world = Arc::new(World::new(seed));
        let mut scenario = pin!(tokio::time::timeout(LONGEST, scenario(Sim(world.clone()))));
        let ended = poll_fn(|cx| {
            world.scenario.register(cx.waker());
            assert!(world.count_poll(), "a task wakes itself for ever: nothing else can happen any more");
            scenario.as_mut().poll(cx)
        })
        .await;
        ended.expect("the scenario waits for something that never comes: it has not ended within seven simulated days")
    })
}

/// A simulation that is running: made by [`run`]. Cheap to clone.
#[derive(Clone)]
pub struct Sim(Arc<World>);

impl Sim {
    /// The environment of a host. The host comes to be when it is first named; its name is what others resolve.
    ///
    /// # Panics
    ///
    /// If an address or `localhost` is given for a name.
    pub fn env(&self, host: &str) -> Env {
        assert!(
            host.parse::<std::net::IpAddr>().is_err() && !host.eq_ignore_ascii_case("localhost"),
            "{host:?} cannot name a host of its own"
        );
        let (id, own) = self.0.host(host);
        Env::new(SimHost { world: self.0.clone(), id, own })
    }

    /// The network between the hosts, and what can go wrong with it.
    pub fn network(&self) -> Network {
        Network::new(self.0.clone())
    }

    /// How much time has passed since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Lets time pass. What is due meanwhile happens at its own time.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Moves the wall clock of one host by so many seconds, back if negative; its timers do not notice.
    ///
    /// # Panics
    ///
    /// If there is no such host.
    pub fn move_wall_clock(&self, host: &str, seconds: i64) {
        self.0.named(host).wall_offset.fetch_add(seconds, Ordering::Relaxed);
    }

    /// What has happened at the network so far.
    pub fn trace(&self) -> Trace {
        self.0.trace()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("elapsed", &self.elapsed()).finish_non_exhaustive()
    }
}

/// What a host has for itself.
struct Own {
    random: Random,
    /// Seconds by which its wall clock is ahead.
    wall_offset: AtomicI64,
}

/// The environment of one host.
struct SimHost {
    world: Arc<World>,
    id: HostId,
    own: Arc<Own>,
}

impl Environment for SimHost {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn wall_clock(&self) -> SystemTime {
        let offset = self.own.wall_offset.load(Ordering::Relaxed);
        let ahead = Duration::from_secs(offset.unsigned_abs());
        let clock = SystemTime::UNIX_EPOCH + BEGINNING + self.world.elapsed();
        if offset < 0 { clock - ahead } else { clock + ahead }
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        self.own.random.fill(bytes);
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }

    fn spawn(&self, task: BoxFuture<()>) -> AbortHandle {
        tokio::spawn(Counted { world: self.world.clone(), task }).abort_handle()
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let found = self.world.resolve(host).map(|ip| vec![SocketAddr::new(ip, port)]);
        Box::pin(async move { found })
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        let (world, id) = (self.world.clone(), self.id);
        Box::pin(async move { socket::dial(world, id, address).await })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<io::Result<Box<dyn Acceptor>>> {
        let bound = socket::bind(&self.world, self.id, address);
        Box::pin(async move { bound })
    }
}

/// A task that is not polled any more once tasks run on and on.
struct Counted {
    world: Arc<World>,
    task: BoxFuture<()>,
}

impl Future for Counted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.world.count_poll() {
            return self.task.as_mut().poll(cx);
        }
        self.world.scenario.wake();
        Poll::Pending
    }
}
