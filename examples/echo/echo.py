"""Sends back whatever comes: ``echo.py listen`` in one place, ``echo.py send TEXT`` in any other."""

import asyncio
import sys

import hybridrelay


async def listen() -> None:
    # The connection string is the one in HYBRIDRELAY_CONNECTION_STRING. The block begins when the relay knows of the listener.
    async with hybridrelay.listen() as listener:
        print("online", flush=True)
        # A task for each sender, so that a slow one keeps nobody else waiting. A lost network is no error here: the listener comes back
        # by itself.
        await listener.serve(echo)


async def echo(incoming: hybridrelay.Incoming) -> None:
    # HTTP requests, which this program does not serve, are refused by being left unanswered.
    if isinstance(incoming, hybridrelay.IncomingConnect):
        async with await incoming.accept() as connection:
            # This ends with the sender's orderly end; a connection that breaks raises ConnectionLost instead.
            async for message in connection:
                await connection.send(message)


async def send(text: str) -> None:
    # The end of the block closes the connection. Without that it would be aborted, and the listener would see an error.
    async with hybridrelay.connect() as connection:
        await connection.send(text)
        print(await connection.receive())


match sys.argv[1:]:
    case ["listen"]:
        asyncio.run(listen())
    case ["send", text]:
        asyncio.run(send(text))
    case _:
        sys.exit("usage: echo.py listen | echo.py send TEXT")
