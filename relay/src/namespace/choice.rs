//! Which of several listeners is asked.

use http::HeaderName;

/// Which of the listeners of a hybrid connection gets a sender or a request, if several are online.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// Any, with equal chances, as at Azure Relay.
    #[default]
    Random,
    /// One that has the fewest requests and relayed connections in flight; of several any.
    LeastBusy,
    /// The same for all who have something in common, as long as it is online. One that comes or goes moves only its own share, and
    /// one that comes back under the same id has its share again.
    Sticky(StickyBy),
}

/// What those have in common who get the same listener. Who lacks it gets any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StickyBy {
    /// The sender's address, without its port: an IPv4 address or the /64 of an IPv6 address. Behind a trusted proxy it is what that
    /// says.
    #[default]
    Address,
    /// The value of a header, which the listener gets as well.
    Header(HeaderName),
    /// The value of a query parameter, as it is written; the listener gets it as well.
    Query(String),
}
