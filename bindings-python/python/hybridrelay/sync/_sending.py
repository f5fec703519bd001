"""Senders, and the responses to their requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypedDict, Unpack

from .. import _response as _response_
from .. import _sender
from .._headers import Headers, HeaderTypes
from .._incoming import LIMIT
from .._options import ConnectOptions, SenderOptions
from .._presence import Presence
from .._run import run
from .._sender import OneWay, ParamTypes
from ._event import PresenceEvents, Publisher
from ._stream import Connection
from ._wrapper import ContentTypes, _Closing, _each, _open


class RequestOptions(TypedDict, total=False):
    """What a request has beside method and path; see :meth:`Sender.request`."""

    params: ParamTypes | None
    """A query, beside one in the path."""
    content: ContentTypes | None
    """The body: text, bytes, or chunks from an iterable."""
    json: Any
    """A body that is sent as JSON."""
    headers: HeaderTypes | None
    """Header fields."""
    timeout: float | None
    """How many seconds the head of the response may take."""


class Response(_Closing[_response_.Response]):
    """The response of a listener. See :class:`hybridrelay.Response`."""

    __slots__ = ()

    @property
    def status_code(self) -> int:
        """The status."""
        return self._inner.status_code

    @property
    def reason_phrase(self) -> str:
        """The reason phrase behind it."""
        return self._inner.reason_phrase

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return self._inner.headers

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return self._inner.is_success

    @property
    def is_error(self) -> bool:
        """Whether the status is 4xx or 5xx."""
        return self._inner.is_error

    def raise_for_status(self) -> Response:
        """Raises :class:`Rejected` for a status of 4xx or 5xx, else returns the response."""
        self._inner.raise_for_status()
        return self

    def read(self) -> bytes:
        """The whole body."""
        return run(self._inner.aread())

    @property
    def content(self) -> bytes:
        """The body, once it was read."""
        return self._inner.content

    @property
    def encoding(self) -> str:
        """The encoding that ``Content-Type`` names, else ``utf-8``."""
        return self._inner.encoding

    @property
    def text(self) -> str:
        """The body as text, once it was read."""
        return self._inner.text

    def json(self, **options: Any) -> Any:
        """The body, read as JSON."""
        return self._inner.json(**options)

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The body as it comes, or in chunks of `chunk_size`."""
        return _each(self._inner.aiter_bytes(chunk_size))

    def iter_text(self) -> Iterator[str]:
        """The body as text, as it comes."""
        return _each(self._inner.aiter_text())

    def iter_lines(self) -> Iterator[str]:
        """The body line by line, without line ends."""
        return _each(self._inner.aiter_lines())

    def close(self) -> None:
        """Lets go of the response: what was not read is dropped."""
        run(self._inner.aclose())


class Sender(_Closing[_sender.Sender]):
    """Opens connections and sends HTTP requests. See :class:`hybridrelay.Sender`.

    >>> with Sender(cs) as sender:
    ...     response = sender.request("POST", "/orders", json={"item": 7})
    """

    __slots__ = ()

    def __init__(
        self, target: str | None = None, /, *, max_response_size: int = LIMIT, **options: Unpack[SenderOptions]
    ) -> None:
        super().__init__(_sender.Sender(target, max_response_size=max_response_size, **options))

    def connect(self, **options: Unpack[ConnectOptions]) -> Connection:
        """Opens a connection. Options are those of :class:`hybridrelay.ConnectOptions`."""
        return Connection(run(_open(self._inner.connect(**options))))

    def publisher(self, **options: Unpack[ConnectOptions]) -> Publisher:
        """Opens a publisher. Options are those of :class:`hybridrelay.ConnectOptions`."""
        return Publisher(run(_open(self._inner.publisher(**options))))

    def request(
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
        """Sends a request to a listener and reads its response, whatever the status. `content` is written whole before that."""
        asking = self._inner.request(
            method, path, params=params, content=content, json=json, headers=headers, timeout=timeout
        )
        return Response(run(asking))

    @contextmanager
    def stream(self, method: str, path: str = "/", **options: Unpack[RequestOptions]) -> Iterator[Response]:
        """The same for a response whose body is read as it comes: ``with sender.stream("GET", "/big") as response``."""
        streaming = self._inner.stream(method, path, **options)
        response = run(streaming.__aenter__())
        try:
            yield Response(response)
        finally:
            run(streaming.__aexit__(None, None, None))

    def get(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with GET."""
        return self.request("GET", path, **options)

    def post(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with POST."""
        return self.request("POST", path, **options)

    def put(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with PUT."""
        return self.request("PUT", path, **options)

    def patch(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with PATCH."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str = "/", **options: Unpack[RequestOptions]) -> Response:
        """:meth:`request` with DELETE."""
        return self.request("DELETE", path, **options)

    def send_one_way(self, method: str = "POST", path: str = "/", **options: Unpack[RequestOptions]) -> OneWay:
        """Sends a request for whose answer nobody waits."""
        return run(self._inner.send_one_way(method, path, **options))

    def presence(self) -> Presence:
        """Who listens now."""
        return run(self._inner.presence())

    def presence_events(self) -> PresenceEvents:
        """Follows who comes and goes."""
        return PresenceEvents(self._inner.presence_events())

    def wait_for_listener(self, timeout: float = 60.0) -> Presence:
        """Waits until somebody listens."""
        return run(self._inner.wait_for_listener(timeout))

    @property
    def address(self) -> str:
        """The relay's address."""
        return self._inner.address

    @property
    def entity(self) -> str:
        """The name of the hybrid connection."""
        return self._inner.entity

    def close(self) -> None:
        """Lets go of pooled connections."""
        run(self._inner.aclose())
