"""Senders that wait: for a connection, or for the answer to a request."""

from __future__ import annotations

import contextlib
import json as json_
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from . import _native
from ._connection import Connection
from ._content import Chunks, chunks_of, is_stream
from ._errors import ErrorKind, InvalidArgument, make
from ._headers import Headers, HeaderTypes, encode
from ._run import Each, call

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    Buffer = Any

ContentTypes: TypeAlias = Union[str, "Buffer", Iterable[Any], AsyncIterable[Any]]
"""A body: text, bytes, or chunks of bytes from an iterable or an asynchronous iterable."""

#: The longest body that is read whole, unless told otherwise.
LIMIT = 64 * 2**20


class IncomingConnect:
    """A sender that wants a connection: :meth:`accept` or :meth:`reject` it.

    The relay lets it wait for 30 s. Collected unanswered it is rejected with 503.
    """

    path: str
    """The path behind the hybrid connection's name, percent-encoded as the sender wrote it: ``/orders``, or empty."""
    query: str | None
    """The sender's query without the relay's own parameters."""
    mount: str
    """``/`` and the hybrid connection's name; `mount` and `path` together are what the sender asked for."""
    headers: Headers
    """The header fields of the sender's handshake."""
    subprotocols: tuple[str, ...]
    """The sub-protocols that the sender offers, in its order of preference."""
    remote_addr: tuple[str, int] | None
    """The sender's address as the relay saw it."""
    tracking_id: str
    """The id under which the relay's logs know this attempt."""

    def __init__(self, native: _native.IncomingConnect) -> None:
        self._native: _native.IncomingConnect | None = native
        path, query, mount, headers, subprotocols, remote, tracking_id = native.facts()
        self.path = path
        self.query = query
        self.mount = mount
        self.headers = Headers._received(headers)
        self.subprotocols = tuple(subprotocols)
        self.remote_addr = remote
        self.tracking_id = tracking_id

    @property
    def is_answered(self) -> bool:
        """Whether it was accepted or rejected."""
        return self._native is None

    async def accept(self, subprotocol: str | None = None) -> Connection:
        """Accepts it. Without `subprotocol` it is the first of the listener's own that the sender offers.

        Raises :class:`ConnectionLost` if the sender has gone or has waited too long. Cancelling rejects it with 503.
        """
        native = await call(self._take().accept, subprotocol)
        info = {"path": self.path, "headers": self.headers, "remote_addr": self.remote_addr}
        return Connection(native, info)

    async def reject(self, status: int = 403, reason: str = "") -> None:
        """Rejects it: the sender's handshake fails with this status, from 200 to 999, and reason."""
        await call(self._take().reject, status, reason)

    def _take(self) -> _native.IncomingConnect:
        native, self._native = self._native, None
        if native is None:
            raise make(ErrorKind.CLOSED, "the sender was answered already")
        return native

    async def _refuse(self, status: int, reason: str) -> None:
        if self._native is not None:
            await self.reject(status, reason)

    def _drop(self) -> None:
        self._native = None

    def __repr__(self) -> str:
        return f"<hybridrelay.IncomingConnect {self.path or '/'} {self.tracking_id}>"


class IncomingRequest:
    """A sender's HTTP request: :meth:`respond` to it, or :meth:`start_response` and write piece by piece.

    The body is read with :meth:`read`, or chunk by chunk with ``async for chunk in request``. Collected unanswered the sender gets 500, or
    501 if nothing of it was used.
    """

    method: str
    """The method, such as ``GET``."""
    path: str
    """The path behind the hybrid connection's name, percent-encoded as the sender wrote it: ``/orders``, or empty."""
    query: str | None
    """The query without the relay's own parameters, as the sender wrote it."""
    mount: str
    """``/`` and the hybrid connection's name in the sender's spelling."""
    headers: Headers
    """The header fields, without those of the sender's connection."""
    remote_addr: tuple[str, int] | None
    """The sender's address as the relay saw it."""
    tracking_id: str
    """The id under which the relay's logs know this request."""
    is_one_way: bool
    """Whether nobody waits for the answer."""

    def __init__(self, native: _native.IncomingRequest) -> None:
        self._native: _native.IncomingRequest | None = native
        facts, self.is_one_way, self._has_body = native.facts()
        method, path, query, mount, headers, remote, tracking_id = facts
        self.method = method
        self.path = path
        self.query = query
        self.mount = mount
        self.headers = Headers._received(headers)
        self.remote_addr = remote
        self.tracking_id = tracking_id
        self._body: Chunks | None = None
        self._responder: _native.Responder | None = None
        self._answered = False

    @property
    def is_answered(self) -> bool:
        """Whether a response was begun."""
        return self._answered

    async def read(self, limit: int = LIMIT) -> bytes:
        """The rest of the body, of at most `limit` bytes.

        Raises :class:`MessageTooLarge` for a longer one, :class:`ConnectionLost` if the sender has gone.
        """
        return await self._chunks().whole(limit)

    async def text(self, limit: int = LIMIT) -> str:
        """The rest of the body as text in UTF-8."""
        return (await self.read(limit)).decode()

    async def json(self, limit: int = LIMIT) -> Any:
        """The rest of the body, read as JSON."""
        return json_.loads(await self.read(limit))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return Each(self._chunk)

    async def _chunk(self) -> bytes | None:
        return await self._chunks().next()

    def _chunks(self) -> Chunks:
        self._begin()
        assert self._body is not None
        return self._body

    async def respond(
        self,
        status: int = 200,
        content: ContentTypes = b"",
        *,
        headers: HeaderTypes | None = None,
        reason: str | None = None,
    ) -> None:
        """Sends the response and returns when everything was handed to the operating system.

        Text gets ``Content-Type: text/plain; charset=utf-8`` unless `headers` say otherwise. Chunks of an iterable leave as they come, at
        the pace of the sender; if it raises, the response breaks off.

        Raises :class:`ConnectionLost` if the sender has gone.
        """
        if not is_stream(content):
            fields = encode(headers)
            if isinstance(content, str):
                content = content.encode()
                if not any(name.lower() == b"content-type" for name, _ in fields):
                    fields.append((b"content-type", b"text/plain; charset=utf-8"))
            responder = self._take()
            try:
                await call(responder.send, status, reason, fields, content)
            except InvalidArgument:
                # It was not begun: the sender may still be told that.
                self._answered = False
                raise
            return
        async with (
            self.start_response(status, headers=headers, reason=reason) as writer,
            contextlib.aclosing(chunks_of(content)) as chunks,
        ):
            async for chunk in chunks:
                await writer.write(chunk, flush=True)

    async def _enqueue(self, status: int, content: Buffer, headers: HeaderTypes) -> None:
        """Sends a whole response and returns when it waits to leave, which is mostly at once."""
        fields = encode(headers)
        if self._native is None or self._has_body:
            native, enqueue = None, self._take().enqueue
        else:
            # There is nothing else to take on.
            native, enqueue = self._native, self._native.enqueue
            self._native, self._answered = None, True
        try:
            await call(enqueue, status, fields, content)
        except InvalidArgument:
            # It was not begun: the sender may still be told that.
            self._native, self._answered = native, False
            raise

    def start_response(
        self, status: int = 200, *, headers: HeaderTypes | None = None, reason: str | None = None
    ) -> ResponseWriter:
        """Begins a response whose body is written piece by piece: ``async with request.start_response() as writer``."""
        self._begin()
        assert self._responder is not None
        writer = self._responder.start(status, reason, encode(headers))
        self._answered = True
        return ResponseWriter(writer)

    async def disconnected(self) -> bool:
        """Waits until the sender has gone, or the response is complete. Returns whether the sender has gone.

        A request that came by the control channel is known to be given up only from a relay that tells, as ours does.
        """
        self._begin()
        assert self._responder is not None
        return await call(self._responder.cancelled)

    @property
    def is_disconnected(self) -> bool:
        """Whether the sender has gone."""
        native = self._responder or self._native
        return native is not None and native.is_cancelled()

    def _begin(self) -> None:
        native, self._native = self._native, None
        if native is not None:
            body, self._responder = native.take()
            self._body = Chunks(body)
        elif self._responder is None:
            raise make(ErrorKind.CLOSED, "the request was refused already")

    def _take(self) -> _native.Responder:
        if self._answered:
            raise make(ErrorKind.CLOSED, "the request was answered already")
        self._begin()
        self._answered = True
        assert self._responder is not None
        return self._responder

    async def _refuse(self, status: int, reason: str) -> None:
        if not self._answered:
            await self.respond(status, reason + "\n", reason=reason)

    def _drop(self) -> None:
        if not self._answered:
            self._native = self._responder = self._body = None

    def __repr__(self) -> str:
        return f"<hybridrelay.IncomingRequest {self.method} {self.path or '/'} {self.tracking_id}>"


class ResponseWriter:
    """Writes the body of a response. Collected before :meth:`finish` it breaks the response off, which the sender sees as an error."""

    def __init__(self, native: _native.ResponseWriter) -> None:
        self._native = native
        self._over = False

    async def write(self, data: Buffer | str, *, flush: bool = False) -> None:
        """Writes a piece. Up to 64 KiB are held back until the first flush; behind it every piece leaves at once.

        A slow sender slows this down. Raises :class:`ConnectionLost` if it has gone.
        """
        await call(self._native.write, data.encode() if isinstance(data, str) else data, flush)

    async def flush(self) -> None:
        """Sends what was written so far, the head included."""
        await call(self._native.write, b"", True)

    async def finish(self) -> None:
        """Ends the response."""
        if not self._over:
            self._over = True
            await call(self._native.finish)

    async def abort(self) -> None:
        """Breaks the response off: the sender sees that, or 500 if nothing was sent yet."""
        if not self._over:
            self._over = True
            await call(self._native.abort)

    async def __aenter__(self) -> ResponseWriter:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.finish()
        else:
            await self.abort()


Incoming: TypeAlias = Union[IncomingConnect, IncomingRequest]
"""What a listener receives."""


def wrap(native: Any) -> Incoming | None:
    """The object for what was accepted."""
    if native is None:
        return None
    if isinstance(native, _native.IncomingConnect):
        return IncomingConnect(native)
    return IncomingRequest(native)
