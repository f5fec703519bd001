"""The same names as :mod:`hybridrelay`, for blocking calls.

>>> with hybridrelay.sync.listen(cs) as listener:
...     for incoming in listener:
...         with incoming.accept() as connection:
...             for message in connection:
...                 connection.send(message)

No event loop is needed, and none runs. While a call waits, other threads run and signals are handled: Ctrl-C raises
:class:`KeyboardInterrupt` out of it, and nothing is lost. Objects may be shared by threads: one may receive while another sends.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypedDict, TypeVar, Union, Unpack, cast

from . import _connection, _content, _events, _incoming, _listener, _presence, _sender
from . import _response as _response_
from ._errors import RelayError
from ._headers import Headers, HeaderTypes
from ._incoming import LIMIT
from ._listener import Status
from ._local import LocalRelay
from ._logging import logger
from ._options import ConnectOptions, ListenerOptions, OpenOptions, ReachOptions, SenderOptions
from ._presence import Endpoint, EndpointEvent, Presence, PresenceEvent
from ._run import run
from ._sender import OneWay, ParamTypes
from ._tokens import TokenProvider, create_token

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._asgi import ASGIApplication, LifespanMode
    from ._wsgi import WSGIApplication
else:
    Buffer = Any

__all__ = [
    "Connection",
    "Events",
    "Incoming",
    "IncomingConnect",
    "IncomingRequest",
    "Listener",
    "LocalRelay",
    "PresenceEvents",
    "Publisher",
    "RequestOptions",
    "Response",
    "ResponseWriter",
    "Sender",
    "Server",
    "Status",
    "TokenProvider",
    "connect",
    "create_token",
    "endpoints",
    "listen",
    "open_connection",
    "start_server",
    "watch_endpoints",
]

T = TypeVar("T")
Self = TypeVar("Self", bound="_Wrapper[Any]")

ContentTypes: TypeAlias = Union[str, "Buffer", Iterable[Any]]
"""A body: text, bytes, or chunks of bytes from an iterable."""


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


class _Wrapper(Generic[T]):
    """Stands before the object with the same name that is for asyncio."""

    __slots__ = ("_inner",)

    def __init__(self, inner: T) -> None:
        self._inner = inner

    def __repr__(self) -> str:
        return repr(self._inner).replace("<hybridrelay.", "<hybridrelay.sync.", 1)


class _Closing(_Wrapper[T]):
    """One that ``with`` closes in the end, or aborts if the block ends by an exception."""

    __slots__ = ()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run(cast(Any, self._inner).__aexit__(kind, error, trace))


class Connection(_Closing[_connection.Connection]):
    """A bidirectional stream of messages. See :class:`hybridrelay.Connection`."""

    __slots__ = ()

    def receive(self, timeout: float | None = None) -> str | bytes | None:
        """The next message; ``None`` once the peer has closed its direction. Raises :class:`Timeout` after `timeout` seconds: then
        nothing is lost."""
        return run(self._inner.receive(), timeout)

    def send(self, data: str | Buffer) -> None:
        """Sends a message: text from ``str``, binary from anything bytes-like."""
        run(self._inner.send(data))

    def flush(self) -> None:
        """Waits until everything sent was handed to the operating system."""
        run(self._inner.flush())

    def shutdown(self) -> None:
        """Ends our direction behind everything sent (half-close)."""
        run(self._inner.shutdown())

    def close(self, code: int | None = None, reason: str = "") -> None:
        """Closes it in good order, and waits for the peer's close."""
        run(self._inner.close(code, reason))

    def abort(self) -> None:
        """Ends both directions at once; the peer sees an error."""
        self._inner.abort()

    def into_streams(self) -> tuple[io.BufferedReader, io.BufferedWriter]:
        """Goes on as two binary files: what comes, without boundaries, and what is sent.

        Closing the writer ends our direction. Closing the reader closes the connection in good order behind that, and aborts it before.
        """
        reading = _Reading(self._inner)
        return io.BufferedReader(reading, 2**16), io.BufferedWriter(_Writing(self._inner, reading), 2**16)

    @property
    def subprotocol(self) -> str | None:
        """The sub-protocol that both sides agreed on."""
        return self._inner.subprotocol

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs know this connection."""
        return self._inner.tracking_id

    @property
    def close_code(self) -> int | None:
        """The code with which the peer has closed."""
        return self._inner.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason that the peer gave with its close."""
        return self._inner.close_reason

    @property
    def path(self) -> str:
        """At the listener's side: the path that the sender asked for; else empty."""
        return self._inner.path

    @property
    def request_headers(self) -> Headers:
        """At the listener's side: the header fields of the sender's handshake; else none."""
        return self._inner.request_headers

    @property
    def remote_addr(self) -> tuple[str, int] | None:
        """At the listener's side: the sender's address as the relay saw it."""
        return self._inner.remote_addr

    def __iter__(self) -> Iterator[str | bytes]:
        while (message := self.receive()) is not None:
            yield message


class _Reading(io.RawIOBase):
    """What comes, as a file."""

    def __init__(self, connection: _connection.Connection) -> None:
        self._connection = connection
        self._held = memoryview(b"")
        self._ended = self.sent_all = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held and not self._ended:
            message = run(self._connection.receive())
            if message is None:
                self._ended = True
            else:
                self._held = memoryview(message.encode() if isinstance(message, str) else message)
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            super().close()
            if not self.sent_all:
                self._connection.abort()
            else:
                run(self._connection.close())

    def __del__(self) -> None:
        # The connection itself tells that nobody closed it.
        pass


class _Writing(io.RawIOBase):
    """What is sent, as a file."""

    def __init__(self, connection: _connection.Connection, reading: _Reading) -> None:
        self._connection = connection
        self._reading = reading

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        if len(view):
            run(self._connection.send(view))
        return len(view)

    def close(self) -> None:
        if not self.closed:
            super().close()
            run(self._connection.shutdown())
            self._reading.sent_all = True

    def __del__(self) -> None:
        pass


class IncomingConnect(_Wrapper[_incoming.IncomingConnect]):
    """A sender that wants a connection: :meth:`accept` or :meth:`reject` it. See :class:`hybridrelay.IncomingConnect`."""

    __slots__ = ()

    @property
    def path(self) -> str:
        """The path behind the hybrid connection's name."""
        return self._inner.path

    @property
    def query(self) -> str | None:
        """The sender's query without the relay's own parameters."""
        return self._inner.query

    @property
    def mount(self) -> str:
        """``/`` and the hybrid connection's name."""
        return self._inner.mount

    @property
    def headers(self) -> Headers:
        """The header fields of the sender's handshake."""
        return self._inner.headers

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """The sub-protocols that the sender offers."""
        return self._inner.subprotocols

    @property
    def remote_addr(self) -> tuple[str, int] | None:
        """The sender's address as the relay saw it."""
        return self._inner.remote_addr

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs know this attempt."""
        return self._inner.tracking_id

    @property
    def is_answered(self) -> bool:
        """Whether it was accepted or rejected."""
        return self._inner.is_answered

    def accept(self, subprotocol: str | None = None) -> Connection:
        """Accepts it."""
        return Connection(run(self._inner.accept(subprotocol)))

    def reject(self, status: int = 403, reason: str = "") -> None:
        """Rejects it: the sender's handshake fails with this status and reason."""
        run(self._inner.reject(status, reason))


class IncomingRequest(_Wrapper[_incoming.IncomingRequest]):
    """A sender's HTTP request. See :class:`hybridrelay.IncomingRequest`."""

    __slots__ = ()

    @property
    def method(self) -> str:
        """The method."""
        return self._inner.method

    @property
    def path(self) -> str:
        """The path behind the hybrid connection's name."""
        return self._inner.path

    @property
    def query(self) -> str | None:
        """The query without the relay's own parameters."""
        return self._inner.query

    @property
    def mount(self) -> str:
        """``/`` and the hybrid connection's name."""
        return self._inner.mount

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return self._inner.headers

    @property
    def remote_addr(self) -> tuple[str, int] | None:
        """The sender's address as the relay saw it."""
        return self._inner.remote_addr

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs know this request."""
        return self._inner.tracking_id

    @property
    def is_one_way(self) -> bool:
        """Whether nobody waits for the answer."""
        return self._inner.is_one_way

    @property
    def is_answered(self) -> bool:
        """Whether a response was begun."""
        return self._inner.is_answered

    @property
    def is_disconnected(self) -> bool:
        """Whether the sender has gone."""
        return self._inner.is_disconnected

    def read(self, limit: int = LIMIT) -> bytes:
        """The rest of the body, of at most `limit` bytes."""
        return run(self._inner.read(limit))

    def text(self, limit: int = LIMIT) -> str:
        """The rest of the body as text in UTF-8."""
        return run(self._inner.text(limit))

    def json(self, limit: int = LIMIT) -> Any:
        """The rest of the body, read as JSON."""
        return run(self._inner.json(limit))

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := run(self._inner._chunk())) is not None:
            yield chunk

    def respond(
        self,
        status: int = 200,
        content: ContentTypes = b"",
        *,
        headers: HeaderTypes | None = None,
        reason: str | None = None,
    ) -> None:
        """Sends the response: text, bytes, or chunks that leave as they come."""
        if not _content.is_stream(content):
            run(self._inner.respond(status, content, headers=headers, reason=reason))
            return
        with self.start_response(status, headers=headers, reason=reason) as writer:
            for chunk in cast("Iterable[Any]", content):
                writer.write(chunk, flush=True)

    def start_response(
        self, status: int = 200, *, headers: HeaderTypes | None = None, reason: str | None = None
    ) -> ResponseWriter:
        """Begins a response whose body is written piece by piece."""
        return ResponseWriter(self._inner.start_response(status, headers=headers, reason=reason))

    def disconnected(self, timeout: float | None = None) -> bool:
        """Waits until the sender has gone, or the response is complete. Returns whether the sender has gone."""
        return run(self._inner.disconnected(), timeout)


Incoming: TypeAlias = Union[IncomingConnect, IncomingRequest]
"""What a listener receives."""


class ResponseWriter(_Closing[_incoming.ResponseWriter]):
    """Writes the body of a response. See :class:`hybridrelay.ResponseWriter`."""

    __slots__ = ()

    def write(self, data: Buffer | str, *, flush: bool = False) -> None:
        """Writes a piece."""
        run(self._inner.write(data, flush=flush))

    def flush(self) -> None:
        """Sends what was written so far, the head included."""
        run(self._inner.flush())

    def finish(self) -> None:
        """Ends the response."""
        run(self._inner.finish())

    def abort(self) -> None:
        """Breaks the response off."""
        run(self._inner.abort())


class Listener(_Closing[_listener.Listener]):
    """Is online under a hybrid connection. See :class:`hybridrelay.Listener`."""

    __slots__ = ()

    def accept(self, timeout: float | None = None) -> Incoming | None:
        """The next sender that waits; ``None`` after :meth:`close`. Raises :class:`Timeout` after `timeout` seconds."""
        incoming = run(self._inner.accept(), timeout)
        if incoming is None:
            return None
        if isinstance(incoming, _incoming.IncomingConnect):
            return IncomingConnect(incoming)
        return IncomingRequest(incoming)

    def serve(self, handler: Callable[[Incoming], object], *, max_workers: int = 32) -> None:
        """Calls ``handler(incoming)`` for each sender in a thread of its own, at most `max_workers` at once, until :meth:`close`.

        What a handler raises is logged; its sender, if unanswered, gets 502 for a connection and 500 for a request.
        """
        turns = threading.Semaphore(max_workers)
        threads: set[threading.Thread] = set()
        try:
            while True:
                # What no thread is free for waits in the listener, which refuses more than its `max_concurrent`.
                turns.acquire()
                incoming = self.accept()
                if incoming is None:
                    break
                threads = {thread for thread in threads if thread.is_alive()}
                # A daemon, so that a handler that waits does not keep a program which was interrupted.
                work = (handler, incoming, turns)
                thread = threading.Thread(target=_handle, args=work, name="hybridrelay handler", daemon=True)
                threads.add(thread)
                thread.start()
        except BaseException:
            self.close()
            raise
        for thread in threads:
            thread.join()

    def serve_wsgi(self, app: WSGIApplication, *, threads: int = 16, spool: bool = False, grace: float = 10.0) -> None:
        """Runs a WSGI application, such as one of Flask, until :meth:`close`, in so many threads. See
        :meth:`hybridrelay.Listener.serve_wsgi`."""
        asyncio.run(self._inner.serve_wsgi(app, threads=threads, spool=spool, grace=grace))

    def serve_asgi(
        self, app: ASGIApplication, *, lifespan: LifespanMode = "auto", spool: bool = False, grace: float = 10.0
    ) -> None:
        """Runs an ASGI application until :meth:`close`, in an event loop of its own in this thread. See
        :meth:`hybridrelay.Listener.serve_asgi`."""
        asyncio.run(self._inner.serve_asgi(app, lifespan=lifespan, spool=spool, grace=grace))

    def forward(self, target: str, **options: Any) -> None:
        """Sends everything that comes to a server near the listener, until :meth:`close`. See :meth:`hybridrelay.Listener.forward`."""
        run(self._inner.forward(target, **options))

    def events(self) -> Events:
        """Takes everything that comes from here on as events."""
        return Events(self._inner.events())

    @property
    def status(self) -> Status:
        """The status now."""
        return self._inner.status

    def statuses(self) -> Iterator[Status]:
        """The status now, and each change, until the listener has ended."""
        statuses = self._inner.statuses()
        while True:
            try:
                yield run(_next(statuses))
            except StopAsyncIteration:
                return

    def on_status(self, callback: Callable[[Status], object]) -> None:
        """Calls `callback` with the status now and with each change, in a thread of its own, until the listener has ended."""

        def follow() -> None:
            for status in self.statuses():
                try:
                    callback(status)
                except Exception:
                    logger.exception("a status callback failed")

        threading.Thread(target=follow, name="hybridrelay status", daemon=True).start()

    @property
    def features(self) -> frozenset[str]:
        """What the relay offers beyond the protocol."""
        return self._inner.features

    @property
    def address(self) -> str:
        """The relay's address."""
        return self._inner.address

    @property
    def entity(self) -> str:
        """The name of the hybrid connection."""
        return self._inner.entity

    def close(self) -> None:
        """Goes offline, within 2 s. Accepted connections go on. While it serves an ASGI or WSGI application, what is under way has its
        grace before that."""
        run(self._inner.close())

    def __iter__(self) -> Iterator[Incoming]:
        while (incoming := self.accept()) is not None:
            yield incoming


def _handle(handler: Callable[[Incoming], object], incoming: Incoming, turns: threading.Semaphore) -> None:
    try:
        handler(incoming)
        if not incoming.is_answered:
            _refuse(incoming, "The listener has not answered")
    except Exception:
        logger.exception("a handler failed: %r", incoming)
        _refuse(incoming, "The listener failed")
    finally:
        incoming._inner._drop()
        turns.release()


def _refuse(incoming: Incoming, reason: str) -> None:
    run(_listener._refuse(incoming._inner, reason))


async def _next(iterator: Any) -> Any:
    return await iterator.__anext__()


class Response(_Wrapper[_response_.Response]):
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


def _each(iterator: Any) -> Iterator[Any]:
    try:
        while True:
            try:
                yield run(_next(iterator))
            except StopAsyncIteration:
                return
    finally:
        run(iterator.aclose())


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


class Publisher(_Closing[_events.Publisher]):
    """A connection on which this side only speaks. See :class:`hybridrelay.Publisher`."""

    __slots__ = ()

    def publish(self, event: str | Buffer) -> None:
        """Publishes an event."""
        run(self._inner.publish(event))

    def flush(self) -> None:
        """Waits until everything published was handed to the operating system."""
        run(self._inner.flush())

    def ended(self, timeout: float | None = None) -> RelayError:
        """Waits until the other side has ended it, and returns why."""
        return run(self._inner.ended(), timeout)

    def close(self) -> None:
        """Ends it behind everything published."""
        run(self._inner.close())

    def abort(self) -> None:
        """Ends it at once."""
        self._inner.abort()

    @property
    def subprotocol(self) -> str | None:
        """The sub-protocol that was agreed on."""
        return self._inner.subprotocol

    @property
    def tracking_id(self) -> str:
        """The id under which the relay's logs know this publisher."""
        return self._inner.tracking_id


class Events(_Wrapper[_events.Events]):
    """What every publisher says: ``for event in listener.events()``."""

    __slots__ = ()

    def next(self, timeout: float | None = None) -> _events.Event | None:
        """The next event; ``None`` after the listener's close."""
        return run(self._inner.next(), timeout)

    def __iter__(self) -> Iterator[_events.Event]:
        while (event := self.next()) is not None:
            yield event


class PresenceEvents(_Wrapper[_presence.PresenceEvents]):
    """Everything that happens to the listeners, in order."""

    __slots__ = ()

    def next(self, timeout: float | None = None) -> PresenceEvent:
        """What happens next."""
        return run(self._inner.next(), timeout)

    def __iter__(self) -> Iterator[PresenceEvent]:
        while True:
            yield self.next()


def listen(target: str | None = None, /, **options: Unpack[ListenerOptions]) -> Listener:
    """Gets online: ``with listen(cs) as listener``. Options are those of :class:`hybridrelay.ListenerOptions`."""
    return Listener(run(_open(_listener.listen(target, **options))))


def connect(target: str | None = None, /, **options: Unpack[OpenOptions]) -> Connection:
    """Opens a connection: ``with connect(cs) as connection``. Options are those of :class:`hybridrelay.OpenOptions`."""
    return Connection(run(_open(_connection.connect(target, **options))))


def open_connection(
    target: str | None = None, /, **options: Unpack[OpenOptions]
) -> tuple[io.BufferedReader, io.BufferedWriter]:
    """Opens a connection as two binary files; see :meth:`Connection.into_streams`.

    >>> reader, writer = open_connection(cs)
    >>> with reader, writer:
    ...     writer.write(b"GET / HTTP/1.0\\r\\n\\r\\n")
    """
    return connect(target, **options).into_streams()


def endpoints(target: str | None = None, /, **options: Unpack[ReachOptions]) -> tuple[Endpoint, ...]:
    """The endpoints of a namespace that are online now."""
    return run(_presence.endpoints(target, **options))


def watch_endpoints(target: str | None = None, /, **options: Unpack[ReachOptions]) -> Iterator[EndpointEvent]:
    """Everything that happens to the endpoints of a namespace, in order."""
    return _each(_presence.watch_endpoints(target, **options))


async def _open(opening: Any) -> Any:
    return await opening


class Server:
    """What :func:`start_server` returns: a listener whose senders are files, each in a thread of its own."""

    def __init__(self, listener: Listener, callback: Callable[[io.BufferedReader, io.BufferedWriter], object]) -> None:
        self._listener = listener
        self._callback = callback
        self._thread = threading.Thread(target=self._accept, name="hybridrelay server", daemon=True)
        self._thread.start()

    @property
    def listener(self) -> Listener:
        """The listener below, for its status."""
        return self._listener

    def serve_forever(self) -> None:
        """Waits until the server is closed."""
        while self._thread.is_alive():
            # In slices, so that Ctrl-C is heard.
            self._thread.join(0.2)

    def close(self) -> None:
        """Goes offline. Connections go on."""
        self._listener.close()
        self._thread.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        for incoming in self._listener:
            if isinstance(incoming, IncomingConnect):
                threading.Thread(target=self._serve, args=(incoming,), name="hybridrelay sender", daemon=True).start()
            else:
                incoming._inner._drop()

    def _serve(self, incoming: IncomingConnect) -> None:
        try:
            connection = incoming.accept()
        except RelayError as error:
            logger.debug("a sender could not be accepted: %s", error)
            return
        try:
            self._callback(*connection.into_streams())
        except Exception:
            logger.exception("a callback of a server failed")
            connection.abort()


def start_server(
    callback: Callable[[io.BufferedReader, io.BufferedWriter], object],
    target: str | None = None,
    /,
    **options: Unpack[ListenerOptions],
) -> Server:
    """Gets online and calls ``callback(reader, writer)`` for each sender, in a thread of its own. HTTP requests are answered 501."""
    return Server(listen(target, **options), callback)
