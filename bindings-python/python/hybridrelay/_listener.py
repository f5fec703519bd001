"""The listening side."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import os
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, Unpack

from . import _native
from ._errors import RelayError, Timeout
from ._incoming import Incoming, IncomingConnect, wrap
from ._logging import logger
from ._opening import Opening
from ._options import ListenerOptions
from ._options import native as native_options
from ._run import Each, Source, call
from ._stopping import ENDING, GRACE, Stopping, within

if TYPE_CHECKING:
    from ._asgi import ASGIApplication, LifespanMode
    from ._events import Events
    from ._wsgi import WSGIApplication

Handler: TypeAlias = Callable[[Incoming], Awaitable[object]]
"""Takes care of one sender."""

StatusCallback: TypeAlias = Callable[["Status"], Union[None, Awaitable[None]]]
"""Is told of a new status."""


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """Whether a listener is online."""

    state: Literal["connecting", "online", "offline", "closed"]
    """``connecting`` before the first success, ``online`` while senders reach it, ``offline`` while it tries again, ``closed`` for good."""
    error: RelayError | None = None
    """Why it is offline, or closed by itself."""
    retry_in: float | None = None
    """How many seconds until the next attempt, of a listener that is offline; ``None`` while it waits for a new token."""
    expires_at: datetime.datetime | None = None
    """When a listener that is online goes offline unless it gets a new token: only with a ready-made one."""

    @property
    def is_online(self) -> bool:
        """Whether senders reach the listener."""
        return self.state == "online"


def _status(facts: Any) -> Status | None:
    if facts is None:
        return None
    state, error, retry_in, expires_at = facts
    expires = None if expires_at is None else datetime.datetime.fromtimestamp(expires_at, datetime.UTC)
    return Status(state, error, retry_in, expires)


class Listener:
    """Is online under a hybrid connection, also over the loss of the network and the end of a token.

    ``async for incoming in listener`` yields what comes until the program's own :meth:`close`; what the network does meanwhile shows in
    :attr:`status`. ``async with`` closes it in the end.
    """

    def __init__(self, native: _native.Listener) -> None:
        self._native = native
        self._accepted: Source[Any] = Source(native.accept)
        self._followers: set[asyncio.Task[None]] = set()
        self._pid = os.getpid()
        self._over = False
        #: How the applications end that it serves.
        self._stops: set[Stopping] = set()

    async def accept(self) -> Incoming | None:
        """The next sender that waits: :class:`IncomingConnect` or :class:`IncomingRequest`; ``None`` after :meth:`close`.

        A final failure is raised once; there is none unless ``reconnect=False``. Several tasks may wait: each sender goes to one.
        """
        while (native := await self._accepted.next()) is ...:
            # Of a kind that this version does not know; it was refused.
            pass
        return wrap(native)

    async def _each(self, take: Callable[[Incoming], None]) -> None:
        """Calls `take` with every sender that comes, until :meth:`close`."""

        def taken(native: Any) -> bool:
            # What is of a kind that this version does not know was refused.
            incoming = None if native is ... else wrap(native)
            if incoming is not None:
                take(incoming)
            return native is not None

        await self._accepted.each(taken)

    async def serve(self, handler: Handler) -> None:
        """Calls ``await handler(incoming)`` for each sender, in a task of its own, until :meth:`close`.

        What a handler raises is logged; its sender, if unanswered, gets 502 for a connection and 500 for a request, and others are not
        affected. A sender that a handler leaves unanswered is refused the same way. Cancelling cancels the handlers. A final failure of the
        listener is raised when the handlers have ended.
        """
        failure: RelayError | None = None
        async with asyncio.TaskGroup() as group:
            try:
                async for incoming in self:
                    group.create_task(_handle(handler, incoming))
            except RelayError as error:
                # Handlers at work go on, and it is told as itself instead of in a group.
                failure = error
        if failure is not None:
            raise failure

    async def serve_asgi(
        self, app: ASGIApplication, *, lifespan: LifespanMode = "auto", spool: bool = False, grace: float = GRACE
    ) -> None:
        """Runs an ASGI application, such as one of FastAPI, Starlette or Django, until :meth:`close`: requests as HTTP, connections as
        WebSockets. The hybrid connection is its ``root_path``.

        `lifespan` is as in uvicorn: ``auto`` tolerates an application that knows nothing of startup and shutdown, ``off`` is for one that
        another server in this process starts. What fails in the application is logged and answered with 500; a failure to start is a
        :class:`RuntimeError`. At the :meth:`close` WebSockets are closed with 1001, and requests have `grace` seconds before they are
        cancelled; cancelling this call cancels them at once.

        Bodies stream both ways. The relay does not tell the length of long ones, so their ``Content-Length`` is missing. With `spool` a body
        is put into a temporary file before the application is asked, and its length is known: for applications that take a missing length
        for an empty body, as Django does with forms.

        No header fields reach the sender with the accept of a WebSocket, and a refusal is its status and a reason.
        """
        from ._asgi import serve

        await serve(self, app, lifespan, spool, grace)

    async def serve_wsgi(
        self, app: WSGIApplication, *, threads: int = 16, spool: bool = False, grace: float = GRACE
    ) -> None:
        """Runs a WSGI application, such as one of Flask, until :meth:`close`, in so many threads. The hybrid connection is its
        ``SCRIPT_NAME``.

        Bodies stream both ways. Without `spool`, see :meth:`serve_asgi`, the ``CONTENT_LENGTH`` of long ones is missing, and the input just
        ends (``wsgi.input_terminated``).

        What fails in the application is logged and answered with 500. At the :meth:`close` requests have `grace` seconds; a thread that takes
        longer goes on, and its sender is told no more. Connections are rejected with 501: WSGI knows no WebSockets.
        """
        from ._wsgi import serve

        await serve(self, app, threads, spool, grace)

    async def forward(
        self,
        target: str,
        *,
        strip: bool = True,
        rewrite: bool = False,
        forwarded_headers: bool = False,
        extra_ca_pem: str | bytes | None = None,
        insecure_skip_verify: bool = False,
    ) -> None:
        """Sends everything that comes to a server near the listener, until :meth:`close`.

        `target` is ``tcp://host:port``, ``unix:/path``, ``http://host:port/base`` or ``https://…``. `strip` takes the hybrid connection's
        name off the path, `rewrite` adapts ``Location`` and the paths of cookies, `forwarded_headers` adds ``X-Forwarded-*``.
        """
        pem = extra_ca_pem.encode() if isinstance(extra_ca_pem, str) else extra_ca_pem
        await call(self._native.forward, target, strip, rewrite, forwarded_headers, pem, insecure_skip_verify)

    def events(self) -> Events:
        """Takes everything that comes from here on as events: the messages of every publisher, and requests.

        Senders are accepted by themselves; do not call :meth:`accept` meanwhile.
        """
        from ._events import Events

        return Events(self._native.events())

    @property
    def status(self) -> Status:
        """The status now."""
        status = _status(self._native.status())
        assert status is not None
        return status

    def statuses(self) -> AsyncIterator[Status]:
        """The status now, and each change, until the listener has ended. The newest always comes; what was over before may be skipped."""
        seen: Source[Any] = Source(self._native.watch().changed)
        told: Status | None = None

        async def next() -> Status | None:
            nonlocal told
            status: Status | None = self.status if told is None else told
            while status == told:
                status = _status(await seen.next())
            told = status or told
            return status

        return Each(next)

    def on_status(self, callback: StatusCallback) -> Callable[[], None]:
        """Calls `callback` with the status now and with each change, in this event loop. Returns a function that ends that."""

        async def follow() -> None:
            async for status in self.statuses():
                try:
                    result = callback(status)
                    if result is not None:
                        await result
                except Exception:
                    logger.exception("a status callback failed")

        task = asyncio.get_running_loop().create_task(follow(), name="hybridrelay status")
        self._followers.add(task)
        task.add_done_callback(self._followers.discard)

        def stop() -> None:
            task.cancel()

        return stop

    @property
    def features(self) -> frozenset[str]:
        """What the relay offers beyond the protocol; nothing from Azure Relay."""
        return frozenset(self._native.features())

    @property
    def address(self) -> str:
        """The relay's address."""
        return self._native.place()[0]

    @property
    def entity(self) -> str:
        """The name of the hybrid connection."""
        return self._native.place()[1]

    async def close(self, *, grace: float | None = None) -> None:
        """Goes offline, within 2 s: whoever waits in :meth:`accept` gets ``None``, senders that wait are rejected, accepted connections
        go on. May be called again.

        While it serves an ASGI or WSGI application, what is under way has `grace` seconds before that, those of the call that serves
        unless they are given here, and senders that come meanwhile get 503; then it is cancelled. This returns a second after the grace at
        the latest. ``close(grace=30)`` drains; a second close may make it sooner.
        """
        self._over = True
        stops = tuple(self._stops)
        if not stops:
            await call(self._native.close)
            return
        for stopping in stops:
            stopping.begin(grace)
        if within.get():
            # The application ends itself, and is under way.
            return
        for stopping in stops:
            await stopping.wait()
        # It is, unless the call that serves was cancelled meanwhile.
        with contextlib.suppress(Timeout):
            await call(self._native.close, limit=ENDING)

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Incoming:
        incoming = await self.accept()
        if incoming is None:
            raise StopAsyncIteration
        return incoming

    async def __aenter__(self) -> Listener:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if not getattr(self, "_over", True) and not sys.is_finalizing() and self._pid == os.getpid():
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        try:
            return f"<hybridrelay.Listener '{self.entity}' {self.status.state}>"
        except RelayError as error:
            return f"<hybridrelay.Listener: {error}>"


async def _handle(handler: Handler, incoming: Incoming) -> None:
    try:
        await handler(incoming)
        if not incoming.is_answered:
            await _refuse(incoming, "The listener has not answered")
    except Exception:
        logger.exception("a handler failed: %r", incoming)
        await _refuse(incoming, "The listener failed")
    finally:
        incoming._drop()


async def _refuse(incoming: Incoming, reason: str) -> None:
    try:
        await incoming._refuse(502 if isinstance(incoming, IncomingConnect) else 500, reason)
    except RelayError as error:
        logger.debug("a sender could not be told: %s", error)


def listen(target: str | None = None, /, **options: Unpack[ListenerOptions]) -> Opening[Listener]:
    """Gets online: ``listener = await listen(cs)``, or ``async with listen(cs) as listener``.

    `target` is a connection string or an address; without one ``HYBRIDRELAY_CONNECTION_STRING`` is read. Options are those of
    :class:`ListenerOptions`: ``credential``, ``connect_timeout``, ``reconnect``, ``wait``, ``subprotocols``, ``labels`` and others.

    Raises :class:`Unauthorized`, :class:`EndpointNotFound`, :class:`NetworkError`, :class:`TlsError`, :class:`Timeout`,
    :class:`InvalidArgument`.
    """

    async def open() -> Listener:
        return Listener(await call(_native.Listener.open, target, native_options(options)))

    return Opening(open)
