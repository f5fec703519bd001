//! The one table of errors: codes, names and texts, from which every language makes its own.

use std::fmt;

use hybridrelay::{Error, ErrorKind};

/// What a call came to, as a number that never changes its meaning: 0 is success, 1 to 99 are the kinds of the SDK, from 100 on come
/// those that exist only where two languages meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub u32);

impl Code {
    /// Success.
    pub const OK: Self = Self(0);
    /// Nothing has come yet, and the call was not to wait.
    pub const WOULD_BLOCK: Self = Self(100);
    /// The program cancelled the operation.
    pub const CANCELLED: Self = Self(101);
    /// The handle is none, or its object was closed or released.
    pub const INVALID_HANDLE: Self = Self(102);
    /// The object comes from before a `fork`, of which this process is the child.
    pub const FORKED: Self = Self(103);
    /// A sequence has ended in order: no further message, request or event comes.
    pub const END: Self = Self(104);

    /// The code of a kind of the SDK.
    pub fn of(kind: ErrorKind) -> Self {
        Self(kind.code())
    }

    /// The row of the table; `None` for a number that this version does not know.
    pub fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.code == self)
    }

    /// The name, such as `NO_LISTENERS`; `UNKNOWN` for a number that this version does not know.
    pub fn name(self) -> &'static str {
        self.row().map_or("UNKNOWN", |row| row.name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number.
    pub code: Code,
    /// In capitals with underscores, without a prefix: languages add theirs.
    pub name: &'static str,
    /// What it means, for documentation.
    pub text: &'static str,
}

const fn row(code: u32, name: &'static str, text: &'static str) -> Row {
    Row { code: Code(code), name, text }
}

/// Every code, in ascending order.
pub const TABLE: &[Row] = &[
    row(0, "OK", "Success."),
    row(1, "INVALID_ARGUMENT", "An argument, connection string or option is not usable; the message names it."),
    row(2, "UNAUTHORIZED", "The credential was refused: token missing, malformed, expired or without the right."),
    row(3, "ENDPOINT_NOT_FOUND", "There is no such hybrid connection."),
    row(4, "NO_LISTENERS", "The hybrid connection exists, but nobody listens on it."),
    row(5, "TIMEOUT", "Something took longer than its limit, here or at the relay."),
    row(6, "REJECTED", "The listener or the relay refused the connection with a status of its own."),
    row(7, "QUOTA_EXCEEDED", "A quota is exhausted, such as the number of listeners."),
    row(8, "SERVER_BUSY", "The relay is overloaded or shutting down."),
    row(9, "CONNECTION_LOST", "An established connection ended without a close."),
    row(10, "PROTOCOL", "The peer broke the protocol."),
    row(11, "NETWORK", "The network failed below TLS: name resolution, TCP connect, reset while opening."),
    row(12, "TLS", "TLS failed: untrusted or wrong certificate, handshake alert."),
    row(13, "CLOSED", "The object was closed by this program."),
    row(14, "STREAM_IN_USE", "The connection was converted into bytes; message calls are no longer possible."),
    row(15, "UNSUPPORTED", "The relay does not offer the feature that the call needs; the message names it."),
    row(16, "MESSAGE_TOO_LARGE", "A message is longer than the configured limit."),
    row(17, "INTERNAL", "A fault of this library. Please report it."),
    row(18, "PROXY_AUTHENTICATION_REQUIRED", "A proxy on the way to the relay wants credentials, or others."),
    row(100, "WOULD_BLOCK", "Nothing has come yet, and the call was not to wait."),
    row(101, "CANCELLED", "The program cancelled the operation."),
    row(102, "INVALID_HANDLE", "The handle is none, or its object was closed or released."),
    row(103, "FORKED", "The object comes from before a fork; make a new one in the child."),
    row(104, "END", "The sequence has ended in order."),
];

/// Why a call failed: the SDK's error, or one of the boundary.
#[derive(Clone, Debug)]
pub enum Failure {
    /// Of the SDK.
    Core(Error),
    /// Of the boundary, with what to say about it.
    Boundary(Code, String),
}

impl Failure {
    /// A failure of the boundary.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self::Boundary(code, message.into())
    }

    /// An argument that cannot be used.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Core(Error::new(ErrorKind::InvalidArgument, message))
    }

    /// The limit that the program has set for its own call has passed, and not one of the SDK or the relay.
    pub fn out_of_time(message: impl Into<String>) -> Self {
        Self::Boundary(Code::of(ErrorKind::Timeout), message.into())
    }

    /// Whether it is [`out_of_time`](Self::out_of_time).
    pub fn is_out_of_time(&self) -> bool {
        matches!(self, Self::Boundary(code, _) if *code == Code::of(ErrorKind::Timeout))
    }

    /// The number that stands for it in every language.
    pub fn code(&self) -> Code {
        match self {
            Self::Core(error) => Code::of(error.kind()),
            Self::Boundary(code, _) => *code,
        }
    }

    /// The SDK's error, if it is one.
    pub fn core(&self) -> Option<&Error> {
        match self {
            Self::Core(error) => Some(error),
            Self::Boundary(..) => None,
        }
    }

    /// What lies behind it, the nearest first.
    pub fn causes(&self) -> Vec<String> {
        let first = std::error::Error::source(self);
        std::iter::successors(first, |cause| cause.source()).map(ToString::to_string).collect()
    }

    /// Whether the same call may succeed later without a change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Core(error) => error.is_retryable(),
            Self::Boundary(code, _) => *code == Code::WOULD_BLOCK || self.is_out_of_time(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Core(error) => fmt::Display::fmt(error, f),
            Self::Boundary(_, message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.core().and_then(std::error::Error::source)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

/// The result of a call at the boundary.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_sdk_has_its_row_and_names_are_unique() {
        // Kinds have no list of their own: they are numbered without gaps, and each name is the kind's own.
        let name = |kind: ErrorKind| {
            let mut name = String::new();
            for (at, letter) in format!("{kind:?}").char_indices() {
                if at > 0 && letter.is_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        };
        for kind in ErrorKind::ALL {
            assert_eq!(Code::of(*kind).name(), name(*kind));
        }
        assert_eq!(TABLE.iter().filter(|row| (1..100).contains(&row.code.0)).count(), ErrorKind::ALL.len());
        assert!(TABLE.is_sorted_by(|a, b| a.code < b.code), "ascending and unique");
        let names: std::collections::BTreeSet<_> = TABLE.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn a_code_from_a_later_version_is_unknown_and_no_failure() {
        assert_eq!((Code(77).row(), Code(77).name()), (None, "UNKNOWN"));
    }
}
