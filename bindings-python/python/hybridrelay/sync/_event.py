"""Events, and who is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .. import _events, _presence
from .._errors import RelayError
from .._presence import EndpointEvent, PresenceEvent
from .._run import run

if TYPE_CHECKING:
    from typing_extensions import Buffer

else:
    Buffer = Any

from ._wrapper import _Closing, _Wrapper


class Publisher(_Closing[_events.Publisher]):
    """A connection on which this side only speaks. See :class:`hybridrelay.Publisher`."""

    __slots__ = ()

    def publish(self, event: str | Buffer) -> None:
        """Publishes an event."""
        run(self._inner.publish(event))

    def flush(self) -> None:
        """Waits until everything published was handed to the operating system."""
        run(self._inner.flush())

    def ended(self, timeout: float | None = None) -> RelayError:
        """Waits until the other side has ended it, and returns why."""
        return run(self._inner.ended(), timeout)

    def close(self) -> None:
        """Ends it behind everything published."""
        run(self._inner.close())

    def abort(self) -> None:
        """Ends it at once."""
        self._inner.abort()

    @property
    def subprotocol(self) -> str | None:
        """The sub-protocol that was agreed on."""
        return self._inner.subprotocol

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs know this publisher."""
        return self._inner.tracking_id


class Events(_Wrapper[_events.Events]):
    """What every publisher says: ``for event in listener.events()``."""

    __slots__ = ()

    def next(self, timeout: float | None = None) -> _events.Event | None:
        """The next event; ``None`` after the listener's close."""
        return run(self._inner.next(), timeout)

    def __iter__(self) -> Iterator[_events.Event]:
        return iter(self.next, None)


class PresenceEvents(_Wrapper[_presence.PresenceEvents]):
    """Everything that happens to the listeners, in order."""

    __slots__ = ()

    def next(self, timeout: float | None = None) -> PresenceEvent:
        """What happens next."""
        return run(self._inner.next(), timeout)

    def __iter__(self) -> Iterator[PresenceEvent]:
        return iter(self.next, None)


class EndpointEvents(_Wrapper[_presence.EndpointEvents]):
    """Everything that happens to the endpoints of a namespace, in order."""

    __slots__ = ()

    def next(self, timeout: float | None = None) -> EndpointEvent:
        """What happens next."""
        return run(self._inner.next(), timeout)

    def __iter__(self) -> Iterator[EndpointEvent]:
        return iter(self.next, None)
