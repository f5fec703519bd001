"""A relayed connection."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

from . import _native
from ._errors import ConnectionLost, RelayError, Timeout
from ._headers import Headers
from ._opening import Opening
from ._options import OpenOptions, native, split
from ._run import Source, call, loop_driver

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    Buffer = Any


class Connection:
    """A bidirectional stream between a listener's program and a sender's, through the relay.

    It carries messages, ``str`` or ``bytes``, and keeps their boundaries. :meth:`into_streams` turns it into bytes, once.
    Sending and receiving do not wait for one another.

    ``async with`` closes it in the end, or aborts it if the block ends by an exception. A connection that is not closed is aborted when
    it is collected: the peer sees an error, and not an end. Cancelling a wait loses nothing.
    """

    def __init__(self, native: _native.Connection, info: dict[str, Any] | None = None) -> None:
        self._native = native
        self._messages: Source[str | bytes | None] = Source(native.receive)
        self._info = info or {}
        self._pid = os.getpid()
        #: Nobody needs to end it any more: it was closed or aborted, converted, or has ended in both directions.
        self._over = False
        self._sent_all = self._received_all = False

    async def receive(self) -> str | bytes | None:
        """The next message: ``str`` for text, ``bytes`` for binary; ``None`` once the peer has closed its direction.

        Raises :class:`ConnectionLost` after an abort or a broken network.
        """
        try:
            message = await self._messages.next()
        except ConnectionLost:
            # It broke: there is nothing left to close.
            self._over = True
            raise
        if message is None:
            self._received_all = True
            self._over = self._over or self._sent_all
        return message

    async def send(self, data: str | Buffer) -> None:
        """Sends a message: text from ``str``, binary from anything bytes-like.

        It is taken over whole and leaves at once, as far as the network takes it; while more than 64 KiB wait, this waits, and has sent
        nothing if it is cancelled.
        """
        await call(self._native.send, data)

    async def flush(self) -> None:
        """Waits until everything sent was handed to the operating system."""
        await call(self._native.flush)

    async def shutdown(self) -> None:
        """Ends our direction behind everything sent. The peer's goes on (half-close)."""
        await call(self._native.shutdown)
        self._sent_all = True
        self._over = self._over or self._received_all

    async def close(self, code: int | None = None, reason: str = "") -> None:
        """Closes it in good order: sends everything, then Close, and waits for the peer's.

        What still comes is dropped. Raises :class:`Timeout` when nothing has moved for the ``close_timeout``, after an abort. May be
        called again.
        """
        if self._over and self._sent_all:
            return
        try:
            await call(self._native.close, code, reason)
        except (ConnectionLost, Timeout):
            # It broke before, or is aborted now.
            self._over = True
            raise
        self._over = self._sent_all = True

    def abort(self) -> None:
        """Ends both directions at once. What was not sent is lost, and the peer sees an error."""
        self._over = True
        self._native.abort()

    @property
    def subprotocol(self) -> str | None:
        """The sub-protocol that both sides agreed on."""
        return self._native.subprotocol()

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs know this connection."""
        return self._native.tracking_id()

    @property
    def close_code(self) -> int | None:
        """The code with which the peer has closed; ``None`` if it has not, or gave none."""
        frame = self._native.peer_close()[1]
        return frame[0] if frame else None

    @property
    def close_reason(self) -> str | None:
        """The reason that the peer gave with its close."""
        frame = self._native.peer_close()[1]
        return frame[1] if frame else None

    @property
    def path(self) -> str:
        """At the listener's side: the path that the sender asked for; else empty."""
        path: str = self._info.get("path", "")
        return path

    @property
    def request_headers(self) -> Headers:
        """At the listener's side: the header fields of the sender's handshake; else none."""
        headers: Headers = self._info.get("headers") or Headers()
        return headers

    @property
    def remote_addr(self) -> tuple[str, int] | None:
        """At the listener's side: the sender's address as the relay saw it."""
        remote: tuple[str, int] | None = self._info.get("remote_addr")
        return remote

    async def into_streams(self, *, limit: int = 2**16) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Turns it into asyncio streams, once. Written bytes travel as binary messages; of what comes, boundaries are dropped.

        `limit` is that of :class:`asyncio.StreamReader`.
        """
        from ._streams import streams

        return streams(self, limit)

    def into_transport(self, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Turns it into an :class:`asyncio.Transport` for a protocol, once."""
        from ._streams import RelayTransport

        return RelayTransport(loop_driver(), self, protocol)

    def __aiter__(self) -> Connection:
        return self

    async def __anext__(self) -> str | bytes:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._over:
            return
        if kind is None:
            await self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if getattr(self, "_over", True) or sys.is_finalizing() or self._pid != os.getpid():
            return
        try:
            self._native.abort()
        except RelayError:
            return
        warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        try:
            return f"<hybridrelay.Connection {self.tracking_id}>"
        except RelayError as error:
            return f"<hybridrelay.Connection: {error}>"


def connect(target: str | None = None, /, **options: Unpack[OpenOptions]) -> Opening[Connection]:
    """Opens a connection: ``conn = await connect(cs)``, or ``async with connect(cs) as conn``.

    `target` is a connection string or an address; without one ``HYBRIDRELAY_CONNECTION_STRING`` is read. Options are those of
    :class:`OpenOptions`: ``path``, ``query``, ``headers``, ``subprotocols``, ``connect_timeout``, ``proxy`` and others.

    Raises :class:`NoListeners`, :class:`EndpointNotFound`, :class:`Unauthorized`, :class:`Rejected` with the listener's status and
    reason, :class:`Timeout`, :class:`ServerBusy`, :class:`NetworkError`, :class:`TlsError`, :class:`InvalidArgument`.
    """

    async def open() -> Connection:
        sender, one = split(options)
        sending = _native.Sender(target, native(sender))
        return Connection(await call(sending.connect, native(one)))

    return Opening(open)
