"""How the close of a listener waits for the application that it serves.

What the application is at has its grace. Then it is cancelled, has a moment to say so, and the listener goes offline, whatever the
application makes of that. By default all of it is over within the 2 s that a close takes at most.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from contextvars import ContextVar

from ._run import is_blocking

#: How many seconds what is under way at a close has, unless the program says otherwise.
GRACE = 1.0

#: How many seconds what was cancelled has before the listener goes offline.
LAST_WORDS = 0.25

#: How many seconds are left for the relay to see that, when everything before took as long as it may. It goes on anyway.
GOING_OFFLINE = 0.5

#: How many seconds a close waits for that when the application has ended without it.
ENDING = 0.25

#: Whether this runs as a part of an application: then it must not wait for its own end.
within: ContextVar[bool] = ContextVar("within an application of hybridrelay", default=False)


class Stopping:
    """Of one application that is served: how to begin its end, from any thread, and whether it is over."""

    def __init__(self, begin: Callable[[float | None], None]) -> None:
        self.begin = begin
        self._over: concurrent.futures.Future[None] = concurrent.futures.Future()

    async def wait(self) -> None:
        """Waits until everything under way was answered, or had its time."""
        if is_blocking():
            self._over.result()
        else:
            await asyncio.shield(asyncio.wrap_future(self._over))

    def over(self) -> None:
        """It is over. May be told again."""
        if not self._over.done():
            self._over.set_result(None)
