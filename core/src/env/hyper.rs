//! The environment as hyper sees it: its timer and its executor.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Sleep, Timer};

use super::Env;

/// hyper's timer over the environment's clock.
impl Timer for Env {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(EnvSleep(Self::sleep(self, duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(EnvSleep(Self::sleep_until(self, deadline)))
    }

    fn now(&self) -> Instant {
        Self::now(self)
    }
}

/// hyper's background tasks as the environment's.
impl<F> Executor<F> for Env
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

struct EnvSleep(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Future for EnvSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl Sleep for EnvSleep {}
