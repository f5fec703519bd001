//! Calls that go on when whoever waits for them gives up.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::call::guard_future;
use crate::calls;
use crate::errors::Result;
use crate::runtime::shut_down;

/// A call at work. Whoever waits for its end may give up: nothing is lost, and whoever waits next gets it. Cheap to clone; when the
/// last clone is dropped, the call is cancelled.
pub struct Background<T>(Arc<Running<T>>);

struct Running<T> {
    outcome: watch::Receiver<Option<Result<T>>>,
    task: AbortHandle,
}

impl<T: Clone + Send + Sync + 'static> Background<T> {
    /// Begins it, on the runtime that is current, or else on that of the blocking calls. A panic in it ends it with `INTERNAL`.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if there is no runtime.
    pub fn start(future: impl Future<Output = Result<T>> + Send + 'static) -> Result<Self> {
        let (sender, outcome) = watch::channel(None);
        let running = async move {
            let ended = guard_future(future).await;
            // Nobody may be left to be told.
            let _ = sender.send(Some(ended));
        };
        let runtime = match Handle::try_current() {
            Ok(current) => current,
            Err(_) => calls::get()?.handle().clone(),
        };
        let task = runtime.spawn(running).abort_handle();
        Ok(Self(Arc::new(Running { outcome, task })))
    }

    /// Waits for its end, which is the same for everybody. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The call's own; `CLOSED` if the runtime was shut down under it.
    pub async fn outcome(&self) -> Result<T> {
        let mut outcome = self.0.outcome.clone();
        let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|ended| (*ended).clone());
        ended.unwrap_or_else(|| Err(shut_down()))
    }

    /// Its end, if it has come.
    pub fn now(&self) -> Option<Result<T>> {
        self.0.outcome.borrow().clone()
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T> Clone for Background<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Background<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("ended", &self.0.outcome.borrow().is_some()).finish_non_exhaustive()
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
