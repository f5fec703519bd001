"""Answers HTTP requests without an open port: ``http-hello.py listen`` in one place, ``http-hello.py get NAME`` in any other."""

import asyncio
import sys

import hybridrelay


async def listen() -> None:
    async with hybridrelay.listen() as listener:
        print("online", flush=True)
        # An application of FastAPI or Django is served by `listener.serve_asgi(app)`, one of Flask by `listener.serve_wsgi(app)`.
        await listener.serve(answer)


async def answer(incoming: hybridrelay.Incoming) -> None:
    # WebSockets, which this program does not serve, are refused by being left unanswered.
    if isinstance(incoming, hybridrelay.IncomingRequest):
        # The path is what stands behind the name of the hybrid connection, as the sender wrote it.
        await incoming.respond(200, f"Hello, {incoming.path.lstrip('/')}!\n")


async def get(name: str) -> None:
    async with hybridrelay.Sender() as sender:
        # What the relay itself refuses is an exception: NoListeners, for instance.
        response = await sender.get(f"/{name}")
        # Whatever a listener answers is none, unless it is made one.
        response.raise_for_status()
        print(response.text, end="")


match sys.argv[1:]:
    case ["listen"]:
        asyncio.run(listen())
    case ["get", name]:
        asyncio.run(get(name))
    case _:
        sys.exit("usage: http-hello.py listen | http-hello.py get NAME")
