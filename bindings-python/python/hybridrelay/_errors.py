"""What can go wrong: one exception with a kind, and subclasses for ``except`` clauses."""

from __future__ import annotations

import enum
from typing import Any


__all__ = [
    "Closed",
    "ConnectionLost",
    "EndpointNotFound",
    "ErrorKind",
    "Forked",
    "InternalError",
    "InvalidArgument",
    "MessageTooLarge",
    "NetworkError",
    "NoListeners",
    "ProtocolError",
    "ProxyAuthenticationRequired",
    "QuotaExceeded",
    "Rejected",
    "RelayError",
    "ServerBusy",
    "StreamInUse",
    "Timeout",
    "TlsError",
    "Unauthorized",
    "Unsupported",
]


class ErrorKind(enum.IntEnum):
    """What kind of failure it is. The numbers are the same in every language and never change their meaning."""

    INVALID_ARGUMENT = 1
    UNAUTHORIZED = 2
    ENDPOINT_NOT_FOUND = 3
    NO_LISTENERS = 4
    TIMEOUT = 5
    REJECTED = 6
    QUOTA_EXCEEDED = 7
    SERVER_BUSY = 8
    CONNECTION_LOST = 9
    PROTOCOL = 10
    NETWORK = 11
    TLS = 12
    CLOSED = 13
    STREAM_IN_USE = 14
    UNSUPPORTED = 15
    MESSAGE_TOO_LARGE = 16
    INTERNAL = 17
    PROXY_AUTHENTICATION_REQUIRED = 18
    WOULD_BLOCK = 100
    CANCELLED = 101
    INVALID_HANDLE = 102
    FORKED = 103
    END = 104


class RelayError(Exception):
    """What failed, why in the relay's own words, and whether a retry can help.

    ``str(error)`` is one line that says all of it. Keys, signatures and tokens are never part of it.
    """

    kind: ErrorKind
    """What kind of failure it is."""
    status: int | None
    """The HTTP status with which the relay or the listener refused, if it did."""
    reason: str | None
    """Why, in the relay's or the listener's own words."""
    tracking_id: str | None
    """The id under which the relay's logs know the attempt."""
    retryable: bool
    """Whether the same call may succeed later without a change."""
    hint: str | None
    """What to do about it, where the library knows."""
    close_code: int | None
    """The WebSocket close code with which a connection ended, if there was one."""
    retry_after: float | None
    """How many seconds the relay asked to wait."""

    def __init__(
        self,
        message: str = "",
        *,
        kind: ErrorKind = ErrorKind.INTERNAL,
        status: int | None = None,
        reason: str | None = None,
        tracking_id: str | None = None,
        retryable: bool = False,
        hint: str | None = None,
        close_code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.reason = reason
        self.tracking_id = tracking_id
        self.retryable = retryable
        self.hint = hint
        self.close_code = close_code
        self.retry_after = retry_after

    def __str__(self) -> str:
        # OSError, from which some subclasses derive, has a text of its own.
        message: str = self.args[0] if self.args else ""
        return message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_unpickle, (type(self), self.args), self.__dict__)


def _unpickle(cls: type[RelayError], args: tuple[Any, ...]) -> RelayError:
    return cls(*args)


class InvalidArgument(RelayError, ValueError):
    """An argument, connection string or option is not usable; the message names it."""


class Unauthorized(RelayError, PermissionError):
    """The credential was refused: the token is missing, malformed, expired or without the right."""


class ProxyAuthenticationRequired(RelayError, PermissionError):
    """A proxy on the way to the relay wants credentials, or others."""


class EndpointNotFound(RelayError, ConnectionError):
    """There is no such hybrid connection."""


class NoListeners(RelayError, ConnectionError):
    """The hybrid connection exists, but nobody listens on it."""


class Timeout(RelayError, TimeoutError):
    """Something took longer than its limit, here or at the relay."""


class Rejected(RelayError, ConnectionError):
    """The listener or the relay refused with a status of its own."""


class QuotaExceeded(RelayError, ConnectionError):
    """A quota is exhausted, such as the number of listeners."""


class ServerBusy(RelayError, ConnectionError):
    """The relay is overloaded or shutting down."""


class ConnectionLost(RelayError, ConnectionError):
    """An established connection ended without a close."""


class ProtocolError(RelayError, ConnectionError):
    """The peer broke the protocol."""


class NetworkError(RelayError, ConnectionError):
    """The network failed below TLS: name resolution, TCP connect, reset while opening."""


class TlsError(RelayError, ConnectionError):
    """TLS failed: untrusted or wrong certificate, handshake alert."""


class Closed(RelayError):
    """The object was closed by this program."""


class StreamInUse(RelayError):
    """The connection was converted into bytes; message calls are no longer possible."""


class Unsupported(RelayError):
    """The relay does not offer the feature that the call needs; the message names it."""


class MessageTooLarge(RelayError):
    """A message or body is longer than its limit."""


class InternalError(RelayError):
    """A fault of this library. Please report it."""


class Forked(RelayError):
    """The object was made before a fork, and this process is the child: make a new one here."""


_CLASSES: dict[ErrorKind, type[RelayError]] = {
    ErrorKind.INVALID_ARGUMENT: InvalidArgument,
    ErrorKind.UNAUTHORIZED: Unauthorized,
    ErrorKind.ENDPOINT_NOT_FOUND: EndpointNotFound,
    ErrorKind.NO_LISTENERS: NoListeners,
    ErrorKind.TIMEOUT: Timeout,
    ErrorKind.REJECTED: Rejected,
    ErrorKind.QUOTA_EXCEEDED: QuotaExceeded,
    ErrorKind.SERVER_BUSY: ServerBusy,
    ErrorKind.CONNECTION_LOST: ConnectionLost,
    ErrorKind.PROTOCOL: ProtocolError,
    ErrorKind.NETWORK: NetworkError,
    ErrorKind.TLS: TlsError,
    ErrorKind.CLOSED: Closed,
    ErrorKind.STREAM_IN_USE: StreamInUse,
    ErrorKind.UNSUPPORTED: Unsupported,
    ErrorKind.MESSAGE_TOO_LARGE: MessageTooLarge,
    ErrorKind.INTERNAL: InternalError,
    ErrorKind.PROXY_AUTHENTICATION_REQUIRED: ProxyAuthenticationRequired,
    ErrorKind.FORKED: Forked,
}


def make(kind: ErrorKind, message: str, **details: Any) -> RelayError:
    """The exception of a kind."""
    return _CLASSES.get(kind, RelayError)(message, kind=kind, **details)


def from_native(
    code: int,
    message: str,
    status: int | None,
    reason: str | None,
    tracking_id: str | None,
    retryable: bool,
    hint: str | None,
    close_code: int | None,
    retry_after: float | None,
    causes: list[str],
) -> RelayError:
    """The exception for a failure of the native half, which calls this."""
    try:
        kind = ErrorKind(code)
    except ValueError:
        kind = ErrorKind.INTERNAL
    error = make(
        kind,
        message,
        status=status,
        reason=reason,
        tracking_id=tracking_id,
        retryable=retryable,
        hint=hint,
        close_code=close_code,
        retry_after=retry_after,
    )
    if hint:
        error.add_note(f"hint: {hint}")
    for cause in causes:
        error.add_note(f"caused by: {cause}")
    return error


def closed(what: str) -> RelayError:
    """The exception for a call on what the program has closed."""
    return make(ErrorKind.CLOSED, f"{what} was closed")


# Built into each subclass, so that one that the program raises itself, in a test for example, has its kind.
def _declare_kinds() -> None:
    for kind, cls in _CLASSES.items():

        def __init__(self: RelayError, message: str = "", *, kind: ErrorKind = kind, **details: Any) -> None:
            RelayError.__init__(self, message, kind=kind, **details)

        cls.__init__ = __init__  # type: ignore[assignment, method-assign]


_declare_kinds()
