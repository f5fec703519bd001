"""Connections: messages, or two binary files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import _connection
from .._headers import Headers
from .._run import run

if TYPE_CHECKING:
    from typing_extensions import Buffer

else:
    Buffer = Any

from ._wrapper import _Closing


class Connection(_Closing[_connection.Connection]):
    """A bidirectional stream of messages. See :class:`hybridrelay.Connection`."""

    __slots__ = ()

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next message; ``None`` once the peer has closed its direction. Raises :class:`Timeout` after `timeout` seconds: then
        nothing is lost."""
        return run(self._inner.receive(), timeout)

    def send(self, data: str | Buffer) -> None:
        """Sends a message: text from ``str``, binary from anything bytes-like."""
        run(self._inner.send(data))

    def flush(self) -> None:
        """Waits until everything sent was handed to the operating system."""
        run(self._inner.flush())

    def shutdown(self) -> None:
        """Ends our direction behind everything sent (half-close)."""
        run(self._inner.shutdown())

    def close(self, code: int | None = None, reason: str = "") -> None:
        """Closes it in good order, and waits for the peer's close."""
        run(self._inner.close(code, reason))

    def abort(self) -> None:
        """Ends both directions at once; the peer sees an error."""
        self._inner.abort()

    def into_streams(self) -> tuple[io.BufferedReader, io.BufferedWriter]:
        """Goes on as two binary files: what comes, without boundaries, and what is sent.

        Closing the writer ends our direction. Closing the reader closes the connection in good order behind that, and aborts it before.
        """
        reading = _Reading(self._inner)
        return io.BufferedReader(reading, 2**16), io.BufferedWriter(_Writing(self._inner, reading), 2**16)

    @property
    def subprotocol(self) -> str | None:
        """The sub-protocol that both sides agreed on."""
        return self._inner.subprotocol

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs know this connection."""
        return self._inner.tracking_id

    @property
    def close_code(self) -> int | None:
        """The code with which the peer has closed."""
        return self._inner.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason that the peer gave with its close."""
        return self._inner.close_reason

    @property
    def path(self) -> str:
        """At the listener's side: the path that the sender asked for; else empty."""
        return self._inner.path

    @property
    def request_headers(self) -> Headers:
        """At the listener's side: the header fields of the sender's handshake; else none."""
        return self._inner.request_headers

    @property
    def remote_addr(self) -> tuple[str, int] | None:
        """At the listener's side: the sender's address as the relay saw it."""
        return self._inner.remote_addr

    def __iter__(self) -> Iterator[str | bytes]:
        return iter(self.receive, None)


class _Reading(io.RawIOBase):
    """What comes, as a file."""

    def __init__(self, connection: _connection.Connection) -> None:
        self._connection = connection
        self._held = memoryview(b"")
        self._ended = self.sent_all = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held and not self._ended:
            message = run(self._connection.receive())
            if message is None:
                self._ended = True
            else:
                self._held = memoryview(message.encode() if isinstance(message, str) else message)
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            super().close()
            if not self.sent_all:
                self._connection.abort()
            else:
                run(self._connection.close())

    def __del__(self) -> None:
        # The connection itself tells that nobody closed it.
        pass


class _Writing(io.RawIOBase):
    """What is sent, as a file."""

    def __init__(self, connection: _connection.Connection, reading: _Reading) -> None:
        self._connection = connection
        self._reading = reading

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if len(view):
            run(self._connection.send(view))
        return len(view)

    def close(self) -> None:
        if not self.closed:
            super().close()
            run(self._connection.shutdown())
            self._reading.sent_all = True

    def __del__(self) -> None:
        pass
