//! Refusals that a test has ordered.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use hybridrelay::protocol::refusal::ENDPOINT_DOES_NOT_EXIST;
use hybridrelay::{Error, ErrorKind, Result};

use crate::node::lock;
use crate::refusal::Refusal;

/// What somebody comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attempt {
    /// A listener opens its control channel.
    Listen,
    /// A sender opens a connection.
    Connect,
    /// A sender makes an HTTP request.
    Request,
}

/// With what the relay refuses whoever comes next: a status from 400 to 599, which is what a number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextRefusal {
    status: u16,
    attempt: Option<Attempt>,
    reason: String,
    retry_after: Option<Duration>,
}

impl NextRefusal {
    /// With this status, whatever somebody comes for. A 404 is told in the words in which a relay tells that a hybrid connection does
    /// not exist.
    pub fn new(status: u16) -> Self {
        let reason = if status == 404 { ENDPOINT_DOES_NOT_EXIST } else { "The test refuses this" };
        Self { status, attempt: None, reason: reason.to_owned(), retry_after: None }
    }

    /// Only who comes for this; all others pass.
    pub fn of(self, attempt: Attempt) -> Self {
        Self { attempt: Some(attempt), ..self }
    }

    /// What it is told: the reason phrase begins with it, and so does the message of the error body. What cannot stand in a status line
    /// is encoded or left out.
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// After which time it may come again, as `Retry-After` says it: in whole seconds, rounded up, and one at least. Default: the refusal
    /// does not say. A listener waits for as long, up to five minutes; anybody else finds it in
    /// [`Error::retry_after`](hybridrelay::Error::retry_after).
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

impl From<u16> for NextRefusal {
    fn from(status: u16) -> Self {
        Self::new(status)
    }
}

/// The refusals that are to come, in their order.
#[derive(Default)]
pub(crate) struct Refusals {
    /// How many, so that whoever comes to a relay that refuses nothing takes no lock.
    count: AtomicUsize,
    orders: Mutex<VecDeque<Order>>,
}

struct Order {
    attempt: Option<Attempt>,
    refusal: Refusal,
}

impl Refusals {
    pub(crate) fn order(&self, next: NextRefusal) -> Result<()> {
        let NextRefusal { status, attempt, reason, retry_after } = next;
        let error = StatusCode::from_u16(status).ok().filter(|_| (400..600).contains(&status));
        let Some(status) = error else {
            let text = format!("a relay refuses with a status from 400 to 599, not with {status}");
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        };
        let refusal = Refusal::instructed(status, reason, retry_after);
        let mut orders = lock(&self.orders);
        orders.push_back(Order { attempt, refusal });
        self.count.store(orders.len(), Ordering::Release);
        Ok(())
    }

    /// Refuses an attempt, if that was ordered.
    pub(crate) fn check(&self, attempt: Attempt) -> std::result::Result<(), Refusal> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let mut orders = lock(&self.orders);
        let meant = |order: &Order| order.attempt.is_none_or(|wanted| wanted == attempt);
        let order = orders.iter().position(meant).and_then(|at| orders.remove(at));
        self.count.store(orders.len(), Ordering::Release);
        order.map_or(Ok(()), |order| Err(order.refusal))
    }
}
