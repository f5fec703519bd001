//! What serving and forwarding have in common: everything that comes in gets a task, until the listener ends or is to stop.

use std::convert::Infallible;
use std::future::Future;

use http::{Response, StatusCode, header};
use tokio::sync::mpsc;

use crate::env::BoxFuture;
use crate::{Incoming, Listener, Result};

/// Runs `handle` for everything that comes in. It gets a guard that it keeps until it has given its answer.
///
/// When `stop` completes, what still comes is refused with 503, and the listener closes as soon as every answer was given.
pub(crate) async fn serve<H, F>(listener: Listener, mut stop: BoxFuture<()>, handle: H) -> Result<()>
where
    H: Fn(Incoming, Unanswered) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let (guard, mut answered) = mpsc::channel::<Infallible>(1);
    let mut guard = Some(guard);
    let outcome = loop {
        tokio::select! {
            biased;
            () = &mut stop, if guard.is_some() => guard = None,
            // Nothing is ever sent: it ends with the last guard.
            _ = answered.recv(), if guard.is_none() => {
                listener.close().await;
                return Ok(());
            }
            incoming = listener.accept() => match (incoming, &guard) {
                (Ok(Some(incoming)), Some(guard)) => {
                    listener.env().spawn(handle(incoming, Unanswered(guard.clone())));
                }
                (Ok(Some(incoming)), None) => {
                    listener.env().spawn(refuse(incoming));
                }
                (Ok(None), _) => break Ok(()),
                (Err(error), _) => break Err(error),
            },
        }
    };
    // Answers that go by a rendezvous do not need the listener any more.
    drop(guard);
    let _ = answered.recv().await;
    outcome
}

/// Kept by whoever has still to give an answer.
pub(crate) struct Unanswered(#[allow(dead_code)] mpsc::Sender<Infallible>);

/// A future that never completes: nobody asks to stop.
pub(crate) fn never() -> BoxFuture<()> {
    Box::pin(std::future::pending())
}

async fn refuse(incoming: Incoming) {
    const STOPPING: &str = "The listener is stopping";
    let refused = match incoming {
        Incoming::Connect(connect) => connect.reject(503, STOPPING).await,
        Incoming::Request(request) => {
            let mut response = Response::new(STOPPING);
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
            request.into_parts().1.send(response).await
        }
    };
    if let Err(error) = refused {
        tracing::debug!(%error, "a sender could not be refused");
    }
}
