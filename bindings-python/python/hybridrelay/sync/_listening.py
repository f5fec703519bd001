"""Listeners."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .. import _incoming, _listener
from .._listener import Status
from .._logging import logger
from .._run import run
from .._stopping import GRACE

if TYPE_CHECKING:
    from .._asgi import ASGIApplication, LifespanMode
    from .._wsgi import WSGIApplication

from ._event import Events
from ._serving import Incoming, IncomingConnect, IncomingRequest
from ._wrapper import _Closing, _each


class Listener(_Closing[_listener.Listener]):
    """Is online under a hybrid connection. See :class:`hybridrelay.Listener`."""

    __slots__ = ()

    def accept(self, timeout: float | None = None) -> Incoming | None:
        """The next sender that waits; ``None`` after :meth:`close`. Raises :class:`Timeout` after `timeout` seconds."""
        incoming = run(self._inner.accept(), timeout)
        if incoming is None:
            return None
        if isinstance(incoming, _incoming.IncomingConnect):
            return IncomingConnect(incoming)
        return IncomingRequest(incoming)

    def serve(self, handler: Callable[[Incoming], object], *, max_workers: int = 32) -> None:
        """Calls ``handler(incoming)`` for each sender in a thread of its own, at most `max_workers` at once, until :meth:`close`.

        What a handler raises is logged; its sender, if unanswered, gets 502 for a connection and 500 for a request.
        """
        turns = threading.Semaphore(max_workers)
        threads: set[threading.Thread] = set()
        try:
            while True:
                # What no thread is free for waits in the listener, which refuses more than its `max_concurrent`.
                turns.acquire()
                incoming = self.accept()
                if incoming is None:
                    break
                threads = {thread for thread in threads if thread.is_alive()}
                # A daemon, so that a handler that waits does not keep a program which was interrupted.
                work = (handler, incoming, turns)
                thread = threading.Thread(target=_handle, args=work, name="hybridrelay handler", daemon=True)
                threads.add(thread)
                thread.start()
        except BaseException:
            self.close()
            raise
        for thread in threads:
            thread.join()

    def serve_wsgi(self, app: WSGIApplication, *, threads: int = 16, spool: bool = False, grace: float = GRACE) -> None:
        """Runs a WSGI application, such as one of Flask, until :meth:`close`, in so many threads. See
        :meth:`hybridrelay.Listener.serve_wsgi`."""
        asyncio.run(self._inner.serve_wsgi(app, threads=threads, spool=spool, grace=grace))

    def serve_asgi(
        self, app: ASGIApplication, *, lifespan: LifespanMode = "auto", spool: bool = False, grace: float = GRACE
    ) -> None:
        """Runs an ASGI application until :meth:`close`, in an event loop of its own in this thread. See
        :meth:`hybridrelay.Listener.serve_asgi`."""
        asyncio.run(self._inner.serve_asgi(app, lifespan=lifespan, spool=spool, grace=grace))

    def forward(self, target: str, **options: Any) -> None:
        """Sends everything that comes to a server near the listener, until :meth:`close`. See :meth:`hybridrelay.Listener.forward`."""
        run(self._inner.forward(target, **options))

    def events(self) -> Events:
        """Takes everything that comes from here on as events."""
        return Events(self._inner.events())

    @property
    def status(self) -> Status:
        """The status now."""
        return self._inner.status

    def statuses(self) -> Iterator[Status]:
        """The status now, and each change, until the listener has ended."""
        return _each(self._inner.statuses())

    def on_status(self, callback: Callable[[Status], object]) -> None:
        """Calls `callback` with the status now and with each change, in a thread of its own, until the listener has ended."""

        def follow() -> None:
            for status in self.statuses():
                try:
                    callback(status)
                except Exception:
                    logger.exception("a status callback failed")

        threading.Thread(target=follow, name="hybridrelay status", daemon=True).start()

    @property
    def features(self) -> frozenset[str]:
        """What the relay offers beyond the protocol."""
        return self._inner.features

    @property
    def address(self) -> str:
        """The relay's address."""
        return self._inner.address

    @property
    def entity(self) -> str:
        """The name of the hybrid connection."""
        return self._inner.entity

    def close(self, *, grace: float | None = None) -> None:
        """Goes offline, within 2 s. Accepted connections go on. While it serves an ASGI or WSGI application, what is under way has
        `grace` seconds before that; see :meth:`hybridrelay.Listener.close`."""
        run(self._inner.close(grace=grace))

    def __iter__(self) -> Iterator[Incoming]:
        return iter(self.accept, None)


def _handle(handler: Callable[[Incoming], object], incoming: Incoming, turns: threading.Semaphore) -> None:
    try:
        handler(incoming)
        if not incoming.is_answered:
            _refuse(incoming, "The listener has not answered")
    except Exception:
        logger.exception("a handler failed: %r", incoming)
        _refuse(incoming, "The listener failed")
    finally:
        incoming._inner._drop()
        turns.release()


def _refuse(incoming: Incoming, reason: str) -> None:
    run(_listener._refuse(incoming._inner, reason))
