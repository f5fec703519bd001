"""Bodies that a program gives or takes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from typing import Any

from . import _native
from ._errors import ErrorKind, RelayError, Timeout, make
from ._run import Source, call, is_blocking

_WHOLE = (str, bytes, bytearray, memoryview)


def is_stream(content: Any) -> bool:
    """Whether it is chunks, and not a whole."""
    if isinstance(content, _WHOLE):
        return False
    if isinstance(content, AsyncIterable):
        return True
    if not isinstance(content, Iterable):
        return False
    try:
        memoryview(content)  # type: ignore[arg-type]
    except TypeError:
        return True
    return False


async def chunks_of(content: Any) -> AsyncGenerator[Any, None]:
    """The chunks of either kind of iterable. Text is sent in UTF-8. Closing it closes a generator."""
    try:
        if isinstance(content, AsyncIterable):
            if is_blocking():
                raise TypeError("a blocking call takes no asynchronous iterable")
            async for chunk in content:
                yield chunk.encode() if isinstance(chunk, str) else chunk
        else:
            for chunk in content:
                yield chunk.encode() if isinstance(chunk, str) else chunk
    finally:
        if isinstance(content, AsyncGenerator):
            await content.aclose()
        elif isinstance(content, Generator):
            content.close()


async def upload(writer: _native.BodyWriter, content: Any) -> None:
    """Writes chunks into a body, at the pace at which they are taken, until nobody wants more."""
    finished = False
    chunks = chunks_of(content)
    try:
        async for chunk in chunks:
            if len(memoryview(chunk)) and not await call(writer.write, chunk):
                return
        finished = True
    finally:
        writer.end(finished)
        await chunks.aclose()


class Chunks:
    """The chunks of a body that comes. One that has broken off stays broken: its end is never taken for a good one."""

    __slots__ = ("_failure", "_left", "_source")

    def __init__(self, body: _native.Body) -> None:
        self._source: Source[bytes | None] = Source(body.chunk)
        #: What a call had read that did not come to its end.
        self._left: deque[bytes] = deque()
        self._failure: RelayError | None = None

    async def next(self) -> bytes | None:
        """The next chunk; ``None`` at the end."""
        if self._left:
            return self._left.popleft()
        if self._failure is not None:
            raise self._failure
        try:
            return await self._source.next()
        except Timeout:
            # The time limit of this wait.
            raise
        except RelayError as error:
            self._failure = error
            raise

    async def whole(self, limit: int) -> bytes:
        """All that is left, of at most `limit` bytes. If that fails or is cancelled, nothing is lost: the next call gets it."""
        chunks: list[bytes] = []
        size = 0
        try:
            while (chunk := await self.next()) is not None:
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise make(
                        ErrorKind.MESSAGE_TOO_LARGE,
                        f"a body is longer than the limit of {limit} bytes",
                        hint="read it chunk by chunk, or raise the limit",
                    )
        except BaseException:
            self._left.extendleft(reversed(chunks))
            raise
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
