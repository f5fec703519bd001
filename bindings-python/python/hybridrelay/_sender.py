"""The sending side."""

from __future__ import annotations

import asyncio
import dataclasses
import json as json_
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeAlias, TypedDict, Union, Unpack
from urllib.parse import quote, urlencode

from . import _native
from ._connection import Connection
from ._content import is_stream, upload
from ._errors import closed
from ._events import Publisher
from ._headers import HeaderTypes, encode
from ._incoming import LIMIT, ContentTypes
from ._opening import Opening
from ._options import ConnectOptions, SenderOptions, native
from ._presence import Presence, PresenceEvents, presence
from ._response import Response
from ._run import Pending, call, is_blocking, within

ParamTypes: TypeAlias = Union[str, Mapping[str, Any], Iterable[tuple[str, Any]]]
"""A query: text, or names with values."""


class RequestOptions(TypedDict, total=False):
    """What a request has beside method and path; see :meth:`Sender.request`."""

    params: ParamTypes | None
    """A query, beside one in the path."""
    content: ContentTypes | None
    """The body: text, bytes, or chunks from an iterable or an asynchronous iterable."""
    json: Any
    """A body that is sent as JSON."""
    headers: HeaderTypes | None
    """Header fields."""
    timeout: float | None
    """How many seconds the head of the response may take."""


@dataclasses.dataclass(frozen=True, slots=True)
class OneWay:
    """A one-way request that was handed over."""

    tracking_id: str
    """The id under which the relay's logs and the listener know it."""
    listeners: int
    """How many listeners have it: 1, or at a hybrid connection for events as many as were online."""


class Sender:
    """Opens connections to a hybrid connection and sends HTTP requests to it. Requests share pooled connections.

    `target` is a connection string or an address; without one ``HYBRIDRELAY_CONNECTION_STRING`` is read. Options are those of
    :class:`SenderOptions`. `max_response_size` bounds what :meth:`request` reads; :meth:`stream` has no bound.

    >>> async with Sender(cs) as sender:
    ...     response = await sender.request("POST", "/orders", json={"item": 7})
    ...     print(response.status_code, response.json())
    """

    def __init__(
        self, target: str | None = None, /, *, max_response_size: int = LIMIT, **options: Unpack[SenderOptions]
    ) -> None:
        self._native: _native.Sender | None = _native.Sender(target, native(options))
        self._limit = max_response_size

    def connect(self, **options: Unpack[ConnectOptions]) -> Opening[Connection]:
        """Opens a connection: ``await sender.connect(path="/orders")``, or ``async with``. Options are those of
        :class:`ConnectOptions`; failures those of :func:`connect`."""

        async def open() -> Connection:
            return Connection(await call(self._use().connect, native(options)))

        return Opening(open)

    def publisher(self, **options: Unpack[ConnectOptions]) -> Opening[Publisher]:
        """Opens a publisher: a connection on which this side only speaks, and which everybody hears who listens at a hybrid connection for
        events. Options are those of :class:`ConnectOptions`."""

        async def open() -> Publisher:
            return Publisher(await call(self._use().publisher, native(options)))

        return Opening(open)

    async def request(
        self,
        method: str,
        path: str = "/",
        *,
        params: ParamTypes | None = None,
        content: ContentTypes | None = None,
        json: Any = None,
        headers: HeaderTypes | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Sends a request to a listener and reads its response, whatever the status.

        `path` is what follows the hybrid connection's name, and may hold a query. `content` is text, bytes, or chunks from an iterable or an
        asynchronous iterable, which leave as they come. `timeout` bounds the wait for the head of the response in seconds; without one
        the relay judges (60 s).

        Raises what the relay itself refused: :class:`NoListeners`, :class:`EndpointNotFound`, :class:`Unauthorized`, :class:`Timeout`,
        :class:`ServerBusy`, :class:`MessageTooLarge`, :class:`Rejected`; :class:`ConnectionLost` if the connection or the listener was
        lost, :class:`NetworkError` and :class:`TlsError` if the relay cannot be reached; what `content` raises.
        """
        response = await self._send(method, path, params, content, json, headers, timeout)
        try:
            await response.aread()
        finally:
            await response.aclose()
        return response

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str = "/",
        *,
        params: ParamTypes | None = None,
        content: ContentTypes | None = None,
        json: Any = None,
        headers: HeaderTypes | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Response]:
        """The same for a response whose body is read as it comes: ``async with sender.stream("GET", "/big") as response``."""
        response = await self._send(method, path, params, content, json, headers, timeout)
        try:
            yield response
        finally:
            await response.aclose()

    async def get(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with GET."""
        return await self.request("GET", path, **options)

    async def post(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with POST."""
        return await self.request("POST", path, **options)

    async def put(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with PUT."""
        return await self.request("PUT", path, **options)

    async def patch(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with PATCH."""
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with DELETE."""
        return await self.request("DELETE", path, **options)

    async def send_one_way(
        self,
        method: str = "POST",
        path: str = "/",
        *,
        params: ParamTypes | None = None,
        content: ContentTypes | None = None,
        json: Any = None,
        headers: HeaderTypes | None = None,
        timeout: float | None = None,
    ) -> OneWay:
        """Sends a request for whose answer nobody waits. Returns when a listener has all of it, or all listeners at a hybrid connection for
        events.

        Raises :class:`Unsupported` behind a relay that knows no such requests, as Azure Relay: a listener has got it as an ordinary one.
        """
        fields, body = _encode(content, json, headers)
        tracking_id, listeners = await self._exchange(
            self._use().one_way, method, _target(path, params), fields, body, timeout, keep=None
        )
        return OneWay(tracking_id, listeners)

    async def presence(self) -> Presence:
        """Who listens now. Raises :class:`Unsupported` from a relay that does not tell, as Azure Relay."""
        return presence(await call(self._use().presence))

    def presence_events(self) -> PresenceEvents:
        """Follows who comes and goes: ``async for event in sender.presence_events()``."""
        return PresenceEvents(self._use().presence_events())

    async def wait_for_listener(self, timeout: float = 60.0) -> Presence:
        """Waits until somebody listens. Raises :class:`Timeout` if nobody does within `timeout` seconds."""
        return presence(await call(self._use().wait_for_listener, timeout))

    @property
    def address(self) -> str:
        """The relay's address."""
        return self._use().place()[0]

    @property
    def entity(self) -> str:
        """The name of the hybrid connection."""
        return self._use().place()[1]

    async def aclose(self) -> None:
        """Lets go of pooled connections. Connections and responses under way go on."""
        self._native = None

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return "<hybridrelay.Sender closed>" if self._native is None else f"<hybridrelay.Sender '{self.entity}'>"

    async def _send(
        self,
        method: str,
        path: str,
        params: ParamTypes | None,
        content: ContentTypes | None,
        json: Any,
        headers: HeaderTypes | None,
        timeout: float | None,
    ) -> Response:
        fields, body = _encode(content, json, headers)
        uploads: list[asyncio.Task[None]] = []
        status, reason, response_headers, response_body = await self._exchange(
            self._use().request, method, _target(path, params), fields, body, timeout, keep=uploads
        )
        uploading = uploads[0] if uploads else None
        return Response(status, reason, response_headers, response_body, self._limit, uploading)

    async def _exchange(
        self,
        start: Any,
        method: str,
        target: str,
        fields: list[tuple[bytes, bytes]],
        body: Any,
        timeout: float | None,
        keep: list[asyncio.Task[None]] | None,
    ) -> Any:
        """Asks, and writes the body meanwhile. An upload that is not done when the head of the response comes goes into `keep`."""
        if not is_stream(body):
            return await call(start, method, target, fields, body, limit=timeout)
        writer = _native.BodyWriter()
        pending: Pending[Any] = Pending(start(method, target, fields, writer))
        if is_blocking():
            with within(timeout):
                try:
                    await upload(writer, body)
                except BaseException:
                    pending.abandon()
                    raise
                return await pending.wait()
        uploading = asyncio.create_task(upload(writer, body), name="hybridrelay upload")
        try:
            head = await pending.wait(timeout)
        except BaseException:
            uploading.cancel()
            (failure,) = await asyncio.gather(uploading, return_exceptions=True)
            if isinstance(failure, Exception):
                # What the program's own iterable raised tells more than that the body broke off.
                raise failure from None
            raise
        if keep is not None and not uploading.done():
            keep.append(uploading)
        else:
            uploading.cancel()
            await asyncio.gather(uploading, return_exceptions=True)
        return head

    def _use(self) -> _native.Sender:
        if self._native is None:
            raise closed("the sender")
        return self._native


def _encode(
    content: ContentTypes | None, json: Any, headers: HeaderTypes | None
) -> tuple[list[tuple[bytes, bytes]], Any]:
    fields = encode(headers)
    kind: bytes | None = None
    if json is not None:
        if content is not None:
            raise TypeError("a request has content or json, not both")
        content = json_.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        kind = b"application/json"
    elif isinstance(content, str):
        content = content.encode()
        kind = b"text/plain; charset=utf-8"
    if kind is not None and not any(name.lower() == b"content-type" for name, _ in fields):
        fields.append((b"content-type", kind))
    return fields, content


def _target(path: str, params: ParamTypes | None) -> str:
    path = quote(path if path.startswith("/") else "/" + path, safe="/%:@!$&'()*+,;=~-._?")
    if not params:
        return path
    query = params.lstrip("?") if isinstance(params, str) else urlencode(_pairs(params), doseq=True)
    return f"{path}{'&' if '?' in path else '?'}{query}"


def _pairs(params: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return list(params.items()) if isinstance(params, Mapping) else list(params)
