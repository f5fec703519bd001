//! Calls that go on when whoever waits for them gives up.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::call::guard_future;
use crate::calls;
use crate::errors::Result;
use crate::runtime::shut_down;

/// A call at work. Whoever waits for its end may give up: nothing is lost, and whoever waits next gets it. Cheap to clone; when the
/// last clone is dropped, the call is cancelled.
pub struct Background<T: Clone>(Shared<Running<T>>);

/// A task, which ends when nobody is left to be told.
struct Running<T>(JoinHandle<Result<T>>);

impl<T: Clone + Send + Sync + 'static> Background<T> {
    /// Begins it, on the runtime that is current, or else on that of the blocking calls. A panic in it ends it with `INTERNAL`.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if there is no runtime.
    pub fn start(future: impl Future<Output = Result<T>> + Send + 'static) -> Result<Self> {
        // Calls are large, and what is spawned is moved several times.
        let call: Pin<Box<dyn Future<Output = Result<T>> + Send>> = Box::pin(guard_future(future));
        let task = match Handle::try_current() {
            Ok(current) => current.spawn(call),
            Err(error) if error.is_thread_local_destroyed() => calls::get()?.handle().spawn(call),
            Err(_) => calls::get()?.spawn(call),
        };
        Ok(Self(Running(task).shared()))
    }

    /// Waits for its end, which is the same for everybody. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The call's own; `CLOSED` if the runtime was shut down under it.
    pub async fn outcome(&self) -> Result<T> {
        self.0.clone().await
    }

    /// Its end, if it has come.
    pub fn now(&self) -> Option<Result<T>> {
        match self.0.peek() {
            Some(outcome) => Some(outcome.clone()),
            None => self.0.clone().now_or_never(),
        }
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        // A panic is an outcome, so what has none was ended with its runtime.
        Pin::new(&mut self.0).poll(cx).map(|outcome| outcome.unwrap_or_else(|_| Err(shut_down())))
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Clone> Clone for Background<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> fmt::Debug for Background<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("ended", &self.0.peek().is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;
    use crate::call::block_on;
    use crate::errors::Code;

    #[test]
    fn whoever_gives_up_loses_nothing_and_the_last_one_cancels() {
        let (tell, told) = oneshot::channel();
        let call = Background::start(async { Ok(told.await.unwrap_or(0)) }).expect("a runtime");
        assert!(call.now().is_none());
        let gave_up = block_on(call.outcome(), Some(Duration::ZERO)).expect_err("nothing yet");
        assert_eq!(gave_up.code(), Code::WOULD_BLOCK);
        tell.send(7).expect("at work");
        assert_eq!(block_on(call.outcome(), None).expect("an end").expect("success"), 7);
        assert_eq!(call.now().expect("an end").expect("success"), 7);

        let (mut held, holds) = oneshot::channel::<()>();
        let hangs = Background::start(async {
            let _holds = holds;
            std::future::pending::<Result<()>>().await
        });
        drop(hangs);
        block_on(held.closed(), None).expect("cancelled");
    }
}
