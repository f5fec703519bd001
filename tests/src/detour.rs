//! Environments that lead to the network by another way, and are an ordinary one in everything else.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::{Instant, SystemTime};

use hybridrelay::env::{Acceptor, BoxFuture, BoxSocket, Env, Environment};
use tokio::task::AbortHandle;

/// What is another way: lookups, dials, bound addresses. Without an implementation each is that of the ordinary environment.
pub trait Way: Send + Sync + 'static {
    /// The ordinary environment.
    fn ordinary(&self) -> &Env;

    /// As [`Environment::resolve`].
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let (env, host) = (self.ordinary().clone(), host.to_owned());
        Box::pin(async move { env.resolve(&host, port).await })
    }

    /// As [`Environment::dial`].
    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        let env = self.ordinary().clone();
        Box::pin(async move { env.dial(address).await })
    }

    /// As [`Environment::bind`].
    fn bind(&self, address: SocketAddr) -> BoxFuture<io::Result<Box<dyn Acceptor>>> {
        let env = self.ordinary().clone();
        Box::pin(async move { env.bind(address).await })
    }
}

/// An environment with another way. It knows no variables, so that no proxy is between.
pub fn by(way: impl Way) -> Env {
    Env::new(Detour(way))
}

struct Detour<W>(W);

impl<W: Way> Environment for Detour<W> {
    fn now(&self) -> Instant {
        self.0.ordinary().now()
    }

    fn wall_clock(&self) -> SystemTime {
        self.0.ordinary().wall_clock()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.0.ordinary().random::<1>()[0]);
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        self.0.ordinary().sleep_until(deadline)
    }

    fn spawn(&self, task: BoxFuture<()>) -> AbortHandle {
        self.0.ordinary().spawn(task)
    }

    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        self.0.resolve(host, port)
    }

    fn dial(&self, address: SocketAddr) -> BoxFuture<io::Result<BoxSocket>> {
        self.0.dial(address)
    }

    fn bind(&self, address: SocketAddr) -> BoxFuture<io::Result<Box<dyn Acceptor>>> {
        self.0.bind(address)
    }
}
