//! Objects that are asked for one thing after the other, and of which nothing is lost when whoever waits gives up.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use hybridrelay::{
    Connection, EndpointEvent, EndpointEvents, Event, Events, Incoming, Listener, Message, Presence, PresenceEvent,
    PresenceEvents, Status, StatusWatcher,
};

use crate::errors::Result;
use crate::returns::{Returns, Taken};
use crate::turns::Turns;

/// What yields one thing after the other.
pub trait Source: Send + Sync + 'static {
    /// What it yields.
    type Item: Send + 'static;

    /// Whether it skips what nobody looks at in time, so that whoever waits for it must not depend on when a host that is busy looks.
    const SKIPS: bool = false;

    /// The next. Cancel-safe.
    fn next(&self) -> impl Future<Output = Result<Self::Item>> + Send;
}

/// A source, and what has come of it and was not taken by the program, which goes to whoever asks next. Cheap to clone.
pub struct Following<S: Source>(Arc<Followed<S>>);

struct Followed<S: Source> {
    source: S,
    came: Returns<Result<S::Item>>,
}

impl<S: Source> Following<S> {
    /// Nothing has come yet.
    pub fn new(source: S) -> Self {
        Self(Arc::new(Followed { source, came: Returns::default() }))
    }

    /// What comes next, a failure included: what was left, else what the source yields. Cancel-safe.
    pub async fn next(&self) -> Taken<Result<S::Item>> {
        self.0.came.next_of(self.0.source.next()).await
    }

    /// Takes what was left, for whoever goes on in another way.
    pub fn left(&self) -> Vec<S::Item> {
        self.0.came.left().into_iter().flatten().collect()
    }
}

/// What is asked, for everything else that it can do.
impl<S: Source> Deref for Following<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0.source
    }
}

impl<S: Source> Clone for Following<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Source for Connection {
    type Item = Option<Message>;

    async fn next(&self) -> Result<Self::Item> {
        Ok(self.receive().await?)
    }
}

impl Source for Listener {
    type Item = Option<Incoming>;

    async fn next(&self) -> Result<Self::Item> {
        Ok(self.accept().await?)
    }
}

impl Source for Events {
    type Item = Option<Event>;

    async fn next(&self) -> Result<Self::Item> {
        Ok(Events::next(self).await?)
    }
}

/// The newest status.
impl Source for Turns<StatusWatcher> {
    type Item = Option<Status>;

    const SKIPS: bool = true;

    async fn next(&self) -> Result<Self::Item> {
        Ok(self.turn().await.changed().await)
    }
}

/// What happens, and who is there now.
impl Source for Turns<PresenceEvents> {
    type Item = (PresenceEvent, Presence);

    async fn next(&self) -> Result<Self::Item> {
        let mut events = self.turn().await;
        let event = events.next().await?;
        Ok((event, events.current().clone()))
    }
}

impl Source for Turns<EndpointEvents> {
    type Item = EndpointEvent;

    async fn next(&self) -> Result<Self::Item> {
        Ok(self.turn().await.next().await?)
    }
}

/// What happens at a relay, and how many were missed so far.
impl Source for Turns<hybridrelay_relay::Events> {
    type Item = (Option<Arc<hybridrelay_relay::Event>>, u64);

    async fn next(&self) -> Result<Self::Item> {
        let mut events = self.turn().await;
        let event = events.next().await;
        Ok((event, events.missed()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::mpsc;

    use super::*;
    use crate::errors::Failure;

    impl Source for Turns<mpsc::UnboundedReceiver<Result<u32>>> {
        type Item = u32;

        async fn next(&self) -> Result<u32> {
            self.turn().await.recv().await.expect("the sender lives")
        }
    }

    #[test]
    fn what_came_for_a_wait_that_was_given_up_comes_again_failures_included() {
        let (sender, receiver) = mpsc::unbounded_channel();
        let following = Following::new(Turns::new(receiver));
        assert!(following.next().now_or_never().is_none(), "given up before anything came");
        for came in [Ok(1), Err(Failure::invalid("broken")), Ok(2), Ok(3)] {
            sender.send(came).expect("it is followed");
        }
        let next = || following.next().now_or_never().expect("it is there");
        let (one, broken) = (next(), next());
        assert_eq!(next().keep().expect("no failure"), 2);
        drop((broken, one));
        assert_eq!(next().keep().expect("no failure"), 1);
        assert_eq!(next().keep().expect_err("a failure").to_string(), "broken");
        drop(next());
        assert_eq!(following.clone().left(), [3]);
    }
}
