"""Tells how many listeners are online: ``presence.py watch`` prints it now, and whenever it changes."""

import asyncio
import sys

import hybridrelay


async def watch() -> None:
    async with hybridrelay.Sender() as sender:
        count = -1
        # A relay that does not tell, such as Azure's, raises Unsupported. Afterwards a lost network is no error: it is followed again by
        # itself, and an event tells how many there are then.
        async for event in sender.presence_events():
            if event.presence.count != count:
                count = event.presence.count
                print(f"{count} online", flush=True)


match sys.argv[1:]:
    case ["watch"]:
        asyncio.run(watch())
    case _:
        sys.exit("usage: presence.py watch")
