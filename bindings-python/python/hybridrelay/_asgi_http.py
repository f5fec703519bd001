"""A request, as an ASGI application sees it."""

from __future__ import annotations

import asyncio
import tempfile
from typing import IO, Any

from ._errors import RelayError
from ._hosting import HELD
from ._incoming import IncomingRequest, ResponseWriter
from ._logging import logger


class Exchange:
    """One request and its answer. Bodies are read and written piece by piece, at the pace of the slower side."""

    __slots__ = ("_complete", "_head", "_lost", "_read_all", "_request", "_spooled", "_writer")

    def __init__(self, request: IncomingRequest) -> None:
        self._request = request
        self._read_all = False
        self._lost = False
        #: What begins the response; kept until the first piece, so that a short one leaves whole and a failure can still be told.
        self._head: Any = None
        self._writer: ResponseWriter | None = None
        self._complete = False
        self._spooled: IO[bytes] | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the sender has gone."""
        return self._lost or self._request.is_disconnected

    async def receive(self) -> dict[str, Any]:
        """The next event for the application."""
        if self._complete or self._lost:
            return {"type": "http.disconnect"}
        if self._read_all:
            self._lost = await self._request.disconnected()
            return {"type": "http.disconnect"}
        if not self._request._has_body:
            self._read_all = True
            return {"type": "http.request", "body": b"", "more_body": False}
        try:
            chunk = await self._chunk()
        except RelayError as error:
            logger.debug("the body of %r broke off: %s", self._request, error)
            self._lost = True
            return {"type": "http.disconnect"}
        self._read_all = chunk is None
        return {"type": "http.request", "body": chunk or b"", "more_body": not self._read_all}

    async def spool(self) -> int:
        """Puts the whole body into a file, which is one of the disk's if it is long. Returns its length."""
        file = self._spooled = tempfile.SpooledTemporaryFile(HELD)
        try:
            while (chunk := await self._request._chunk()) is not None:
                await asyncio.to_thread(file.write, chunk)
        except RelayError:
            self._lost = True
            raise
        length = file.tell()
        file.seek(0)
        return length

    async def _chunk(self) -> bytes | None:
        if self._spooled is None:
            return await self._request._chunk()
        return await asyncio.to_thread(self._spooled.read, HELD) or None

    def __enter__(self) -> Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        if self._spooled is not None:
            self._spooled.close()

    async def send(self, message: Any) -> None:
        """Does what the application says. Raises :class:`ConnectionLost`, an ``OSError``, if the sender has gone."""
        kind = message["type"]
        if kind == "http.response.start" and self._head is None:
            self._head = message
        elif kind == "http.response.body" and self._head is not None and not self._complete:
            await self._body(message.get("body", b""), message.get("more_body", False))
        else:
            raise RuntimeError(f"the application sent {kind!r}, which has no place here")

    async def _body(self, body: Any, more: bool) -> None:
        status, headers = self._head["status"], self._head.get("headers", ())
        try:
            if self._writer is None:
                if not more:
                    await self._request._enqueue(status, body, headers)
                    self._complete = True
                    return
                self._writer = self._request.start_response(status, headers=headers)
            await self._writer.write(body, flush=True)
            if not more:
                await self._writer.finish()
                self._complete = True
        except ConnectionError:
            self._lost = True
            raise

    async def returned(self) -> None:
        """The application has ended."""
        if not self._complete:
            if not self.is_gone:
                logger.error("the application has not answered: %r", self._request)
            await self.failed()

    async def failed(self) -> None:
        """The application has ended by an exception: that is 500, or breaks off what was begun."""
        try:
            if self._writer is not None:
                await self._writer.abort()
            else:
                await self._request._refuse(500, "Internal Server Error")
        except RelayError as error:
            logger.debug("a sender could not be told: %s", error)

    async def cancelled(self) -> None:
        """The application was cancelled."""
        await self.failed()
