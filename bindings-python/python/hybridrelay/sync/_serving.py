"""What comes to a listener, and its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, Union, cast

from .. import _content, _incoming
from .._headers import Headers, HeaderTypes
from .._incoming import LIMIT
from .._run import run

if TYPE_CHECKING:
    from typing_extensions import Buffer

else:
    Buffer = Any

from ._stream import Connection
from ._wrapper import ContentTypes, _Closing, _Wrapper


class IncomingConnect(_Wrapper[_incoming.IncomingConnect]):
    """A sender that wants a connection: :meth:`accept` or :meth:`reject` it. See :class:`hybridrelay.IncomingConnect`."""

    __slots__ = ()

    @property
    def path(self) -> str:
        """The path behind the hybrid connection's name."""
        return self._inner.path

    @property
    def query(self) -> str | None:
        """The sender's query without the relay's own parameters."""
        return self._inner.query

    @property
    def mount(self) -> str:
        """``/`` and the hybrid connection's name."""
        return self._inner.mount

    @property
    def headers(self) -> Headers:
        """The header fields of the sender's handshake."""
        return self._inner.headers

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The sub-protocols that the sender offers."""
        return self._inner.subprotocols

    @property
    def remote_addr(self) -> tuple[str, int] | None:
        """The sender's address as the relay saw it."""
        return self._inner.remote_addr

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs know this attempt."""
        return self._inner.tracking_id

    @property
    def is_answered(self) -> bool:
        """Whether it was accepted or rejected."""
        return self._inner.is_answered

    def accept(self, subprotocol: str | None = None) -> Connection:
        """Accepts it."""
        return Connection(run(self._inner.accept(subprotocol)))

    def reject(self, status: int = 403, reason: str = "") -> None:
        """Rejects it: the sender's handshake fails with this status and reason."""
        run(self._inner.reject(status, reason))


class IncomingRequest(_Wrapper[_incoming.IncomingRequest]):
    """A sender's HTTP request. See :class:`hybridrelay.IncomingRequest`."""

    __slots__ = ()

    @property
    def method(self) -> str:
        """The method."""
        return self._inner.method

    @property
    def path(self) -> str:
        """The path behind the hybrid connection's name."""
        return self._inner.path

    @property
    def query(self) -> str | None:
        """The query without the relay's own parameters."""
        return self._inner.query

    @property
    def mount(self) -> str:
        """``/`` and the hybrid connection's name."""
        return self._inner.mount

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return self._inner.headers

    @property
    def remote_addr(self) -> tuple[str, int] | None:
        """The sender's address as the relay saw it."""
        return self._inner.remote_addr

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs know this request."""
        return self._inner.tracking_id

    @property
    def is_one_way(self) -> bool:
        """Whether nobody waits for the answer."""
        return self._inner.is_one_way

    @property
    def is_answered(self) -> bool:
        """Whether a response was begun."""
        return self._inner.is_answered

    @property
    def is_disconnected(self) -> bool:
        """Whether the sender has gone."""
        return self._inner.is_disconnected

    def read(self, limit: int = LIMIT) -> bytes:
        """The rest of the body, of at most `limit` bytes."""
        return run(self._inner.read(limit))

    def text(self, limit: int = LIMIT) -> str:
        """The rest of the body as text in UTF-8."""
        return run(self._inner.text(limit))

    def json(self, limit: int = LIMIT) -> Any:
        """The rest of the body, read as JSON."""
        return run(self._inner.json(limit))

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: run(self._inner._chunk()), None)

    def respond(
        self,
        status: int = 200,
        content: ContentTypes = b"",
        *,
        headers: HeaderTypes | None = None,
        reason: str | None = None,
    ) -> None:
        """Sends the response: text, bytes, or chunks that leave as they come."""
        if not _content.is_stream(content):
            run(self._inner.respond(status, content, headers=headers, reason=reason))
            return
        with self.start_response(status, headers=headers, reason=reason) as writer:
            for chunk in cast("Iterable[Any]", content):
                writer.write(chunk, flush=True)

    def start_response(
        self, status: int = 200, *, headers: HeaderTypes | None = None, reason: str | None = None
    ) -> ResponseWriter:
        """Begins a response whose body is written piece by piece."""
        return ResponseWriter(self._inner.start_response(status, headers=headers, reason=reason))

    def disconnected(self, timeout: float | None = None) -> bool:
        """Waits until the sender has gone, or the response is complete. Returns whether the sender has gone."""
        return run(self._inner.disconnected(), timeout)


Incoming: TypeAlias = Union[IncomingConnect, IncomingRequest]
"""What a listener receives."""


class ResponseWriter(_Closing[_incoming.ResponseWriter]):
    """Writes the body of a response. See :class:`hybridrelay.ResponseWriter`."""

    __slots__ = ()

    def write(self, data: Buffer | str, *, flush: bool = False) -> None:
        """Writes a piece."""
        run(self._inner.write(data, flush=flush))

    def flush(self) -> None:
        """Sends what was written so far, the head included."""
        run(self._inner.flush())

    def finish(self) -> None:
        """Ends the response."""
        run(self._inner.finish())

    def abort(self) -> None:
        """Breaks the response off."""
        run(self._inner.abort())
