"""Lets somebody send for an hour who has no key: ``token-example.py create`` where the key is, ``token-example.py send TOKEN TEXT`` where
it is not. A listener of the example ``echo`` answers."""

import asyncio
import os
import sys

import hybridrelay


def create() -> None:
    parts = dict(part.split("=", 1) for part in os.environ["HYBRIDRELAY_CONNECTION_STRING"].split(";") if part)
    # What the token is good for: this hybrid connection and nothing else of the namespace.
    audience = parts["Endpoint"].rstrip("/") + "/" + parts["EntityPath"]
    # Whoever has the token may do what the key's rule allows. Take a rule that may send and no more.
    print(hybridrelay.create_token(audience, parts["SharedAccessKeyName"], parts["SharedAccessKey"], validity=60 * 60))


async def send(token: str, text: str) -> None:
    # A key that the connection string may hold is not used.
    credential = hybridrelay.TokenProvider.ready_made(token)
    async with hybridrelay.connect(credential=credential) as connection:
        await connection.send(text)
        print(await connection.receive())


match sys.argv[1:]:
    case ["create"]:
        create()
    case ["send", token, text]:
        asyncio.run(send(token, text))
    case _:
        sys.exit("usage: token-example.py create | token-example.py send TOKEN TEXT")
