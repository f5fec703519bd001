//! What a test does to a relay: moves its clock, refuses whoever comes next, holds relayed connections up and cuts them.
//!
//! A relay has an instrument only inside of a [`LocalRelay`](crate::LocalRelay). Elsewhere the doors find none, and nothing stands
//! between a relayed connection and its sockets.

use http::Method;

use crate::directory::EntityKey;

mod clock;
mod refuse;
mod tap;

pub(crate) use clock::MovableClock;
use refuse::Refusals;
pub use refuse::{Attempt, NextRefusal};
pub use tap::{ConnectionId, OpenConnection};
pub(crate) use tap::{Tap, Tapped, Taps};

/// The instrument of one relay.
#[derive(Default)]
pub(crate) struct Instrument {
    pub(crate) refusals: Refusals,
    pub(crate) taps: Taps,
}

impl Instrument {
    /// Lists a relayed connection, or a request of this method, which is held up and cut from here.
    pub(crate) fn tap(&self, entity: &EntityKey, tracking_id: String, method: Option<&Method>) -> Tapped {
        self.taps.enter(entity, tracking_id, method)
    }

    /// Lists a control channel in the same way.
    pub(crate) fn tap_control(&self, entity: &EntityKey, tracking_id: String) -> Tapped {
        self.taps.enter_control(entity, tracking_id)
    }
}
