"""The response to a request."""

from __future__ import annotations

import asyncio
import codecs
import email.message
import json as json_
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from . import _native
from ._content import Chunks
from ._errors import ErrorKind, make
from ._headers import Headers
from ._run import Each

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


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
        self.headers = Headers._received(headers)
        self._body: Chunks | None = Chunks(body)
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
            self._content = await self._chunks().whole(self._limit)
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

    def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        """The body as it comes, or in chunks of `chunk_size`. Cancelling a wait loses nothing: the next one goes on where it was."""
        if chunk_size is None:
            return Each(self._chunk)
        if chunk_size < 1:
            raise make(ErrorKind.INVALID_ARGUMENT, f"chunk_size is a number from 1 up, not {chunk_size}")
        return Each(_Cut(self._chunk, _Pieces(chunk_size)).next)

    def aiter_text(self) -> AsyncIterator[str]:
        """The body as text, as it comes."""
        return Each(_Cut(self._chunk, _Text(self.encoding)).next)

    def aiter_lines(self) -> AsyncIterator[str]:
        """The body line by line, without line ends."""
        return Each(_Cut(self._chunk, _Lines(self.encoding)).next)

    async def _chunk(self) -> bytes | None:
        return await self._chunks().next()

    def _chunks(self) -> Chunks:
        if self._body is None:
            if self._content is not None:
                raise make(ErrorKind.CLOSED, "the body was read already")
            raise make(ErrorKind.CLOSED, "the response was closed")
        return self._body

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


class _Cutter(Protocol[T_co]):
    """Makes something else of chunks."""

    def feed(self, chunk: bytes) -> Iterable[T_co]: ...

    def end(self) -> Iterable[T_co]: ...


class _Cut(Generic[T]):
    """A body as a cutter makes it."""

    def __init__(self, chunk: Callable[[], Awaitable[bytes | None]], cutter: _Cutter[T]) -> None:
        self._chunk = chunk
        self._cutter = cutter
        self._cut: deque[T] = deque()
        self._ended = False

    async def next(self) -> T | None:
        """What comes next; ``None`` at the end."""
        while not self._cut:
            if self._ended:
                return None
            chunk = await self._chunk()
            self._ended = chunk is None
            self._cut.extend(self._cutter.end() if chunk is None else self._cutter.feed(chunk))
        return self._cut.popleft()


class _Pieces:
    """Chunks of one size, of which the last may be shorter."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        self._held += chunk
        whole = len(self._held) - len(self._held) % self._size
        pieces = [bytes(self._held[at : at + self._size]) for at in range(0, whole, self._size)]
        del self._held[:whole]
        return pieces

    def end(self) -> list[bytes]:
        return [bytes(self._held)] if self._held else []


class _Text:
    """Text, as far as it is whole characters."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")

    def feed(self, chunk: bytes) -> list[str]:
        text = self._decoder.decode(chunk)
        return [text] if text else []

    def end(self) -> list[str]:
        text = self._decoder.decode(b"", True)
        return [text] if text else []


class _Lines:
    """Lines of text."""

    def __init__(self, encoding: str) -> None:
        self._text = _Text(encoding)
        self._lines = LineDecoder()

    def feed(self, chunk: bytes) -> list[str]:
        return [line for text in self._text.feed(chunk) for line in self._lines.feed(text)]

    def end(self) -> list[str]:
        return [line for text in self._text.end() for line in self._lines.feed(text)] + self._lines.end()


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
