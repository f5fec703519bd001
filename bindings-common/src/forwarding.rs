//! A forwarder in the background, and what fails in it.

use hybridrelay::{Error, ForwardEvent, Forwarder};
use tokio::sync::{mpsc, watch};

use crate::background::Background;
use crate::errors::{Code, Failure, Result};
use crate::turns::Turns;

/// Failures that wait to be taken; more are dropped.
const MOST_FAILURES: usize = 256;

/// A forwarder at work. Dropping it stops taking on more.
pub struct Forwarding {
    running: Background<()>,
    stop: watch::Sender<bool>,
    failures: Turns<mpsc::Receiver<Error>>,
}

impl Forwarding {
    /// Begins to forward. The observer of `forwarder` is set here.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if there is no runtime.
    pub fn start(forwarder: Forwarder) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (tell, failures) = mpsc::channel(MOST_FAILURES);
        let observer = move |event| {
            if let ForwardEvent::Ended(forwarded) = event
                && let Some(error) = forwarded.error
            {
                let error = match error.tracking_id() {
                    Some(_) => error,
                    None => error.with_tracking_id(forwarded.tracking_id),
                };
                // With nobody who takes them there may be no room.
                let _ = tell.try_send(error);
            }
        };
        let stopping = async move {
            let mut stopped = stopped;
            if stopped.wait_for(|stop| *stop).await.is_err() {
                // Nobody is left who could stop it.
                std::future::pending::<()>().await;
            }
        };
        let forwarder = forwarder.observe(observer).with_graceful_shutdown(stopping);
        let running = Background::start(async move { Ok(forwarder.await?) })?;
        Ok(Self { running, stop, failures: Turns::new(failures) })
    }

    /// Stops: what still comes is refused with 503, answers under way are finished, then the listener closes. Connections go on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it has ended. Cancel-safe.
    ///
    /// # Errors
    ///
    /// Why the listener has ended, if not in order; the same each time.
    pub async fn outcome(&self) -> Result<()> {
        self.failures.run(self.running.outcome()).await
    }

    /// Waits for a sender that could not be forwarded, or whose exchange broke off: why. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `END` once the forwarder and its last connection have ended.
    pub async fn failure(&self) -> Result<Error> {
        let ended = || Failure::new(Code::END, "the forwarder has ended");
        self.failures.run(async { self.failures.turn().await.recv().await.ok_or_else(ended) }).await
    }

    /// Whoever waits fails from now on.
    pub fn end(&self) {
        self.failures.end();
    }
}
