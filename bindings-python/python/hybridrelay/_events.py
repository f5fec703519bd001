"""Events from one to many."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from . import _native
from ._errors import RelayError
from ._headers import Headers
from ._run import Source, call

if TYPE_CHECKING:
    from typing_extensions import Buffer
else:
    Buffer = Any


class EventOrigin:
    """Where events come from: a publisher that is connected, or one request."""

    def __init__(self, native: _native.EventOrigin) -> None:
        self._native = native

    @functools.cached_property
    def _facts(self) -> Any:
        return self._native.facts()

    @property
    def path(self) -> str:
        """The path behind the hybrid connection's name, percent-encoded as the sender wrote it; may be empty."""
        path: str = self._facts[0]
        return path

    @property
    def query(self) -> str | None:
        """The query without the relay's own parameters."""
        query: str | None = self._facts[1]
        return query

    @functools.cached_property
    def headers(self) -> Headers:
        """The header fields of the publisher's handshake, or of the request."""
        return Headers._received(self._facts[2])

    @property
    def remote_addr(self) -> tuple[str, int] | None:
        """The sender's address as the relay saw it."""
        remote: tuple[str, int] | None = self._facts[3]
        return remote

    @property
    def tracking_id(self) -> str:
        """The same for all events of one publisher."""
        tracking_id: str = self._facts[4]
        return tracking_id

    @property
    def subprotocol(self) -> str | None:
        """The sub-protocol of a publisher that is connected."""
        subprotocol: str | None = self._facts[5]
        return subprotocol


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """What a listener hears of a publisher."""

    kind: Literal["message", "request", "missed"]
    """``message`` of a publisher that is connected, ``request`` for an HTTP request, which was answered 202, ``missed`` where the relay has
    dropped events because this listener did not keep up."""
    origin: EventOrigin
    """Whose it is."""
    data: str | bytes | None
    """The message, or the body of the request; ``None`` of ``missed``."""
    method: str | None
    """The method of a request."""
    count: int
    """How many were ``missed``, more than were told before."""


class Events:
    """What every publisher says, one event after the other: ``async for event in listener.events()``. Ends after the listener's close."""

    def __init__(self, native: _native.Events) -> None:
        self._heard: Source[Any] = Source(native.next)

    async def next(self) -> Event | None:
        """The next event; ``None`` after the listener's close."""
        event = await self._heard.next()
        if event is None:
            return None
        kind, origin, data, method, count = event
        return Event(kind, EventOrigin(origin), data, method, count)

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event


class Publisher:
    """A connection on which this side only speaks. ``async with`` closes it in the end, or aborts it if the block ends by an exception."""

    def __init__(self, native: _native.Publisher) -> None:
        self._native = native
        self._pid = os.getpid()
        self._over = False

    async def publish(self, event: str | Buffer) -> None:
        """Publishes an event: text from ``str``, binary from anything bytes-like.

        That it was taken over says nothing of who has heard it. While more than 64 KiB wait for the network this waits, and has published
        nothing if it is cancelled.

        Raises :class:`MessageTooLarge` when one before was longer than the hybrid connection takes, and :class:`ConnectionLost` when the
        other side has ended the publisher.
        """
        await call(self._native.publish, event)

    async def flush(self) -> None:
        """Waits until everything published was handed to the operating system."""
        await call(self._native.flush)

    async def ended(self) -> RelayError:
        """Waits until the other side has ended it, and returns why."""
        try:
            await call(self._native.ended)
        except RelayError as error:
            return error
        raise AssertionError("it ends by an error only")

    async def close(self) -> None:
        """Ends it behind everything published, and waits until the other side has all of it."""
        self._over = True
        await call(self._native.close)

    def abort(self) -> None:
        """Ends it at once; what has not left is lost."""
        self._over = True
        self._native.abort()

    @property
    def subprotocol(self) -> str | None:
        """The sub-protocol that was agreed on."""
        return self._native.facts()[0]

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs and those who hear it know this publisher."""
        return self._native.facts()[1]

    async def __aenter__(self) -> Publisher:
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
        if not getattr(self, "_over", True) and not sys.is_finalizing() and self._pid == os.getpid():
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
