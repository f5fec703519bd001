"""A plain WebSocket client that knows nothing of relays: the token stands in the address."""

import asyncio
import hashlib
import json
import os
import ssl
import sys

import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

UNIT = "aé漢🌍"  # 1, 2, 3 and 4 bytes


def tell(**event):
    print(json.dumps(event), flush=True)


def payload(command):
    """The message that a `send` command asks for: the same in every language."""
    if "text" in command:
        return command["text"]
    size = command["size"]
    if command["kind"] == "text":
        return UNIT * (size // 10) + "x" * (size % 10)
    return (bytes(range(251)) * (size // 251 + 1))[:size]


class Connection:
    """One connection: its commands are carried out one after the other."""

    def __init__(self, id):
        self.id = id
        self.commands = asyncio.Queue()

    async def run(self, command, tls, tasks):
        try:
            socket = await websockets.connect(
                command["url"], ssl=tls, subprotocols=command.get("protocols"), max_size=None, proxy=None
            )
        except InvalidStatus as error:
            response = error.response
            tell(event="refused", id=self.id, status=response.status_code, reason=response.reason_phrase)
            return
        tell(event="open", id=self.id, protocol=socket.subprotocol)
        sending = tasks.create_task(self.obey(socket))
        try:
            while True:
                self.received(await socket.recv())
        except ConnectionClosed:
            tell(event="closed", id=self.id, code=socket.close_code, reason=socket.close_reason)
        sending.cancel()

    def received(self, message):
        kind, data = ("text", message.encode()) if isinstance(message, str) else ("binary", message)
        tell(event="message", id=self.id, kind=kind, size=len(data), sha256=hashlib.sha256(data).hexdigest())

    async def obey(self, socket):
        while True:
            command = await self.commands.get()
            if command["do"] == "send":
                await socket.send(payload(command))
            else:
                await socket.close(command["code"], command["reason"])


async def main():
    tls = ssl.create_default_context(cafile=os.environ["CA_FILE"])
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    connections = {}
    tell(event="ready")
    # A connection that fails in a way that nobody expected ends the program, and so the test.
    async with asyncio.TaskGroup() as tasks:
        while line := await reader.readline():
            command = json.loads(line)
            id = command["id"]
            if command["do"] == "connect":
                connections[id] = Connection(id)
                tasks.create_task(connections[id].run(command, tls, tasks))
            else:
                connections[id].commands.put_nowait(command)
        raise SystemExit  # whatever is still open


asyncio.run(main())
