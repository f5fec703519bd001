//! Close codes as the service uses them (protocol.md 3.7, 6.3).

/// A clean end: the program closed.
pub const NORMAL: u16 = 1000;
/// The service is going away, or the entity was deleted or disabled; reconnect.
pub const GOING_AWAY: u16 = 1001;
/// The peer broke the protocol.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A message of a kind that is not accepted.
pub const UNSUPPORTED_DATA: u16 = 1003;
/// Text that is not UTF-8.
pub const INVALID_DATA: u16 = 1007;
/// The token has expired, or its renewal was refused.
pub const POLICY_VIOLATION: u16 = 1008;
/// A message over the limit.
pub const TOO_BIG: u16 = 1009;
/// An internal error of the service, or its daily restart.
pub const INTERNAL_ERROR: u16 = 1011;
