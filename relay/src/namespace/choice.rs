//! Which of several listeners is asked.

use http::HeaderName;

/// Which of the listeners of a hybrid connection gets a sender or a request, if several are online.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Any, with equal chances, as at Azure Relay.
    #[default]
    Random,
    /// One that has the fewest senders and requests in flight.
    LeastBusy,
    /// The same for all who have something in common, as long as it is online.
    Sticky(StickyBy),
}

/// What those have in common who get the same listener. Who lacks it gets any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StickyBy {
    /// The sender's address, without its port.
    #[default]
    Address,
    /// The value of a header.
    Header(HeaderName),
    /// The value of a query parameter, as it is written.
    Query(String),
}
