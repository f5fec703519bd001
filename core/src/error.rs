//! The one error type and its taxonomy (protocol.md 8.4), the same in every language.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What went wrong, with a fixed numeric code that every binding shares.
///
/// Codes never change meaning; new kinds take new numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum ErrorKind {
    /// An argument, connection string or option is not usable; the message names it.
    InvalidArgument = 1,
    /// The credential was refused: token missing, malformed, expired or without the right (401, 403).
    Unauthorized = 2,
    /// There is no such hybrid connection (404 "Endpoint does not exist").
    EndpointNotFound = 3,
    /// The hybrid connection exists, but nobody listens on it.
    NoListeners = 4,
    /// Something took longer than its limit, here or at the relay (408, 504).
    Timeout = 5,
    /// The listener or the relay refused the connection with a status of its own.
    Rejected = 6,
    /// A quota is exhausted, such as the number of listeners.
    QuotaExceeded = 7,
    /// The relay is overloaded or shutting down (429, 503).
    ServerBusy = 8,
    /// An established connection ended without a close: reset, end of file, missed keep-alive, error close code.
    ConnectionLost = 9,
    /// The peer broke the protocol.
    Protocol = 10,
    /// The network failed below TLS: name resolution, TCP connect, reset while opening.
    Network = 11,
    /// TLS failed: untrusted or wrong certificate, handshake alert.
    Tls = 12,
    /// The object was closed by this program.
    Closed = 13,
    /// The connection was converted into bytes; message calls are no longer possible.
    StreamInUse = 14,
    /// The relay does not offer the feature that the call needs; the message names it.
    Unsupported = 15,
    /// A message is longer than the configured limit, here or at the relay (413).
    MessageTooLarge = 16,
    /// A fault of this library. Please report it.
    Internal = 17,
    /// A proxy on the way to the relay wants credentials, or others than those it was given (HTTP 407, SOCKS5).
    ProxyAuthenticationRequired = 18,
}

impl ErrorKind {
    /// Every kind of this version, in the order of their codes.
    pub const ALL: &'static [Self] = &[
        Self::InvalidArgument,
        Self::Unauthorized,
        Self::EndpointNotFound,
        Self::NoListeners,
        Self::Timeout,
        Self::Rejected,
        Self::QuotaExceeded,
        Self::ServerBusy,
        Self::ConnectionLost,
        Self::Protocol,
        Self::Network,
        Self::Tls,
        Self::Closed,
        Self::StreamInUse,
        Self::Unsupported,
        Self::MessageTooLarge,
        Self::Internal,
        Self::ProxyAuthenticationRequired,
    ];

    /// The number that stands for this kind in every language.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// The kind in the words of a sentence.
    fn describe(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid argument",
            Self::Unauthorized => "unauthorized",
            Self::EndpointNotFound => "no such endpoint",
            Self::NoListeners => "no listener is online",
            Self::Timeout => "timed out",
            Self::Rejected => "rejected",
            Self::QuotaExceeded => "quota exceeded",
            Self::ServerBusy => "relay busy",
            Self::ConnectionLost => "connection lost",
            Self::Protocol => "protocol violation",
            Self::Network => "network failure",
            Self::Tls => "TLS failure",
            Self::Closed => "closed",
            Self::StreamInUse => "connection is used as a byte stream",
            Self::Unsupported => "not supported by this relay",
            Self::MessageTooLarge => "message too large",
            Self::Internal => "internal error",
            Self::ProxyAuthenticationRequired => "proxy authentication required",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

/// What failed, why in the relay's own words, and whether a retry can help. Cheap to clone.
///
/// `Display` is one line without the source chain; [`source`](StdError::source) goes on from there. Neither holds keys,
/// signatures, tokens, tickets or query strings.
#[derive(Clone)]
pub struct Error(Arc<Details>);

struct Details {
    kind: ErrorKind,
    message: String,
    status: Option<u16>,
    reason: Option<String>,
    tracking_id: Option<String>,
    close_code: Option<u16>,
    retry_after: Option<Duration>,
    retryable: bool,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Starts an error: its kind and what failed, as a sentence without a full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = matches!(
            kind,
            ErrorKind::NoListeners
                | ErrorKind::Timeout
                | ErrorKind::ServerBusy
                | ErrorKind::ConnectionLost
                | ErrorKind::Network
        );
        Self(Arc::new(Details {
            kind,
            message: message.into(),
            status: None,
            reason: None,
            tracking_id: None,
            close_code: None,
            retry_after: None,
            retryable,
            hint: None,
            source: None,
        }))
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The HTTP status with which the relay or the listener refused, if it did.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Why, in the relay's or the listener's own words: reason phrase, error body or close reason.
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// The id under which the relay's logs know this attempt.
    pub fn tracking_id(&self) -> Option<&str> {
        self.0.tracking_id.as_deref()
    }

    /// The WebSocket close code with which the connection ended, if there was one.
    pub fn close_code(&self) -> Option<u16> {
        self.0.close_code
    }

    /// How long the relay asked to wait before the next attempt (`Retry-After`).
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later without a change.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// What to do about it, where the library knows.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// The same of another kind that is no more worth a retry.
    pub(crate) fn with_kind(self, kind: ErrorKind) -> Self {
        self.edit(|d| d.kind = kind)
    }

    /// Adds the HTTP status of the refusal; 5xx is retryable (protocol.md 8.4).
    pub fn with_status(self, status: u16) -> Self {
        self.edit(|d| {
            d.status = Some(status);
            d.retryable |= d.kind == ErrorKind::Rejected && status >= 500;
        })
    }

    /// Adds the peer's explanation.
    pub fn with_reason(self, reason: impl Into<String>) -> Self {
        self.edit(|d| d.reason = Some(reason.into()))
    }

    /// Adds the relay's tracking id.
    pub fn with_tracking_id(self, id: impl Into<String>) -> Self {
        self.edit(|d| d.tracking_id = Some(id.into()))
    }

    /// Adds the close code with which the connection ended.
    pub fn with_close_code(self, code: u16) -> Self {
        self.edit(|d| d.close_code = Some(code))
    }

    /// Adds the wait that the relay asked for.
    pub fn with_retry_after(self, wait: Duration) -> Self {
        self.edit(|d| d.retry_after = Some(wait))
    }

    /// Adds what the user can do about it.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        self.edit(|d| d.hint = Some(hint.into()))
    }

    /// Adds the error that caused this one.
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.edit(|d| d.source = Some(source.into()))
    }

    fn edit(mut self, change: impl FnOnce(&mut Details)) -> Self {
        // Errors are built before they are shared, so the one owner edits in place.
        if let Some(details) = Arc::get_mut(&mut self.0) {
            change(details);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &*self.0;
        write!(f, "{}", d.message)?;
        match (d.status, &d.reason) {
            (Some(status), Some(reason)) => write!(f, ": {status} {reason}")?,
            (Some(status), None) => write!(f, ": status {status}")?,
            (None, Some(reason)) => write!(f, ": {reason}")?,
            (None, None) => {}
        }
        if let Some(id) = d.tracking_id.as_deref().filter(|id| !d.reason.as_deref().unwrap_or("").contains(id)) {
            write!(f, " (TrackingId {id})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = &*self.0;
        f.debug_struct("Error")
            .field("kind", &d.kind)
            .field("message", &d.message)
            .field("status", &d.status)
            .field("reason", &d.reason)
            .field("tracking_id", &d.tracking_id)
            .field("close_code", &d.close_code)
            .field("retryable", &d.retryable)
            .field("hint", &d.hint)
            .field("source", &d.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
