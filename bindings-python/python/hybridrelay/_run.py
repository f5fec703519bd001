"""How calls of the native half end: in an event loop, or in a thread that waits.

Operations end in a queue with a descriptor. In an event loop the descriptor is a reader; a blocking call polls it, so that signals are
handled while it waits. The same coroutines run in both: within :func:`run` every wait blocks, so they end without an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import select
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar

from . import _logging, _native
from ._errors import ErrorKind, make

T = TypeVar("T")

_tags = itertools.count(1)

#: Of so many results that are there already one lets the others in the loop have their turn.
TURNS = 64


class LoopDriver:
    """Waits in an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue = _native.Queue()
        self._waiting: dict[int, asyncio.Future[Any] | _Handing] = {}
        self._watchers: dict[int, Callable[[], None]] = {}
        loop.add_reader(self.queue.fileno(), self._drain)

    def watch(self, wake: Callable[[], None]) -> int:
        """Calls `wake` whenever the tag that this returns arrives, until :meth:`unwatch`."""
        tag = next(_tags)
        self._watchers[tag] = wake
        return tag

    def unwatch(self, tag: int) -> None:
        self._watchers.pop(tag, None)

    async def wait(self, operation: int, tag: int, limit: float | None) -> Any:
        future: asyncio.Future[Any] = self.loop.create_future()
        self._waiting[tag] = future
        timer = None if limit is None else self.loop.call_later(limit, self._expire, operation, tag, limit)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                # Looked at here, so that nobody is told that it never was.
                future.exception()
                raise _Arrived(future) from None
            self.forget(operation, tag)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def forget(self, operation: int, tag: int) -> None:
        """Nobody waits for the end of an operation any more."""
        self._waiting.pop(tag, None)
        self.queue.abandon(operation)

    def _expire(self, operation: int, tag: int, limit: float) -> None:
        future = self._waiting.pop(tag, None)
        if future is not None and not future.done():
            self.queue.abandon(operation)
            future.set_exception(_timeout(limit))

    def _drain(self) -> None:
        for tag, value, error in self.queue.take():
            future = self._waiting.pop(tag, None)
            if future is None:
                watcher = self._watchers.get(tag)
                if watcher is not None:
                    watcher()
            elif not future.done():
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)


class _Arrived(asyncio.CancelledError):
    """A wait was cancelled in the moment in which its result came."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        super().__init__()
        self.future = future


#: How long the main thread waits before it looks whether a signal has come, in milliseconds. One that comes just before the system call
#: does not interrupt it, and only the main thread runs handlers.
_GLANCE = 500


class BlockingDriver:
    """Waits in a thread."""

    def __init__(self) -> None:
        self._longest = _GLANCE if threading.current_thread() is threading.main_thread() else None
        self.queue = _native.Queue()
        self._poll = select.poll()
        self._poll.register(self.queue.fileno(), select.POLLIN)
        self._ended: dict[int, tuple[Any, BaseException | None]] = {}

    def wait(self, operation: int, tag: int, deadline: float | None) -> Any:
        try:
            while tag not in self._ended:
                self._look(deadline)
        except BaseException:
            self.forget(operation, tag)
            raise
        value, error = self._ended.pop(tag)
        if error is not None:
            raise error
        return value

    def forget(self, operation: int, tag: int) -> None:
        """Nobody waits for the end of an operation any more."""
        if self._ended.pop(tag, None) is None:
            self.queue.abandon(operation)

    def _look(self, deadline: float | None) -> None:
        if deadline is None:
            self._poll.poll(self._longest)
        else:
            left = deadline - time.monotonic()
            wait = max(1, int(left * 1000))
            if left < 0 or not self._poll.poll(wait if self._longest is None else min(wait, self._longest)):
                # What came in the last moment counts.
                if not self._poll.poll(0) and time.monotonic() >= deadline:
                    raise _timeout(None)
        for tag, value, error in self.queue.take():
            self._ended[tag] = (value, error)


class _Local(threading.local):
    """Of a thread: how it waits, while it runs :func:`run`."""

    driver: BlockingDriver | None = None
    running: bool = False
    turns: int = 0
    deadline: float | None = None


_local = _Local()
_loops: dict[asyncio.AbstractEventLoop, LoopDriver] = {}


def _forget() -> None:
    """Leaves everything to the parent: a child has queues of its own."""
    global _local
    _loops.clear()
    _local = _Local()


os.register_at_fork(after_in_child=_forget)


def loop_driver() -> LoopDriver:
    """That of the running event loop."""
    loop = asyncio.get_running_loop()
    driver = _loops.get(loop)
    if driver is None:
        # Those that were closed hold what was under way in them.
        for other in [other for other in list(_loops) if other.is_closed()]:
            _loops.pop(other, None)
        _logging.follow_level()
        driver = _loops[loop] = LoopDriver(loop)
    return driver


def blocking_driver() -> BlockingDriver:
    """That of this thread."""
    if _local.driver is None:
        _logging.follow_level()
        _local.driver = BlockingDriver()
    return _local.driver


def is_blocking() -> bool:
    """Whether this runs within :func:`run`."""
    return _local.running


@contextlib.contextmanager
def within(limit: float | None) -> Iterator[None]:
    """All that blocks in here has so many seconds together."""
    before = _local.deadline
    if limit is not None:
        until = time.monotonic() + limit
        _local.deadline = until if before is None else min(before, until)
    try:
        yield
    finally:
        _local.deadline = before


class Pending(Generic[T]):
    """An operation that goes on."""

    def __init__(self, begun: _native.Begun) -> None:
        self._driver: LoopDriver | BlockingDriver
        if _local.running:
            self._driver = blocking_driver()
        else:
            self._driver = loop_driver()
        self._tag = next(_tags)
        self._operation = begun.wait(self._driver.queue, self._tag)

    def wait(self, limit: float | None = None) -> Coroutine[Any, Any, T]:
        """What it comes to. Cancelling cancels it."""
        if isinstance(self._driver, LoopDriver):
            return self._driver.wait(self._operation, self._tag, limit)
        return self._block(self._driver, limit)

    async def _block(self, driver: BlockingDriver, limit: float | None) -> T:
        if limit is None:
            return driver.wait(self._operation, self._tag, _local.deadline)  # type: ignore[no-any-return]
        with within(limit):
            return driver.wait(self._operation, self._tag, _local.deadline)  # type: ignore[no-any-return]

    def abandon(self) -> None:
        """Nobody wants to know what it comes to."""
        self._driver.forget(self._operation, self._tag)


async def turn() -> None:
    """Lets the others in the loop have their turn: what ends at once waits for nothing else."""
    if not _local.running:
        await asyncio.sleep(0)


async def call(start: Callable[..., T | _native.Begun], *args: Any, limit: float | None = None) -> T:
    """Begins an operation and waits for its end. One that ends at once costs little."""
    if _local.turns >= TURNS:
        _local.turns = 0
        await turn()
    begun = start(*args)
    # What goes on is of this very type.
    if type(begun) is not _native.Begun:
        _local.turns += 1
        return begun
    # The others have their turn meanwhile.
    _local.turns = 0
    pending: Pending[T] = Pending(begun)
    try:
        return await pending.wait(limit)
    except _Arrived:
        # What came is dropped, which undoes it: a connection is aborted, a listener closed.
        raise asyncio.CancelledError from None


class Source(Generic[T]):
    """What one native call yields, one after the other. A cancelled wait loses nothing: the next call gets it."""

    def __init__(self, start: Callable[[], T | _native.Begun]) -> None:
        self._start = start
        #: What came for waits that were cancelled. Nearly always empty, and of many sources, so it is no deque.
        self._kept: list[asyncio.Future[Any]] = []
        self._turns = 0

    async def next(self) -> T:
        if self._kept:
            return self._kept.pop(0).result()  # type: ignore[no-any-return]
        self._turns = (self._turns + 1) % TURNS
        if not self._turns:
            await turn()
        begun = self._start()
        if type(begun) is not _native.Begun:
            return begun
        pending: Pending[T] = Pending(begun)
        try:
            return await pending.wait()
        except _Arrived as arrived:
            self._kept.append(arrived.future)
            raise asyncio.CancelledError from None

    async def each(self, take: Callable[[T], bool]) -> None:
        """Calls `take` with everything that comes, in the very turn of the loop in which it comes, until it returns false."""
        while self._kept:
            if not take(self._kept.pop(0).result()):
                return
        handing = _Handing(loop_driver(), self, take)
        try:
            handing.ask()
            await handing.over
        finally:
            handing.stop()

    def take_kept(self) -> list[T]:
        """What came for waits that were cancelled, for whoever goes on in another way."""
        kept = [future.result() for future in self._kept if future.exception() is None]
        self._kept.clear()
        return kept


class _Handing:
    """Stands where a future stands that somebody waits for: what comes is handed on at once, and the next is asked for."""

    def __init__(self, driver: LoopDriver, source: Source[Any], take: Callable[[Any], bool]) -> None:
        self.over: asyncio.Future[None] = driver.loop.create_future()
        self._driver = driver
        self._source = source
        self._take = take
        #: The operation that is waited for, and its tag.
        self._asked: tuple[int, int] | None = None

    def ask(self) -> None:
        """Takes what is there, and waits for the next; many have their turns between those of others."""
        try:
            for _ in range(TURNS):
                if self.over.done():
                    return
                begun = self._source._start()
                if type(begun) is _native.Begun:
                    tag = next(_tags)
                    self._driver._waiting[tag] = self
                    self._asked = begun.wait(self._driver.queue, tag), tag
                    return
                self._hand(begun)
        except BaseException as error:
            self._end(error)
        else:
            self._driver.loop.call_soon(self.ask)

    def _hand(self, value: Any) -> None:
        if not self._take(value):
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)

    def done(self) -> bool:
        """Whether nothing more is taken."""
        return self._asked is None

    def set_result(self, value: Any) -> None:
        """It has come."""
        self._asked = None
        if self.over.done():
            # The wait was cancelled in this very turn: whoever asks next gets it.
            kept = self._driver.loop.create_future()
            kept.set_result(value)
            self._source._kept.append(kept)
            return
        try:
            self._hand(value)
        except BaseException as error:
            self._end(error)
        else:
            self.ask()

    def set_exception(self, error: BaseException) -> None:
        """It has failed."""
        self._asked = None
        self._end(error)

    def stop(self) -> None:
        """Nothing more is wanted. What had come was handed on."""
        asked, self._asked = self._asked, None
        if asked is not None:
            self._driver.forget(*asked)
        if self.over.done() and not self.over.cancelled():
            # Looked at here, so that nobody is told that it never was.
            self.over.exception()
        self.over.cancel()


class Each(Generic[T]):
    """What a function yields until it yields `None`, for ``async for``. Unlike an asynchronous generator it goes on behind a wait that was
    cancelled."""

    __slots__ = ("_next",)

    def __init__(self, next: Callable[[], Awaitable[T | None]]) -> None:
        self._next = next

    def __aiter__(self) -> Each[T]:
        return self

    async def __anext__(self) -> T:
        item = await self._next()
        if item is None:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Nothing more comes, for ``contextlib.aclosing``."""
        self._next = _nothing


async def _nothing() -> None:
    return None


def run(coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """Runs a coroutine of this package to its end in this thread, without an event loop: its waits block."""
    before = (_local.running, _local.deadline)
    _local.running = True
    _local.deadline = None if timeout is None else time.monotonic() + timeout
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        _local.running, _local.deadline = before
        coroutine.close()
    raise RuntimeError("a blocking call has waited for an event loop, which is a fault of the library")


def _timeout(limit: float | None) -> BaseException:
    within = "in time" if limit is None else f"within {limit:g} s"
    return make(ErrorKind.TIMEOUT, f"the call has not ended {within}", retryable=True)
