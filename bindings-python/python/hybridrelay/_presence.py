"""Who is online, and what a namespace offers."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any, Literal, Unpack

from . import _native
from ._errors import RelayError
from ._options import ReachOptions, native
from ._run import Source, call


@dataclasses.dataclass(frozen=True, slots=True)
class PresentListener:
    """A listener that is online, as whoever may manage the hybrid connection sees it."""

    id: str
    """Names this life of it."""
    tracking_id: str
    """The id by which senders choose it and logs know it."""
    since: datetime.datetime | None
    """Since when it is online."""
    address: tuple[str, int] | None
    """Where it connected from."""
    agent: str | None
    """What it says it is."""
    rule: str
    """The rule that let it in."""
    features: tuple[str, ...]
    """What it and the relay agreed on beyond the protocol."""
    labels: dict[str, str]
    """What it says of itself."""
    in_flight: int
    """Senders that it has been given and has not answered yet. Of that moment."""
    last_heard: datetime.datetime | None
    """When its last byte came. Of that moment."""


@dataclasses.dataclass(frozen=True, slots=True)
class Presence:
    """Who listens on a hybrid connection."""

    count: int
    """How many listeners are online."""
    since: datetime.datetime | None
    """Since when there has been one without interruption."""
    listeners: tuple[PresentListener, ...] | None
    """Each of them, in the order in which they came; ``None`` without the right to manage."""


@dataclasses.dataclass(frozen=True, slots=True)
class PresenceEvent:
    """What happens to the listeners of a hybrid connection."""

    kind: Literal["present", "connected", "disconnected", "interrupted", "restored"]
    """``present`` tells who is there, first of all and where it is not known what happened in between; ``interrupted`` while the relay is
    not heard, ``restored`` when it is heard again."""
    presence: Presence
    """Who is there now."""
    id: str | None = None
    """Of a listener that came or went."""
    at: datetime.datetime | None = None
    """When it came or went."""
    listener: PresentListener | None = None
    """Who came; ``None`` without the right to manage."""
    error: RelayError | None = None
    """Why the relay is not heard."""
    retry_in: float | None = None
    """How many seconds until it is asked again."""


class PresenceEvents:
    """Everything that happens to the listeners, in order, also over the loss of the connection to the relay."""

    def __init__(self, native: _native.PresenceEvents) -> None:
        self._heard: Source[Any] = Source(native.next)

    async def next(self) -> PresenceEvent:
        """What happens next. Raises only if the relay cannot be heard at first; then the next call tries again."""
        while True:
            event = await self._heard.next()
            if event["kind"] != "unknown":
                listener = event.get("listener")
                return PresenceEvent(
                    event["kind"],
                    presence(event["presence"]),
                    event.get("id"),
                    time(event.get("at")),
                    None if listener is None else _listener(listener),
                    event.get("error"),
                    event.get("retry_in"),
                )

    def __aiter__(self) -> PresenceEvents:
        return self

    async def __anext__(self) -> PresenceEvent:
        return await self.next()


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that may be found and is online: a hybrid connection on which somebody listens."""

    path: str
    """Its name."""
    title: str
    """A name for people."""
    summary: str
    """A sentence or two for people; may be empty."""
    tags: tuple[str, ...]
    """Words to look for."""
    url: str
    """Where it takes HTTP requests."""
    web_socket_url: str
    """Where it takes WebSockets."""
    requires_authorization: bool
    """Whether senders need a token."""
    since: datetime.datetime | None
    """Since when it is online."""


@dataclasses.dataclass(frozen=True, slots=True)
class EndpointEvent:
    """What happens to the endpoints of a namespace."""

    kind: Literal["present", "online", "offline", "interrupted", "restored"]
    """``present`` tells what is there, first of all and where it is not known what happened in between."""
    endpoints: tuple[Endpoint, ...] = ()
    """All that are there of ``present``, the one that came of ``online``."""
    path: str | None = None
    """The name of the one that came or went."""
    at: datetime.datetime | None = None
    """When it went."""
    error: RelayError | None = None
    """Why the relay is not heard."""
    retry_in: float | None = None
    """How many seconds until it is asked again."""


async def endpoints(target: str | None = None, /, **options: Unpack[ReachOptions]) -> tuple[Endpoint, ...]:
    """The endpoints of a namespace that are online now, in the order of their names. Options are those of :class:`ReachOptions`.

    Raises :class:`Unsupported` if the relay tells nobody, as Azure Relay.
    """
    namespace = _native.Namespace(target, native(options))
    return _endpoints(await call(namespace.endpoints))


class EndpointEvents:
    """Everything that happens to the endpoints of a namespace, in order, also over the loss of the connection to the relay."""

    def __init__(self, native: _native.EndpointEvents) -> None:
        self._heard: Source[Any] = Source(native.next)

    async def next(self) -> EndpointEvent:
        """What happens next. Raises only if the relay cannot be heard at first; then the next call tries again."""
        while True:
            event = await self._heard.next()
            if event["kind"] != "unknown":
                return EndpointEvent(
                    event["kind"],
                    _endpoints(event.get("endpoints", ())),
                    event.get("path"),
                    time(event.get("at")),
                    event.get("error"),
                    event.get("retry_in"),
                )

    def __aiter__(self) -> EndpointEvents:
        return self

    async def __anext__(self) -> EndpointEvent:
        return await self.next()


def watch_endpoints(target: str | None = None, /, **options: Unpack[ReachOptions]) -> EndpointEvents:
    """Follows the endpoints of a namespace: ``async for event in watch_endpoints(cs)``. Options are those of :class:`ReachOptions`."""
    return EndpointEvents(_native.Namespace(target, native(options)).watch())


def presence(facts: Any) -> Presence:
    """Made from what the native half tells."""
    count, since, listeners = facts
    return Presence(count, time(since), None if listeners is None else tuple(_listener(facts) for facts in listeners))


def _listener(facts: dict[str, Any]) -> PresentListener:
    facts = dict(facts)
    facts["features"] = tuple(facts["features"])
    for name in ("since", "last_heard"):
        facts[name] = time(facts[name])
    return PresentListener(**facts)


def _endpoints(all_facts: Any) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(**{**facts, "tags": tuple(facts["tags"]), "since": time(facts["since"])}) for facts in all_facts
    )


def time(seconds: float | None) -> datetime.datetime | None:
    """Seconds since 1970 as a time in UTC."""
    return None if seconds is None else datetime.datetime.fromtimestamp(seconds, datetime.UTC)
