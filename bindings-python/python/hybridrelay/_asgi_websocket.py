"""A connection, as an ASGI application sees it: a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

from ._connection import Connection
from ._errors import RelayError
from ._hosting import phrase
from ._incoming import IncomingConnect
from ._logging import logger

#: So much of the body of a refusal is looked at.
_REASON = 256


class Socket:
    """One WebSocket. The relay hands over no header fields with an accept, and a refusal's status and reason only."""

    def __init__(self, incoming: IncomingConnect) -> None:
        self._incoming = incoming
        self._introduced = False
        self._decided = asyncio.Event()
        self._connection: Connection | None = None
        #: How it ended, as the application is told.
        self._end: dict[str, Any] | None = None
        self._closing: asyncio.Task[None] | None = None
        #: The listener ends.
        self._is_leaving = False
        self._denial: Any = None
        self._denial_body = bytearray()

    @property
    def is_gone(self) -> bool:
        """Whether it has ended."""
        return self._end is not None

    async def receive(self) -> dict[str, Any]:
        """The next event for the application."""
        if not self._introduced:
            self._introduced = True
            return {"type": "websocket.connect"}
        await self._decided.wait()
        if self._connection is None or self._end is not None:
            return self._ended(1006)
        try:
            message = await self._connection.receive()
        except RelayError as error:
            logger.debug("%r was lost: %s", self._connection, error)
            return self._ended(error.close_code or 1006)
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        if message is not None:
            return {"type": "websocket.receive", "bytes": message}
        code, reason = self._connection.close_code, self._connection.close_reason
        ended = self._ended(code or 1005, reason or "")
        # A WebSocket ends in both directions at once.
        self._close(code, reason or "")
        return ended

    async def send(self, message: Any) -> None:
        """Does what the application says. Raises an ``OSError`` if the sender has gone."""
        kind = message["type"]
        if self._end is not None and kind == "websocket.send":
            raise ConnectionResetError("the WebSocket has ended")
        if self._connection is not None:
            await self._say(kind, message)
        elif self._decided.is_set() or self._incoming.is_answered:
            raise _misplaced(kind)
        elif kind == "websocket.accept" and self._denial is None:
            await self._accept(message)
        elif kind == "websocket.close" and self._denial is None:
            await self._refuse(403, message.get("reason") or phrase(403))
        elif kind == "websocket.http.response.start" and self._denial is None:
            self._denial = message
        elif kind == "websocket.http.response.body" and self._denial is not None:
            await self._deny(message)
        else:
            raise _misplaced(kind)

    async def _say(self, kind: str, message: Any) -> None:
        assert self._connection is not None
        if kind == "websocket.send":
            text = message.get("text")
            try:
                await self._connection.send(message["bytes"] if text is None else text)
            except ConnectionError as error:
                self._ended(getattr(error, "close_code", None) or 1006)
                raise
        elif kind == "websocket.close":
            code = message.get("code", 1000)
            self._close(code, message.get("reason") or "")
            self._ended(code, message.get("reason") or "")
        else:
            raise _misplaced(kind)

    async def _accept(self, message: Any) -> None:
        if message.get("headers"):
            logger.debug("header fields of an accept reach no sender: %r", self._incoming)
        try:
            self._connection = await self._incoming.accept(message.get("subprotocol"))
        except ConnectionError:
            self._ended(1006)
            raise
        finally:
            self._decided.set()
        if self._is_leaving:
            self.go_away()

    async def _deny(self, message: Any) -> None:
        body = message.get("body", b"")
        self._denial_body += body[: _REASON + 1 - len(self._denial_body)]
        if not message.get("more_body", False):
            status = self._denial["status"]
            await self._refuse(status, _reason(bytes(self._denial_body)) or phrase(status))

    async def _refuse(self, status: int, reason: str) -> None:
        try:
            await self._incoming.reject(status, reason)
        finally:
            self._ended(1006)
            self._decided.set()

    def go_away(self) -> None:
        """The listener ends: so does the WebSocket, in good order, also one that is just being accepted."""
        self._is_leaving = True
        if self._connection is not None:
            self._close(1001, "")
            self._ended(1001)

    def _ended(self, code: int, reason: str = "") -> dict[str, Any]:
        if self._end is None:
            self._end = {"type": "websocket.disconnect", "code": code, "reason": reason}
        return self._end

    def _close(self, code: int | None, reason: str) -> None:
        """Closes it beside the application, which does not wait for the sender's close."""
        if self._closing is None and self._connection is not None:
            closing = _close(self._connection, code, reason)
            self._closing = asyncio.create_task(closing, name="hybridrelay close")

    async def returned(self) -> None:
        """The application has ended."""
        if self._connection is None and not self._decided.is_set():
            logger.error("the application has neither accepted nor refused: %r", self._incoming)
        await self._over(1000)

    async def failed(self) -> None:
        """The application has ended by an exception."""
        await self._over(1011)

    async def cancelled(self) -> None:
        """The application was cancelled."""
        if self._closing is not None:
            self._closing.cancel()
        if self._connection is not None:
            self._connection.abort()
        self._decided.set()

    async def _over(self, code: int) -> None:
        if not self._decided.is_set():
            try:
                await self._incoming._refuse(500, phrase(500))
            except RelayError as error:
                logger.debug("a sender could not be told: %s", error)
            self._decided.set()
        self._close(code, "")
        if self._closing is not None:
            await self._closing


async def _close(connection: Connection, code: int | None, reason: str) -> None:
    try:
        # A reason has 123 bytes at most.
        await connection.close(code, reason.encode()[:123].decode(errors="ignore"))
    except RelayError as error:
        logger.debug("%r was not closed in good order: %s", connection, error)
        connection.abort()
    except asyncio.CancelledError:
        connection.abort()
        raise


def _reason(body: bytes) -> str | None:
    """A body that may serve as a reason phrase: a short line of text."""
    text = body.decode("utf-8", "replace").strip()
    return text if len(body) <= _REASON and text.isprintable() else None


def _misplaced(kind: str) -> RuntimeError:
    return RuntimeError(f"the application sent {kind!r}, which has no place here")
