"""Talk to programs that cannot be reached: both sides dial out to a relay and meet there.

This package speaks the *Hybrid Connections* protocol of Azure Relay and of the self-hosted ``hybridrelay`` server. A listener is online
under a hybrid connection; a sender anywhere else opens a connection to it, or sends it HTTP requests. Neither side needs an open port.

>>> async with hybridrelay.listen(cs) as listener:
...     async for incoming in listener:
...         async with await incoming.accept() as connection:
...             async for message in connection:
...                 await connection.send(message)

>>> async with hybridrelay.connect(cs) as connection:
...     await connection.send("hello")
...     print(await connection.receive())

Everything here is for asyncio; :mod:`hybridrelay.sync` has the same names for blocking calls. Durations are seconds. What the library
logs goes to ``logging.getLogger("hybridrelay")``.
"""

from __future__ import annotations

from ._connection import Connection, connect
from ._errors import (
    Closed,
    ConnectionLost,
    EndpointNotFound,
    ErrorKind,
    Forked,
    InternalError,
    InvalidArgument,
    MessageTooLarge,
    NetworkError,
    NoListeners,
    ProtocolError,
    ProxyAuthenticationRequired,
    QuotaExceeded,
    Rejected,
    RelayError,
    ServerBusy,
    StreamInUse,
    Timeout,
    TlsError,
    Unauthorized,
    Unsupported,
)
from ._events import Event, EventOrigin, Events, Publisher
from ._headers import Headers
from ._incoming import Incoming, IncomingConnect, IncomingRequest, ResponseWriter
from ._listener import Listener, Status, listen
from ._local import LocalRelay, OpenConnection, RelayEvent, RelayEvents
from ._native import __version__
from ._options import ConnectOptions, ListenerOptions, OpenOptions, ReachOptions, SenderOptions
from ._presence import (
    Endpoint,
    EndpointEvent,
    EndpointEvents,
    Presence,
    PresenceEvent,
    PresenceEvents,
    PresentListener,
    endpoints,
    watch_endpoints,
)
from ._response import Response
from ._sender import OneWay, RequestOptions, Sender
from ._streams import RelayTransport, Server, open_connection, start_server
from ._tokens import TokenProvider, create_token

__all__ = [
    "Closed",
    "ConnectOptions",
    "Connection",
    "ConnectionLost",
    "Endpoint",
    "EndpointEvent",
    "EndpointEvents",
    "EndpointNotFound",
    "ErrorKind",
    "Event",
    "EventOrigin",
    "Events",
    "Forked",
    "Headers",
    "Incoming",
    "IncomingConnect",
    "IncomingRequest",
    "InternalError",
    "InvalidArgument",
    "Listener",
    "ListenerOptions",
    "LocalRelay",
    "MessageTooLarge",
    "NetworkError",
    "NoListeners",
    "OneWay",
    "OpenConnection",
    "OpenOptions",
    "Presence",
    "PresenceEvent",
    "PresenceEvents",
    "PresentListener",
    "ProtocolError",
    "ProxyAuthenticationRequired",
    "Publisher",
    "QuotaExceeded",
    "ReachOptions",
    "Rejected",
    "RelayError",
    "RelayEvent",
    "RelayEvents",
    "RelayTransport",
    "RequestOptions",
    "Response",
    "ResponseWriter",
    "Sender",
    "SenderOptions",
    "Server",
    "ServerBusy",
    "Status",
    "StreamInUse",
    "Timeout",
    "TlsError",
    "TokenProvider",
    "Unauthorized",
    "Unsupported",
    "__version__",
    "connect",
    "create_token",
    "endpoints",
    "listen",
    "open_connection",
    "start_server",
    "watch_endpoints",
]
