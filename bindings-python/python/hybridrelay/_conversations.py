"""Everybody that an application talks to beside one another, and how that ends.

When the listener is closed, what is under way is answered first: answers of requests that came by the control channel go back by it, so it
has to live until they are given.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from ._errors import RelayError, Timeout
from ._incoming import Incoming, IncomingConnect
from ._logging import logger
from ._run import call
from ._stopping import GOING_OFFLINE, LAST_WORDS, Stopping, within

if TYPE_CHECKING:
    from ._listener import Listener

_REASON = "The listener is stopping"


class Endless(Protocol):
    """A conversation of which nobody knows when it would end by itself."""

    def go_away(self) -> None:
        """Ends it, in good order."""


async def serve(
    conversations: Conversations,
    begin: Callable[[Incoming], Coroutine[Any, Any, None]],
    turns: asyncio.Semaphore | None = None,
) -> None:
    """Begins a conversation with everybody who comes, until the listener is closed; of `turns` each takes one."""

    def talk(incoming: Incoming) -> Coroutine[Any, Any, None]:
        return _refuse(incoming) if conversations.are_ending else begin(incoming)

    try:
        if turns is None:
            await conversations.listener._each(lambda incoming: conversations.begin(talk(incoming)))
        while turns is not None:
            # Those for whom there is none wait in the listener, which refuses more than its `max_concurrent`.
            await turns.acquire()
            incoming = await conversations.listener.accept()
            if incoming is None:
                break
            conversations.begin(_taking(turns, talk(incoming)))
    except Exception:
        # Answers that go by a connection of their own do not need the listener any more.
        await conversations.end()
        raise
    except BaseException:
        await conversations.cancel()
        raise
    await conversations.end()


async def _taking(turns: asyncio.Semaphore, talk: Coroutine[Any, Any, None]) -> None:
    try:
        await talk
    finally:
        turns.release()


class Conversations:
    """Everybody that an application talks to. In the end they have a while, then they are cancelled, and the listener closes."""

    def __init__(self, listener: Listener, grace: float) -> None:
        self.listener = listener
        self._grace = grace
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: set[Endless] = set()
        self._loop = asyncio.get_running_loop()
        #: What each of them begins with: the context of the call that serves, and that it is within an application.
        self._context = contextvars.copy_context()
        self._context.run(within.set, True)
        self._ending: asyncio.Task[None] | None = None
        #: Until when what is under way has time, and what watches that.
        self._until = math.inf
        self._patience: asyncio.Timeout | None = None

    def __enter__(self) -> Conversations:
        self._stopping = Stopping(self.stop)
        self.listener._stops.add(self._stopping)
        return self

    def __exit__(self, *_: object) -> None:
        self.listener._stops.discard(self._stopping)
        self._stopping.over()

    @property
    def are_ending(self) -> bool:
        """Whether nobody new is talked to."""
        return self._ending is not None

    def begin(self, conversation: Coroutine[Any, Any, None]) -> None:
        """Talks to somebody beside the others."""
        task = self._context.run(self._loop.create_task, conversation, name="hybridrelay application")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @contextlib.contextmanager
    def open(self, socket: Endless) -> Iterator[None]:
        """Nobody knows when a WebSocket would end by itself, so the end of the listener is its end."""
        self._sockets.add(socket)
        try:
            yield
        finally:
            self._sockets.discard(socket)

    def stop(self, grace: float | None) -> None:
        """Begins the end, from any thread. If it has begun, this may only make it sooner."""
        # In the loop itself it has begun with the return: who comes from then on is told to come again.
        if asyncio._get_running_loop() is self._loop:
            self._begin_end(grace)
        else:
            self._loop.call_soon_threadsafe(self._begin_end, grace)

    async def end(self) -> None:
        """Ends them, and waits for that."""
        try:
            await asyncio.shield(self._ending or self._begin_end(None))
        except asyncio.CancelledError:
            await self.cancel()
            raise

    def _begin_end(self, grace: float | None) -> asyncio.Task[None]:
        self._until = min(self._until, self._loop.time() + (self._grace if grace is None else grace))
        if self._ending is None:
            self._ending = self._loop.create_task(self._end(), name="hybridrelay end of an application")
        elif self._patience is not None:
            # It may be over already.
            with contextlib.suppress(RuntimeError):
                self._patience.reschedule(self._until)
        return self._ending

    async def _end(self) -> None:
        for socket in self._sockets:
            socket.go_away()
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._until) as self._patience:
                    await asyncio.wait(self._tasks)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_WORDS)
        left = self._until + LAST_WORDS + GOING_OFFLINE - self._loop.time()
        with contextlib.suppress(Timeout):
            await call(self.listener._native.close, limit=max(left, 0.0))
        self._stopping.over()
        # Who takes its cancellation for something else is waited for by the call that serves.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """Ends them at once."""
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.gather(self._ending, return_exceptions=True)
        await self._cancel_tasks()

    async def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _refuse(incoming: Incoming) -> None:
    """Tells a sender that comes meanwhile to come again."""
    try:
        if isinstance(incoming, IncomingConnect):
            await incoming.reject(503, _REASON)
        else:
            await incoming.respond(503, _REASON + "\n", reason=_REASON, headers={"retry-after": "1"})
    except RelayError as error:
        logger.debug("a sender could not be told: %s", error)
    finally:
        incoming._drop()
