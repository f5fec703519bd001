"""From one to everybody: ``publish.py subscribe`` in any number of places, ``publish.py say TEXT`` in any other. The relay must be told that
the hybrid connection is one for events, as by ``hybridrelay serve --dev --events NAME``; elsewhere one listener hears each publisher."""

import asyncio
import sys

import hybridrelay


async def subscribe() -> None:
    async with hybridrelay.listen() as listener:
        # Everything that any publisher says, as one sequence.
        events = listener.events()
        print("online", flush=True)
        async for event in events:
            if event.kind == "missed":
                # A subscriber that does not keep up slows nobody down: it misses the oldest events, and is told.
                print(f"{event.count} events were missed", file=sys.stderr)
            else:
                print(event.data.decode() if isinstance(event.data, bytes) else event.data, flush=True)


async def say(text: str) -> None:
    async with hybridrelay.Sender() as sender:
        # The relay has taken everything when the block ends. Nobody needs to be listening.
        async with sender.publisher() as publisher:
            await publisher.publish(text)


match sys.argv[1:]:
    case ["subscribe"]:
        asyncio.run(subscribe())
    case ["say", text]:
        asyncio.run(say(text))
    case _:
        sys.exit("usage: publish.py subscribe | publish.py say TEXT")
