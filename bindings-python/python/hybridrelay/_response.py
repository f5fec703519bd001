"""The response to a request."""

from __future__ import annotations

import asyncio
import codecs
import email.message
import json as json_
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

from . import _native
from ._content import whole
from ._errors import ErrorKind, make
from ._headers import Headers
from ._run import Source


class Response:
    """The response of a listener, with the names of httpx.

    That of :meth:`Sender.request` is read whole. That of :meth:`Sender.stream` is read by :meth:`aiter_bytes`, :meth:`aiter_text`,
    :meth:`aiter_lines` or :meth:`aread`, as it comes.
    """

    status_code: int
    """The status."""
    reason_phrase: str
    """The reason phrase behind it."""
    headers: Headers
    """The header fields."""

    def __init__(
        self,
        status_code: int,
        reason_phrase: str,
        headers: Any,
        body: _native.Body,
        limit: int,
        uploading: asyncio.Task[None] | None = None,
    ) -> None:
        self.status_code = status_code
        self.reason_phrase = reason_phrase
        self.headers = Headers(headers)
        self._body: Source[bytes | None] | None = Source(body.chunk)
        self._limit = limit
        self._content: bytes | None = None
        self._uploading = uploading

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300

    @property
    def is_error(self) -> bool:
        """Whether the status is 4xx or 5xx."""
        return self.status_code >= 400

    def raise_for_status(self) -> Response:
        """Raises :class:`Rejected` for a status of 4xx or 5xx, else returns the response."""
        if self.is_error:
            raise make(
                ErrorKind.REJECTED,
                f"the listener answered {self.status_code} {self.reason_phrase}",
                status=self.status_code,
                reason=self.reason_phrase,
                retryable=self.status_code >= 500,
            )
        return self

    async def aread(self) -> bytes:
        """The whole body.

        Raises :class:`MessageTooLarge` for one that is longer than ``max_response_size``, :class:`ConnectionLost` if it breaks off.
        """
        if self._content is None:
            self._content = await whole(self._chunk, self._limit)
            await self.aclose()
        return self._content

    @property
    def content(self) -> bytes:
        """The body, once it was read."""
        if self._content is None:
            raise make(ErrorKind.CLOSED, "the body was not read", hint="`await response.aread()` first")
        return self._content

    @property
    def encoding(self) -> str:
        """The encoding that ``Content-Type`` names, else ``utf-8``."""
        message = email.message.Message()
        message["content-type"] = self.headers.get("content-type", "")
        charset = message.get_content_charset() or "utf-8"
        try:
            codecs.lookup(charset)
        except LookupError:
            return "utf-8"
        return charset

    @property
    def text(self) -> str:
        """The body as text, once it was read."""
        return self.content.decode(self.encoding, errors="replace")

    def json(self, **options: Any) -> Any:
        """The body, read as JSON. Options are those of :func:`json.loads`."""
        return json_.loads(self.content, **options)

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body as it comes, or in chunks of `chunk_size`."""
        held = bytearray()
        while (chunk := await self._chunk()) is not None:
            if chunk_size is None:
                yield chunk
                continue
            held += chunk
            while len(held) >= chunk_size:
                yield bytes(held[:chunk_size])
                del held[:chunk_size]
        if held:
            yield bytes(held)

    async def aiter_text(self) -> AsyncIterator[str]:
        """The body as text, as it comes."""
        decoder = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        while (chunk := await self._chunk()) is not None:
            if text := decoder.decode(chunk):
                yield text
        if text := decoder.decode(b"", True):
            yield text

    async def aiter_lines(self) -> AsyncIterator[str]:
        """The body line by line, without line ends."""
        lines = LineDecoder()
        async for text in self.aiter_text():
            for line in lines.feed(text):
                yield line
        for line in lines.end():
            yield line

    async def _chunk(self) -> bytes | None:
        if self._body is None:
            if self._content is not None:
                raise make(ErrorKind.CLOSED, "the body was read already")
            raise make(ErrorKind.CLOSED, "the response was closed")
        return await self._body.next()

    async def aclose(self) -> None:
        """Lets go of the response: what was not read is dropped, and an upload that still goes on ends."""
        self._body = None
        uploading, self._uploading = self._uploading, None
        if uploading is not None:
            uploading.cancel()
            await asyncio.gather(uploading, return_exceptions=True)

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<hybridrelay.Response [{self.status_code} {self.reason_phrase}]>"


class LineDecoder:
    """Text into lines, with any of the line ends LF, CR LF and CR."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._cr = False

    def feed(self, text: str) -> list[str]:
        if self._cr:
            text = "\r" + text
            self._cr = False
        if text.endswith("\r"):
            # A line feed may follow.
            text = text[:-1]
            self._cr = True
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        rest = lines.pop()
        if lines:
            lines[0] = "".join(self._held) + lines[0]
            self._held.clear()
        if rest:
            self._held.append(rest)
        return lines

    def end(self) -> list[str]:
        rest = "".join(self._held)
        return [rest] if rest or self._cr else []
