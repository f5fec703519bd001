"""Applications that are reached through the relay, by clients that know nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import hybridrelay
from hybridrelay import sync


class Site:
    """Where an application is."""

    def __init__(self, url: str, web_socket: str, query: str = "") -> None:
        self.url = url
        self._web_socket = web_socket
        self._query = query

    def web_socket(self, path: str) -> str:
        """The address of a WebSocket of the application."""
        return self._web_socket + path + self._query


def relayed(relay: hybridrelay.LocalRelay, entity: str) -> Site:
    """An application that listens on a relay."""
    authority = relay.address.removeprefix("http://").rstrip("/")
    return Site(f"http://{authority}/{entity}", f"ws://{authority}/$hc/{entity}", "?sb-hc-action=connect")


@contextlib.asynccontextmanager
async def asgi(
    relay: hybridrelay.LocalRelay, app: Any, entity: str = "site", **options: Any
) -> AsyncIterator[tuple[Site, hybridrelay.Listener]]:
    """An ASGI application, until the end of the block. What the serving raises is raised there."""
    async with hybridrelay.listen(relay.connection_string(entity)) as listener:
        serving = asyncio.create_task(listener.serve_asgi(app, **options))
        try:
            yield relayed(relay, entity), listener
            await listener.close()
            await serving
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


@contextlib.contextmanager
def wsgi(relay: hybridrelay.LocalRelay, app: Any, entity: str = "site", **options: Any) -> Any:
    """A WSGI application, until the end of the block."""
    import threading

    with sync.listen(relay.connection_string(entity)) as listener:
        thread = threading.Thread(target=listener.serve_wsgi, args=(app,), kwargs=options)
        thread.start()
        try:
            yield relayed(relay, entity)
        finally:
            listener.close()
            thread.join()


@contextlib.asynccontextmanager
async def uvicorn(app: Any) -> AsyncIterator[Site]:
    """The same application on a port of its own."""
    import uvicorn as server_

    class Server(server_.Server):
        def __init__(self, config: server_.Config) -> None:
            super().__init__(config)
            self.ready = asyncio.Event()

        async def startup(self, *args: Any, **options: Any) -> None:
            await super().startup(*args, **options)
            self.ready.set()

    # Signals are the business of the tests.
    server = Server(server_.Config(app, port=0, log_config=None, ws="websockets-sansio"))
    running = asyncio.create_task(server._serve())
    await server.ready.wait()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Site(f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        await running
