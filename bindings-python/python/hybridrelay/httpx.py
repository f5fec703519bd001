"""Requests of httpx that go to a listener.

>>> transport = hybridrelay.httpx.AsyncTransport(cs)
>>> async with httpx.AsyncClient(transport=transport, base_url=transport.base_url) as client:
...     response = await client.get("/orders")

Needs httpx. What a listener answers is a response, whatever its status. What the relay itself refuses, or fails on the way, is one of httpx's
exceptions, whose ``__cause__`` is the :class:`hybridrelay.RelayError`: ``ConnectError`` if nobody listens or the credential is refused,
``ReadTimeout`` and ``WriteTimeout``, ``ReadError`` if the connection or the listener was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Unpack

import httpx

from . import _errors
from ._options import SenderOptions
from ._response import Response
from ._run import Each, run
from ._sender import Sender

__all__ = ["AsyncTransport", "Transport"]

#: The library puts these itself.
_OWN = (b"host", b"content-length", b"transfer-encoding", b"connection")


class _Base:
    """What both transports are made of."""

    def __init__(self, target: str | Sender | None = None, /, **options: Unpack[SenderOptions]) -> None:
        self._owned = not isinstance(target, Sender)
        self._sender = target if isinstance(target, Sender) else Sender(target, **options)

    @property
    def base_url(self) -> httpx.URL:
        """The address of the hybrid connection, below which the paths are that a listener sees.

        Any other host may be used instead: its whole paths are what the listener sees.
        """
        return httpx.URL(self._sender.address)

    def _target(self, url: httpx.URL) -> str:
        """The path and query for the listener."""
        target, base = url.raw_path.decode("ascii"), self.base_url
        if (url.host, url.port) != (base.host, base.port):
            return target
        mount = base.raw_path.decode("ascii").rstrip("/")
        below = target[len(mount) :]
        if not target.startswith(mount) or below[:1] not in ("", "/", "?"):
            raise httpx.UnsupportedProtocol(f"{url} is not below the hybrid connection, {base}")
        return below if below.startswith("/") else "/" + below

    def __repr__(self) -> str:
        return f"<hybridrelay.httpx.{type(self).__name__} '{self._sender.entity}'>"


class AsyncTransport(_Base, httpx.AsyncBaseTransport):
    """For :class:`httpx.AsyncClient`, in an asyncio event loop.

    `target` is a connection string, an address or a :class:`hybridrelay.Sender`, which is not closed; options are those of
    :class:`hybridrelay.SenderOptions`. Of httpx's timeouts ``connect`` and ``read`` together bound the wait for the head of a response,
    ``write`` each piece of a body that is sent, ``read`` each piece of one that is received.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request."""
        fields, limits = _fields(request), _Limits(request)
        with _failures() as failures:
            target = self._target(request.url)
            async with asyncio.timeout(limits.head) as clock:
                content = _content(request)
                if not isinstance(content, bytes):
                    failures.timeout = httpx.WriteTimeout
                    content = _uploaded(content, clock, limits, failures)
                response = await self._sender._send(request.method, target, None, content, None, fields, None)
        return _answered(response, _AsyncBody(response, limits.read))

    async def aclose(self) -> None:
        """Lets go of pooled connections."""
        if self._owned:
            await self._sender.aclose()


class Transport(_Base, httpx.BaseTransport):
    """For :class:`httpx.Client`: the same for blocking calls. A body that comes in pieces is sent before the response is waited for, without
    a time limit of its own."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request."""
        fields, limits = _fields(request), _Limits(request)
        with _failures():
            target = self._target(request.url)
            sending = self._sender._send(request.method, target, None, _content(request), None, fields, limits.head)
            response = run(sending)
        return _answered(response, _Body(response, limits.read))

    def close(self) -> None:
        """Lets go of pooled connections."""
        if self._owned:
            run(self._sender.aclose())


class _Limits:
    """How many seconds what may take, if there is a limit."""

    def __init__(self, request: httpx.Request) -> None:
        timeout: dict[str, float | None] = request.extensions.get("timeout", {})
        connect = timeout.get("connect")
        self.read = timeout.get("read")
        self.write = timeout.get("write")
        self.head = None if connect is None or self.read is None else connect + self.read
        self.first_write = None if connect is None or self.write is None else connect + self.write


class _Failures:
    """What it is called when time is up."""

    timeout: type[httpx.TimeoutException] = httpx.ReadTimeout


@contextlib.contextmanager
def _failures() -> Iterator[_Failures]:
    """Makes failures those of httpx."""
    failures = _Failures()
    try:
        yield failures
    except _errors.RelayError as error:
        if isinstance(error, _errors.Closed):
            raise RuntimeError("the transport was closed") from error
        if isinstance(error, _errors.Timeout):
            raise failures.timeout(str(error)) from error
        raise _of(error)(str(error)) from error
    except TimeoutError as error:
        raise failures.timeout("the listener took longer than the time limit") from error


def _of(error: _errors.RelayError) -> type[httpx.TransportError]:
    for kind, exception in _EXCEPTIONS:
        if isinstance(error, kind):
            return exception
    return httpx.ConnectError


_EXCEPTIONS: list[tuple[type[_errors.RelayError], type[httpx.TransportError]]] = [
    (_errors.ConnectionLost, httpx.ReadError),
    (_errors.InvalidArgument, httpx.LocalProtocolError),
    (_errors.MessageTooLarge, httpx.LocalProtocolError),
    (_errors.ProtocolError, httpx.RemoteProtocolError),
    (_errors.ProxyAuthenticationRequired, httpx.ProxyError),
]


def _fields(request: httpx.Request) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in request.headers.raw if name.lower() not in _OWN]


def _content(request: httpx.Request) -> Any:
    """The body: whole if it is there, else what yields it."""
    try:
        return request.content or b""
    except httpx.RequestNotRead:
        return request.stream


async def _uploaded(content: Any, clock: asyncio.Timeout, limits: _Limits, failures: _Failures) -> AsyncIterator[bytes]:
    """A body in pieces. The clock runs while the other side takes one, and not while the program makes the next."""
    now = asyncio.get_running_loop().time

    def allow(seconds: float | None) -> None:
        # The head of the response may have come before.
        if clock.when() is not None or seconds is not None:
            with contextlib.suppress(RuntimeError):
                clock.reschedule(None if seconds is None else now() + seconds)

    allow(None)
    limit = limits.first_write
    async for chunk in content:
        allow(limit)
        yield chunk
        allow(None)
        limit = limits.write
    failures.timeout = httpx.ReadTimeout
    allow(limits.head)


def _answered(response: Response, body: httpx.AsyncByteStream | httpx.SyncByteStream) -> httpx.Response:
    extensions = {"http_version": b"HTTP/1.1", "reason_phrase": response.reason_phrase.encode("latin-1", "replace")}
    return httpx.Response(response.status_code, headers=list(response.headers.raw), stream=body, extensions=extensions)


class _AsyncBody(httpx.AsyncByteStream):
    """A body as it comes."""

    def __init__(self, response: Response, limit: float | None) -> None:
        self._response = response
        self._limit = limit

    def __aiter__(self) -> AsyncIterator[bytes]:
        return Each(self._chunk)

    async def _chunk(self) -> bytes | None:
        with _failures():
            async with asyncio.timeout(self._limit):
                return await self._response._chunk()

    async def aclose(self) -> None:
        await self._response.aclose()


class _Body(httpx.SyncByteStream):
    """The same for blocking calls."""

    def __init__(self, response: Response, limit: float | None) -> None:
        self._response = response
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunk, None)

    def _chunk(self) -> bytes | None:
        with _failures():
            return run(self._response._chunk(), self._limit)

    def close(self) -> None:
        run(self._response.aclose())
