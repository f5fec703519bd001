//! The one door through which time, randomness, tasks and the network come in.
//!
//! Relay, listener and sender take an [`Env`] and touch neither the clock, the operating system's randomness, `tokio::net`
//! nor `tokio::spawn` themselves. [`Env::system`] is the real one; with the feature `sim` a simulated one runs all of them in
//! memory under a paused clock, and the same seed gives the same trace.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

mod hyper;
mod metered;
#[cfg(feature = "sim")]
pub mod sim;
mod system;

pub use metered::Metered;

/// What stands for a wait that ends beyond every clock: a peer may ask for one (`Retry-After`), a program for no limit.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A byte stream to one peer: TCP, TLS over it, or an in-memory pipe.
///
/// Dropping a socket closes it in the transport's ordinary way; after [`abort`](Socket::abort) dropping it resets the
/// transport instead and discards what was not sent, so that the peer sees an error and not an end of stream.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes the drop of this socket a reset.
    fn abort(&mut self);
    /// The peer's transport address.
    fn peer_addr(&self) -> SocketAddr;
    /// Gives the transport up when the peer acknowledges nothing of what was sent for this long, or takes nothing (TCP's user
    /// timeout): for sockets on which nothing may stall. Elsewhere a peer that is alive and does not read would be cut.
    ///
    /// A transport without such a timer ignores it.
    fn set_user_timeout(&mut self, _limit: Duration) {}
}

/// An owned [`Socket`] of any kind.
pub type BoxSocket = Box<dyn Socket>;

impl Socket for BoxSocket {
    fn abort(&mut self) {
        (**self).abort();
    }

    fn peer_addr(&self) -> SocketAddr {
        (**self).peer_addr()
    }

    fn set_user_timeout(&mut self, limit: Duration) {
        (**self).set_user_timeout(limit);
    }
}

impl Socket for tokio_rustls::TlsStream<BoxSocket> {
    fn abort(&mut self) {
        let (socket, _) = self.get_mut();
        socket.abort();
    }

    fn peer_addr(&self) -> SocketAddr {
        let (socket, _) = self.get_ref();
        socket.peer_addr()
    }

    fn set_user_timeout(&mut self, limit: Duration) {
        let (socket, _) = self.get_mut();
        socket.set_user_timeout(limit);
    }
}

/// A bound listening address.
pub trait Acceptor: Send + 'static {
    /// The address that is bound, with the real port.
    fn local_addr(&self) -> SocketAddr;
    /// Waits for the next connection. Cancel-safe.
    fn accept(&mut self) -> Pin<Box<dyn Future<Output = io::Result<BoxSocket>> + Send + '_>>;
}

/// What an environment provides. Implemented by the system and by the simulation; reached through [`Env`].
pub trait Environment: Send + Sync + 'static {
    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// The wall clock, for token expiry and timestamps.
    fn wall_clock(&self) -> SystemTime;
    /// Fills `bytes` with randomness fit for keys and tickets.
    fn fill_random(&self, bytes: &mut [u8]);
    /// Completes when the monotonic clock reaches `deadline`.
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>>;
    /// Runs a task in the background.
    fn spawn(&self, task: BoxFuture<()>) -> AbortHandle;
    /// Resolves a host name to addresses, in the order in which they should be tried.
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>>;
    /// Opens a connection to `address`.
    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>>;
    /// Opens a connection to a Unix domain socket. Without an implementation there are none.
    fn dial_unix(&self, _path: &Path) -> BoxFuture<io::Result<BoxSocket>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
    /// Binds a listening address; port 0 takes any free port.
    fn bind(&self, address: SocketAddr) -> BoxFuture<io::Result<Box<dyn Acceptor>>>;
    /// The environment variable of this name, if it is set and UTF-8. Without an implementation there are none.
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

/// A handle to an [`Environment`], cheap to clone.
#[derive(Clone)]
pub struct Env(Arc<dyn Environment>);

impl Env {
    /// The real environment: the system's clocks, randomness and network, tasks on the current tokio runtime.
    pub fn system() -> Self {
        Self::new(system::System)
    }

    /// An environment of the caller's own.
    pub fn new(environment: impl Environment) -> Self {
        Self(Arc::new(environment))
    }

    /// The monotonic clock.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// The wall clock, for token expiry and timestamps.
    pub fn wall_clock(&self) -> SystemTime {
        self.0.wall_clock()
    }

    /// The wall clock in whole seconds since the Unix epoch.
    pub fn unix_seconds(&self) -> u64 {
        self.wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// `N` random bytes fit for keys and tickets.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_random(&mut bytes);
        bytes
    }

    /// A uniformly distributed number below `bound`; 0 if `bound` is 0.
    pub fn random_below(&self, bound: usize) -> usize {
        if bound <= 1 {
            return 0;
        }
        // A 64-bit draw reduced by multiplication: the bias is below bound / 2^64.
        ((u128::from(u64::from_le_bytes(self.random())) * bound as u128) >> 64) as usize
    }

    /// A uniformly distributed duration between zero and `limit`: full jitter.
    pub fn jitter(&self, limit: Duration) -> Duration {
        limit.mul_f64(f64::from(u32::from_le_bytes(self.random())) / f64::from(u32::MAX))
    }

    /// Completes after `duration`.
    pub fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        let now = self.now();
        self.0.sleep_until(now.checked_add(duration).unwrap_or(now + FOREVER))
    }

    /// Completes when the monotonic clock reaches `deadline`.
    pub fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        self.0.sleep_until(deadline)
    }

    /// Runs `future` for at most `limit`; `None` if it did not complete in time. Dropping cancels both.
    pub async fn timeout<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let now = self.now();
        let deadline = now.checked_add(limit).unwrap_or(now + FOREVER);
        let mut future = pin!(future);
        // What is ready at once needs no timer.
        let mut sleep = None;
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => sleep.get_or_insert_with(|| self.sleep_until(deadline)).as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// Runs a task in the background. The task goes on when the handle is dropped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.0.spawn(Box::pin(task))
    }

    /// Resolves a host name to addresses, in the order in which they should be tried.
    pub async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.resolve(host, port).await
    }

    /// Opens a connection to `address`.
    pub async fn dial(&self, address: SocketAddr) -> io::Result<BoxSocket> {
        self.0.dial(address).await
    }

    /// Opens a connection to a Unix domain socket.
    pub async fn dial_unix(&self, path: &Path) -> io::Result<BoxSocket> {
        self.0.dial_unix(path).await
    }

    /// Binds a listening address; port 0 takes any free port.
    pub async fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Acceptor>> {
        self.0.bind(address).await
    }

    /// The environment variable of this name, if it is set and UTF-8.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.0.variable(name)
    }
}

impl Default for Env {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_beyond_every_clock_is_a_long_wait() {
        let env = Env::system();
        assert_eq!(env.timeout(Duration::MAX, async { 7 }).await, Some(7));
    }
}
