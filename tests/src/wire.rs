//! Relays, SDK ends and independent peers on real sockets.
//!
//! [`setup`] starts relays and joins two SDK ends; [`raw`] is a WebSocket client written by hand, which says exactly what it is
//! told to, also what no library would; [`fake`] is a foreign service for the SDK. Waits are bounded by [`Soon`].

#![allow(clippy::disallowed_methods)]

use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::time::Duration;

pub mod events;
pub mod fake;
pub mod peers;
pub mod process;
pub mod raw;
pub mod requests;
pub mod setup;

/// Longer than anything that works takes, on a machine with a hundred other things to do.
const LIMIT: Duration = Duration::from_secs(90);

/// Puts a generous upper bound on a wait, so that a test fails and does not hang.
pub trait Soon: IntoFuture + Sized {
    /// Waits for the outcome; panics where it was called if none comes.
    #[track_caller]
    fn soon(self) -> impl Future<Output = Self::Output> + Send
    where
        Self::IntoFuture: Send,
    {
        let (future, caller) = (self.into_future(), Location::caller());
        async move {
            match tokio::time::timeout(LIMIT, future).await {
                Ok(output) => output,
                Err(_) => panic!("nothing came within {} s at {caller}", LIMIT.as_secs()),
            }
        }
    }
}

impl<T: IntoFuture> Soon for T {}
