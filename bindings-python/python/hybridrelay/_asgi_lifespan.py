"""Tells an application that it starts and ends."""

from __future__ import annotations

import asyncio
from typing import Any

from ._logging import logger

_ANSWERS = {f"lifespan.{what}.{how}" for what in ("startup", "shutdown") for how in ("complete", "failed")}

#: So many seconds an application has to return behind its last answer.
_RETURN = 5


class Lifespan:
    """``async with Lifespan(app, mode) as state``: an application between its start and its end.

    One that fails to start raises :class:`RuntimeError`. One that knows nothing of this just runs, unless the mode is ``on``.
    """

    def __init__(self, app: Any, mode: str) -> None:
        if mode not in ("auto", "on", "off"):
            raise ValueError(f"lifespan is 'auto', 'on' or 'off', not {mode!r}")
        self._app = app
        self._mode = mode
        self._state: dict[str, Any] = {}
        self._asked: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._answered: asyncio.Queue[Any] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> dict[str, Any]:
        if self._mode == "off":
            return self._state
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        # One task for both, since what an application opens must often be closed by the task that has opened it.
        self._task = asyncio.create_task(self._app(scope, self._receive, self._send), name="hybridrelay lifespan")
        try:
            answer = await self._ask("startup")
        except BaseException:
            await self._stop()
            raise
        if answer is None:
            failure = None if self._task.cancelled() else self._task.exception()
            self._task = None
            if self._mode == "on":
                raise RuntimeError("the application does not answer to lifespan events") from failure
            logger.debug("the application knows nothing of its lifespan: %r", failure)
        elif answer["type"] == "lifespan.startup.failed":
            failure = await self._returned()
            lines = answer.get("message", "").strip().splitlines()
            raise RuntimeError("the application failed to start" + (f": {lines[-1]}" if lines else "")) from failure
        return self._state

    async def __aexit__(self, *_: object) -> None:
        if self._task is None:
            return
        try:
            answer = await self._ask("shutdown")
            if answer is None or answer["type"] == "lifespan.shutdown.failed":
                message = "" if answer is None else answer.get("message", "")
                logger.error("the application failed to end in good order%s", message and f": {message}")
            await self._returned()
        finally:
            await self._stop()

    async def _ask(self, what: str) -> Any:
        """What the application answers; `None` if it has ended without an answer."""
        assert self._task is not None
        self._asked.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.create_task(self._answered.get())
        try:
            await asyncio.wait((self._task, answer), return_when=asyncio.FIRST_COMPLETED)
            # It may have answered and ended at once.
            return answer.result() if answer.done() else None if self._answered.empty() else self._answered.get_nowait()
        finally:
            answer.cancel()

    async def _returned(self) -> BaseException | None:
        """Waits until the application has returned. What it raised, if it did."""
        assert self._task is not None
        done, _ = await asyncio.wait({self._task}, timeout=_RETURN)
        await self._stop()
        return self._task.exception() if done and not self._task.cancelled() else None

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _receive(self) -> dict[str, str]:
        return await self._asked.get()

    async def _send(self, message: Any) -> None:
        if message["type"] not in _ANSWERS:
            # It takes this for a request.
            raise RuntimeError(f"the application sent {message['type']!r}, which has no place in its lifespan")
        self._answered.put_nowait(message)
