//! A clock that tests move.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hybridrelay::env::{Acceptor, BoxFuture, BoxSocket, Env, Environment};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How far the clock goes at most, all moves together: no deadline of anybody is beyond that.
const FARTHEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How much randomness is drawn at once.
const DRAW: usize = 32;

/// Moves the clocks of an environment. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MovableClock {
    /// By how many nanoseconds, for those who only look.
    moved: Arc<AtomicU64>,
    /// The same, for those who wait.
    moves: watch::Sender<Duration>,
}

impl MovableClock {
    /// An environment like another, whose clocks can be moved, and what moves them.
    pub(crate) fn of(ordinary: Env) -> (Env, Self) {
        let clock = Self { moved: Arc::default(), moves: watch::Sender::new(Duration::ZERO) };
        (Env::new(Moved { ordinary, clock: clock.clone() }), clock)
    }

    /// Moves both clocks. Whatever is due then happens.
    pub(crate) fn advance(&self, by: Duration) {
        self.moves.send_modify(|moved| {
            *moved = moved.saturating_add(by).min(FARTHEST);
            // Before anybody wakes, so that who wakes sees that it is time. A hundred years fit.
            self.moved.store(moved.as_nanos() as u64, Ordering::Release);
        });
    }

    fn moved(&self) -> Duration {
        Duration::from_nanos(self.moved.load(Ordering::Acquire))
    }
}

struct Moved {
    ordinary: Env,
    clock: MovableClock,
}

impl Environment for Moved {
    fn now(&self) -> Instant {
        self.ordinary.now() + self.clock.moved()
    }

    fn wall_clock(&self) -> SystemTime {
        self.ordinary.wall_clock() + self.clock.moved()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(DRAW) {
            part.copy_from_slice(&self.ordinary.random::<DRAW>()[..part.len()]);
        }
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        let (ordinary, mut moves) = (self.ordinary.clone(), self.clock.moves.subscribe());
        Box::pin(async move {
            loop {
                let moved = *moves.borrow_and_update();
                // What no clock can say lies in the past.
                let Some(deadline) = deadline.checked_sub(moved) else { return };
                tokio::select! {
                    biased;
                    () = ordinary.sleep_until(deadline) => return,
                    moved = moves.changed() => if moved.is_err() {
                        // Nobody is left who could move it.
                        return ordinary.sleep_until(deadline).await;
                    },
                }
            }
        })
    }

    fn spawn(&self, task: BoxFuture<()>) -> AbortHandle {
        self.ordinary.spawn(task)
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let (ordinary, host) = (self.ordinary.clone(), host.to_owned());
        Box::pin(async move { ordinary.resolve(&host, port).await })
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        let ordinary = self.ordinary.clone();
        Box::pin(async move { ordinary.dial(address).await })
    }

    fn dial_unix(&self, path: &Path) -> BoxFuture<io::Result<BoxSocket>> {
        let (ordinary, path) = (self.ordinary.clone(), path.to_owned());
        Box::pin(async move { ordinary.dial_unix(&path).await })
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<io::Result<Box<dyn Acceptor>>> {
        let ordinary = self.ordinary.clone();
        Box::pin(async move { ordinary.bind(address).await })
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.ordinary.variable(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_sleeps_wakes_when_the_clock_is_moved_there() {
        let (env, clock) = MovableClock::of(Env::system());
        let hour = Duration::from_secs(3600);
        let (began, wall) = (env.now(), env.wall_clock());
        let mut long = env.sleep(2 * hour);
        let short = env.sleep(hour);
        clock.advance(hour);
        short.await;
        assert!(env.now() >= began + hour && env.wall_clock() >= wall + hour);
        let early = futures_util::future::poll_immediate(&mut long).await;
        assert!(early.is_none(), "half of the time is left");
        clock.advance(hour);
        long.await;
        clock.advance(Duration::MAX);
        assert!(env.now() > began);
    }
}
