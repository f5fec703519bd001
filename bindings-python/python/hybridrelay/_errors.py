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

    _KIND = ErrorKind.INTERNAL

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
        kind: ErrorKind | None = None,
        status: int | None = None,
        reason: str | None = None,
        tracking_id: str | None = None,
        retryable: bool = False,
        hint: str | None = None,
        close_code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = self._KIND if kind is None else kind
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

    _KIND = ErrorKind.INVALID_ARGUMENT


class Unauthorized(RelayError, PermissionError):
    """The credential was refused: the token is missing, malformed, expired or without the right."""

    _KIND = ErrorKind.UNAUTHORIZED


class ProxyAuthenticationRequired(RelayError, PermissionError):
    """A proxy on the way to the relay wants credentials, or others."""

    _KIND = ErrorKind.PROXY_AUTHENTICATION_REQUIRED


class EndpointNotFound(RelayError, ConnectionError):
    """There is no such hybrid connection."""

    _KIND = ErrorKind.ENDPOINT_NOT_FOUND


class NoListeners(RelayError, ConnectionError):
    """The hybrid connection exists, but nobody listens on it."""

    _KIND = ErrorKind.NO_LISTENERS


class Timeout(RelayError, TimeoutError):
    """Something took longer than its limit, here or at the relay."""

    _KIND = ErrorKind.TIMEOUT


class Rejected(RelayError, ConnectionError):
    """The listener or the relay refused with a status of its own."""

    _KIND = ErrorKind.REJECTED


class QuotaExceeded(RelayError, ConnectionError):
    """A quota is exhausted, such as the number of listeners."""

    _KIND = ErrorKind.QUOTA_EXCEEDED


class ServerBusy(RelayError, ConnectionError):
    """The relay is overloaded or shutting down."""

    _KIND = ErrorKind.SERVER_BUSY


class ConnectionLost(RelayError, ConnectionError):
    """An established connection ended without a close."""

    _KIND = ErrorKind.CONNECTION_LOST


class ProtocolError(RelayError, ConnectionError):
    """The peer broke the protocol."""

    _KIND = ErrorKind.PROTOCOL


class NetworkError(RelayError, ConnectionError):
    """The network failed below TLS: name resolution, TCP connect, reset while opening."""

    _KIND = ErrorKind.NETWORK


class TlsError(RelayError, ConnectionError):
    """TLS failed: untrusted or wrong certificate, handshake alert."""

    _KIND = ErrorKind.TLS


class Closed(RelayError):
    """The object was closed by this program."""

    _KIND = ErrorKind.CLOSED


class StreamInUse(RelayError):
    """The connection was converted into bytes; message calls are no longer possible."""

    _KIND = ErrorKind.STREAM_IN_USE


class Unsupported(RelayError):
    """The relay does not offer the feature that the call needs; the message names it."""

    _KIND = ErrorKind.UNSUPPORTED


class MessageTooLarge(RelayError):
    """A message or body is longer than its limit."""

    _KIND = ErrorKind.MESSAGE_TOO_LARGE


class InternalError(RelayError):
    """A fault of this library. Please report it."""

    _KIND = ErrorKind.INTERNAL


class Forked(RelayError):
    """The object was made before a fork, and this process is the child: make a new one here."""

    _KIND = ErrorKind.FORKED


_CLASSES: dict[ErrorKind, type[RelayError]] = {cls._KIND: cls for cls in RelayError.__subclasses__()}

for _class in (RelayError, *_CLASSES.values()):
    # The name under which tracebacks show them and programs catch them.
    _class.__module__ = "hybridrelay"


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
