"""A relay for tests that block."""

from __future__ import annotations

from collections.abc import Iterator

from .. import _local
from .._local import Controls, RelayEvent
from .._run import run
from ._wrapper import _Wrapper


class LocalRelay(Controls):
    """A relay on a free port of loopback: ``with LocalRelay() as relay``. See :class:`hybridrelay.LocalRelay`."""

    def start(self) -> LocalRelay:
        """Starts it, unless it runs."""
        return self.__enter__()

    def stop(self, drain: float = 0.0) -> None:
        """Stops it: connections have `drain` seconds to end, then they are cut."""
        run(self._stop(drain))

    def events(self) -> RelayEvents:
        """What happens at the relay from now on."""
        return RelayEvents(_local.RelayEvents(self._use().events()))


class RelayEvents(_Wrapper[_local.RelayEvents]):
    """What happens at a relay: ``for event in relay.events()``. Ends with the relay. See :class:`hybridrelay.RelayEvents`."""

    __slots__ = ()

    def next(self, timeout: float | None = None) -> RelayEvent | None:
        """What happens next; ``None`` once the relay has ended."""
        return run(self._inner.next(), timeout)

    @property
    def missed(self) -> int:
        """How many events were missed before the one that came last."""
        return self._inner.missed

    def __iter__(self) -> Iterator[RelayEvent]:
        return iter(self.next, None)
