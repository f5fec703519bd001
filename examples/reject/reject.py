"""Lets nobody in: ``reject.py listen`` in one place, and ``reject.py connect``, which tells why not, in any other."""

import asyncio
import sys

import hybridrelay


async def listen() -> None:
    async with hybridrelay.listen() as listener:
        print("online", flush=True)
        async for incoming in listener:
            if isinstance(incoming, hybridrelay.IncomingConnect):
                try:
                    # An HTTP status of your own and a reason, which the sender sees. It gets no connection.
                    await incoming.reject(410, "closed for today")
                    # What a listener would decide by: the path, the headers and the address of who asks.
                    print(f"rejected a sender with the path '{incoming.path}'", flush=True)
                except hybridrelay.RelayError as error:
                    # The sender may have gone by itself; that must not end the listener.
                    print(f"a sender could not be told: {error}", file=sys.stderr)


async def connect() -> None:
    try:
        async with hybridrelay.connect(path="/door"):
            sys.exit("the listener let us in")
    # The class tells a listener that refuses from a relay that cannot be reached.
    except hybridrelay.Rejected as error:
        print(f"rejected: {error.status} {error.reason}")


match sys.argv[1:]:
    case ["listen"]:
        asyncio.run(listen())
    case ["connect"]:
        asyncio.run(connect())
    case _:
        sys.exit("usage: reject.py listen | reject.py connect")
