"""ASGI applications, such as those of FastAPI, Starlette and Django, without a port.

What they are told is what ASGI 3.0 says (https://asgi.readthedocs.io), and what uvicorn tells them: the application sees no difference.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._asgi_http import Exchange
from ._asgi_lifespan import Lifespan
from ._asgi_websocket import Socket
from ._conversations import Conversations
from ._conversations import serve as converse
from ._hosting import Place, place, target
from ._incoming import Incoming, IncomingConnect
from ._logging import logger

if TYPE_CHECKING:
    from ._listener import Listener

Message: TypeAlias = MutableMapping[str, Any]
"""An event that an application gets or sends."""

ASGIApplication: TypeAlias = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
"""``await app(scope, receive, send)``."""

LifespanMode: TypeAlias = Literal["auto", "on", "off"]
"""Whether an application is told that it starts and ends: where it understands that, in any case, or never."""


async def serve(listener: Listener, app: ASGIApplication, lifespan: LifespanMode, spool: bool, grace: float) -> None:
    """Runs an application until the listener is closed."""
    where = place(listener.address)
    async with Lifespan(app, lifespan) as state:
        with Conversations(listener, grace) as conversations:
            await converse(conversations, lambda incoming: _converse(app, incoming, where, state, spool, conversations))


async def _converse(
    app: ASGIApplication,
    incoming: Incoming,
    where: Place,
    state: dict[str, Any],
    spool: bool,
    conversations: Conversations,
) -> None:
    is_socket = isinstance(incoming, IncomingConnect)
    asked = target(incoming.mount, incoming.path)
    scope: dict[str, Any] = {
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": ("ws" if is_socket else "http") + ("s" if where.secure else ""),
        "path": asked.path,
        "raw_path": asked.raw,
        "query_string": (incoming.query or "").encode(),
        "root_path": asked.mount,
        # Names come in lower case.
        "headers": list(incoming.headers.raw),
        "client": incoming.remote_addr,
        "server": (where.host, where.port),
        "state": state.copy(),
    }
    talk: Exchange | Socket
    remembered: contextlib.AbstractContextManager[object]
    if isinstance(incoming, IncomingConnect):
        talk = Socket(incoming)
        scope |= {
            "type": "websocket",
            "subprotocols": list(incoming.subprotocols),
            "extensions": {"websocket.http.response": {}},
        }
        remembered = conversations.open(talk)
    else:
        talk = remembered = Exchange(incoming)
        scope["type"] = "http"
        scope["method"] = incoming.method
        scope["extensions"] = {}
    try:
        with remembered:
            if spool and isinstance(talk, Exchange) and "content-length" not in incoming.headers:
                scope["headers"].append((b"content-length", b"%d" % await talk.spool()))
            await app(scope, talk.receive, talk.send)
            await talk.returned()
    except asyncio.CancelledError:
        await talk.cancelled()
        raise
    except Exception as error:
        if talk.is_gone and isinstance(error, OSError):
            # It wanted to say something to nobody.
            logger.debug("a sender has gone: %r", incoming)
        else:
            logger.exception("the application failed: %r", incoming)
        await talk.failed()
    finally:
        incoming._drop()
