"""How the close of a listener waits for the application that it serves."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from contextvars import ContextVar

from ._run import is_blocking

#: Whether this runs as a part of an application: then it must not wait for its own end.
within: ContextVar[bool] = ContextVar("within an application of hybridrelay", default=False)


class Stopping:
    """Of one application that is served: how to begin its end, from any thread, and whether it is over."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self.begin = begin
        self._over: concurrent.futures.Future[None] = concurrent.futures.Future()

    async def wait(self) -> None:
        """Waits until everything under way was answered, or had its time."""
        if is_blocking():
            self._over.result()
        else:
            await asyncio.shield(asyncio.wrap_future(self._over))

    def over(self) -> None:
        """It is over."""
        self._over.set_result(None)
