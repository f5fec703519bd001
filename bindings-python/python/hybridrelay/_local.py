"""A relay inside of the program, for its tests."""

from __future__ import annotations

import dataclasses
import datetime
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypeVar

from . import _native
from ._errors import ErrorKind, make
from ._run import Source, call, run

Self = TypeVar("Self", bound="Controls")

Attempt: TypeAlias = Literal["listen", "connect", "request"]
"""What somebody comes to a relay for."""


@dataclasses.dataclass(frozen=True, slots=True)
class OpenConnection:
    """A relayed connection of a relay that is open, or a control channel."""

    id: int
    """Names it, for as long as the relay lives."""
    entity: str
    """The hybrid connection."""
    tracking_id: str
    """The id under which the relay's events know it."""
    from_sender: int
    """Bytes that the sender has sent, as they are on the wire: payload, and the headers of its frames. Of a control channel
    none."""
    from_listener: int
    """Bytes that the listener has sent, counted in the same way."""
    stalled: bool
    """Whether it is held up."""


@dataclasses.dataclass(frozen=True, slots=True)
class RelayEvent:
    """Something that happened at a relay."""

    operation: str
    """What, by the names of Azure's diagnostic log, such as ``NewListenerRegistered``."""
    entity: str | None
    """The hybrid connection, where it is known to exist."""
    tracking_id: str
    """The id under which listener, sender and relay know the attempt."""
    peer: tuple[str, int]
    """The address of whoever caused it."""
    reason: str | None
    """Why something was refused, or how it ended, in a word that never changes."""
    status: int | None
    """The status of a refusal or of a response."""
    at: datetime.datetime
    """When, by the clock of the relay."""


class RelayEvents:
    """What happens at a relay from the moment on at which this was made: ``async for event in relay.events()``. Ends with the relay.

    The relay waits for nobody: whoever is more than 1 024 events behind misses the oldest ones.
    """

    def __init__(self, native: _native.RelayEvents) -> None:
        self._heard: Source[Any] = Source(native.next)
        self._missed = 0

    async def next(self) -> RelayEvent | None:
        """What happens next; ``None`` once the relay has ended."""
        facts = await self._heard.next()
        if facts is None:
            return None
        operation, entity, tracking_id, peer, reason, status, at, self._missed = facts
        when = datetime.datetime.fromtimestamp(at, datetime.UTC)
        return RelayEvent(operation, entity, tracking_id, peer, reason, status, when)

    @property
    def missed(self) -> int:
        """How many events were missed before the one that came last."""
        return self._missed

    def __aiter__(self) -> RelayEvents:
        return self

    async def __anext__(self) -> RelayEvent:
        event = await self.next()
        if event is None:
            raise StopAsyncIteration
        return event


class Controls:
    """What a program does with its relay, waiting or not: what :class:`hybridrelay.LocalRelay` and its blocking twin have in common."""

    def __init__(self, *, tls: bool = False, port: int = 0, key: str | None = None, anonymous: bool = False) -> None:
        self._options = (tls, port, key, anonymous)
        self._native: _native.LocalRelay | None = None

    def connection_string(self, entity: str = "hyco") -> str:
        """A connection string for a hybrid connection, with every right."""
        return self._use().connection_string(entity)

    @property
    def address(self) -> str:
        """Its address, such as ``http://127.0.0.1:43210/``."""
        return self._use().address()

    @property
    def ca_pem(self) -> str | None:
        """The certificate to trust, for the option ``extra_ca_pem``; ``None`` without TLS."""
        return self._use().ca_pem()

    @property
    def key_name(self) -> str:
        """The name of the one rule."""
        return self._use().rule()[0]

    @property
    def key(self) -> str:
        """The key of the one rule."""
        return self._use().rule()[1]

    def drop_control(self, entity: str = "hyco") -> int:
        """Cuts the control channels of a hybrid connection, as a failure of the network would; its listeners come back. Returns how many
        there were."""
        return self._use().drop_control(entity)

    def connections(self) -> int:
        """How many relayed connections are open."""
        return self._use().connections()

    def listeners(self, entity: str = "hyco") -> int:
        """How many listeners are online under a hybrid connection."""
        return self._use().listeners(entity)

    def add(self, entity: str, *, events: bool = False, anonymous: bool = False, discoverable: bool = False) -> None:
        """Makes a hybrid connection, or makes it anew; those that nobody makes come to be when somebody listens.

        With `events` every listener gets everything, see :meth:`Listener.events`. `anonymous` lets senders in without a token. One that
        is `discoverable` is among the :func:`endpoints` of everybody while somebody listens.
        """
        self._use().add(entity, events, anonymous, discoverable)

    def advance(self, seconds: float) -> None:
        """Moves the relay's clocks on in one leap, as if its machine had slept for so long: all that was due meanwhile happens now.

        Tokens are older: a control channel is closed when its token and five minutes of grace are over. Whoever waits for a listener for
        30 s is told so. Peers that were silent for the time of a Ping are asked, however far the leap was, and given up if the clock moves
        by the time for the answer before it has come: a listener after 45 s, a relayed connection after 90 s. The clocks of listeners and
        senders stay as they are, unless they were made with the option ``clock``.
        """
        self._use().advance(seconds)

    def refuse_next(
        self,
        status: int,
        reason: str | None = None,
        *,
        attempt: Attempt | None = None,
        retry_after: float | None = None,
    ) -> None:
        """Refuses who comes next, or who comes next for `attempt`, with a status from 400 to 599, before the relay looks at anything
        else. Several are used up one after the other. With `retry_after` the refusal tells to come again after so many seconds, rounded up:
        a listener waits for as long, up to five minutes; anybody else finds it in :attr:`RelayError.retry_after`."""
        self._use().refuse_next(status, reason, attempt, retry_after)

    def open_connections(self) -> tuple[OpenConnection, ...]:
        """The relayed connections that are open, in the order in which they came: each WebSocket connection of a sender that is joined to
        a listener, from the moment on at which the sender's ``connect`` returns."""
        return tuple(OpenConnection(*facts) for facts in self._use().open_connections())

    def control_channels(self) -> tuple[OpenConnection, ...]:
        """The control channels of the listeners that are online, in the order in which they came, each from the moment on at which its
        listener knows that it is online. They are held up and cut as what is relayed."""
        return tuple(OpenConnection(*facts) for facts in self._use().control_channels())

    def stall(self, connection: OpenConnection | int) -> bool:
        """Lets no byte of a relayed connection through until :meth:`resume`, as a network that has lost its way; both ends stay connected.
        Of a control channel the relay is one end, and gives the listener up by its own times; the listener comes back by another as soon as it
        notices. ``False`` if it has ended."""
        return self._use().stall(_id(connection), True)

    def resume(self, connection: OpenConnection | int) -> bool:
        """Lets a stalled connection go on; nothing was lost. ``False`` if it has ended."""
        return self._use().stall(_id(connection), False)

    def cut_after(self, connection: OpenConnection | int, size: int = 0) -> bool:
        """Cuts a relayed connection once so many bytes more were read from its two ends: both are reset, and what was on the way may be
        lost. 0 cuts at once. Of a control channel what the listener says counts, and it comes back. ``False`` if it has ended."""
        return self._use().cut_after(_id(connection), size)

    def cut_next_after(self, size: int) -> None:
        """The same for the connection that comes next, from its first byte on. Several are for as many connections."""
        self._use().cut_next_after(size)

    def _use(self) -> _native.LocalRelay:
        if self._native is None:
            raise make(ErrorKind.CLOSED, "the relay does not run", hint="start it by `with` or by `start`")
        return self._native

    def __enter__(self: Self) -> Self:
        run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run(self._stop(0.0))

    async def _start(self) -> None:
        if self._native is None:
            self._native = await call(_native.LocalRelay.start, *self._options)

    async def _stop(self, drain: float) -> None:
        native, self._native = self._native, None
        if native is not None:
            await call(native.stop, drain)

    def __repr__(self) -> str:
        module = type(self).__module__.rpartition(".")[0]
        return f"<{module}.LocalRelay {'stopped' if self._native is None else self.address}>"


class LocalRelay(Controls):
    """A relay on a free port of loopback, with everything that listeners and senders of a test need.

    ``with LocalRelay() as relay`` and ``async with LocalRelay() as relay`` start it, and stop it in the end. Hybrid connections come to be
    when somebody listens. With `tls` it has a certificate: see :attr:`ca_pem`. One that is started again with the same `port` and `key` is
    the same to its clients. `anonymous` lets senders in without a token.

    A test may move its clock (:meth:`advance`), have it refuse whoever comes next (:meth:`refuse_next`), look at its relayed connections
    (:meth:`open_connections`), hold them up (:meth:`stall`) and cut them (:meth:`cut_after`).

    >>> with LocalRelay() as relay:
    ...     connection_string = relay.connection_string("hyco")
    """

    async def start(self) -> LocalRelay:
        """Starts it, unless it runs. Raises :class:`NetworkError` if the port cannot be bound."""
        await self._start()
        return self

    async def stop(self, drain: float = 0.0) -> None:
        """Stops it: connections have `drain` seconds to end, then they are cut."""
        await self._stop(drain)

    def events(self) -> RelayEvents:
        """What happens at the relay from now on."""
        return RelayEvents(self._use().events())

    async def __aenter__(self) -> LocalRelay:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _id(connection: OpenConnection | int) -> int:
    return connection.id if isinstance(connection, OpenConnection) else connection
