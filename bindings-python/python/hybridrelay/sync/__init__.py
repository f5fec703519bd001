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

import io
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Unpack

from .. import _connection, _listener, _presence
from .._errors import RelayError
from .._listener import Status
from .._logging import logger
from .._options import ListenerOptions, OpenOptions, ReachOptions
from .._presence import Endpoint
from .._run import run
from .._tokens import TokenProvider, create_token
from ._event import EndpointEvents, Events, PresenceEvents, Publisher
from ._listening import Listener
from ._sending import RequestOptions, Response, Sender
from ._serving import Incoming, IncomingConnect, IncomingRequest, ResponseWriter
from ._stream import Connection
from ._testing import LocalRelay, RelayEvents
from ._wrapper import _open

__all__ = [
    "Connection",
    "EndpointEvents",
    "Events",
    "Incoming",
    "IncomingConnect",
    "IncomingRequest",
    "Listener",
    "LocalRelay",
    "PresenceEvents",
    "Publisher",
    "RelayEvents",
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


def watch_endpoints(target: str | None = None, /, **options: Unpack[ReachOptions]) -> EndpointEvents:
    """Follows the endpoints of a namespace: ``for event in watch_endpoints(cs)``."""
    return EndpointEvents(_presence.watch_endpoints(target, **options))


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
