"""The Python member of the conformance tests: does what lines of JSON say, with the package. See ../README.md."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import sys
import threading
import time

import hybridrelay
from hybridrelay import sync

LACKS = {
    "fragments": "the library decides where a message is cut",
    "live-handles": "objects are collected",
}


def tell(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def payload(command):
    """The payload that a command speaks of: the same in every language."""
    text = command.get("kind") == "text"
    if "base64" in command:
        data = base64.b64decode(command["base64"])
        return data.decode() if text else data
    size, seed = command.get("size") or 0, command.get("seed") or 0
    if text:
        return "aé漢🌍" * (size // 10) + chr(ord("a") + (23 + seed) % 26) * (size % 10)
    return (bytes((at + seed) % 251 for at in range(251)) * (size // 251 + 1))[:size]


def as_bytes(data):
    return data.encode() if isinstance(data, str) else data


def digest(message):
    data = as_bytes(message)
    kind = "text" if isinstance(message, str) else "binary"
    return {"kind": kind, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


async def digest_of(next_piece, command):
    """Reads so many bytes, or all that are left. `next_piece` yields at most as many as it is asked for, and nothing at the end."""
    left = float("inf") if command.get("whole") or command.get("size") is None else command["size"]
    size, whole, end = 0, hashlib.sha256(), False
    while left > 0 and not end:
        piece = await next_piece(min(left, 2**16))
        whole.update(piece)
        size, left, end = size + len(piece), left - len(piece), not piece
    return {"kind": "binary", "size": size, "sha256": whole.hexdigest(), "end": end}


def where(command):
    """The connection string, and the options of a sender or a listener."""
    target, wanted = command["target"], command.get("options") or {}
    options = {}
    if target.get("token") is not None:
        options["credential"] = hybridrelay.TokenProvider.ready_made(target["token"])
    if target.get("caPem") is not None:
        options["extra_ca_pem"] = target["caPem"]
    if target.get("proxy") is not None:
        options["proxy"] = target["proxy"]
    for name, ours, unit in (
        ("connectTimeout", "connect_timeout", 1000),
        ("closeTimeout", "close_timeout", 1000),
        ("maxMessageSize", "max_message_size", 1),
        ("maxConcurrent", "max_concurrent", 1),
        ("reconnect", "reconnect", None),
        ("wait", "wait", None),
        ("subprotocols", "subprotocols", None),
    ):
        if name in wanted:
            options[ours] = wanted[name] if unit is None else wanted[name] / unit if unit > 1 else wanted[name]
    return target["connectionString"], options


def sender(command):
    target, options = where(command)
    return hybridrelay.Sender(target, **options)


def asked(command):
    """What a sender asks for."""
    return {name: command[name] for name in ("path", "query", "headers", "subprotocols") if command.get(name)}


class Pieces:
    """A body that is read in pieces of wanted sizes."""

    def __init__(self, iterate):
        self.iterate = iterate
        self.chunks = iterate()
        self.left = b""
        self.lock = asyncio.Lock()

    async def next(self, most):
        try:
            self.left = self.left or await anext(self.chunks, b"")
        except asyncio.CancelledError:
            # That has ended the iterator, as that of every `async for`. Nothing is lost: the next one goes on.
            self.chunks = self.iterate()
            raise
        piece, self.left = self.left[:most], self.left[most:]
        return piece


class Stream:
    def __init__(self, connection, reader, writer):
        self.connection, self.reader, self.writer = connection, reader, writer


class Request:
    def __init__(self, incoming):
        self.incoming, self.body, self.writer = incoming, Pieces(incoming.__aiter__), None
        # Let go of after this it was used, and is refused as such.
        incoming._begin()


class Response:
    def __init__(self, streaming, response):
        self.streaming, self.body = streaming, Pieces(response.aiter_bytes)


class Opened:
    def __init__(self, listener, provider):
        self.listener, self.provider = listener, provider


class Testee:
    def __init__(self):
        self.objects = {}
        self.under_way = {}

    def begin(self, command):
        task = asyncio.create_task(self.perform(command))
        self.under_way[command["id"]] = task

    async def perform(self, command):
        number = command["id"]
        try:
            operation = getattr(self, "do_" + command["op"])
            tell({"id": number, "ok": (await operation(command)) or {}})
        except asyncio.CancelledError:
            tell({"id": number, "error": {"kind": "Cancelled", "code": 101, "retryable": False}})
        except hybridrelay.RelayError as error:
            tell({"id": number, "error": told(error)})
        except Exception as fault:
            tell({"id": number, "fault": f"{type(fault).__name__}: {fault}"})
        finally:
            self.under_way.pop(number, None)

    async def do_cancel(self, command):
        task = self.under_way.get(command["command"])
        if task is not None:
            task.cancel()

    def put(self, command, made):
        self.objects[command["as"]] = made

    async def do_open(self, command):
        target, options = where(command)
        listener = await hybridrelay.listen(target, **options)
        self.put(command, Opened(listener, options.get("credential")))

    async def do_accept(self, command):
        incoming = await self.objects[command["on"]].listener.accept()
        if incoming is None:
            return {"end": True}
        if isinstance(incoming, hybridrelay.IncomingConnect):
            answer = introduced(command, incoming)
            connection = await incoming.accept(command.get("subprotocol"))
            self.put(command, connection)
            return answer | {"subprotocol": connection.subprotocol}
        self.put(command, Request(incoming))
        return {
            "kind": "request",
            "method": incoming.method,
            "path": incoming.path,
            "query": incoming.query or "",
            "headers": dict(incoming.headers),
            "oneWay": incoming.is_one_way,
        }

    async def do_reject(self, command):
        incoming = await self.objects[command["on"]].listener.accept()
        if incoming is None:
            return {"end": True}
        if not isinstance(incoming, hybridrelay.IncomingConnect):
            return {"kind": "request"}
        answer = introduced(command, incoming)
        if command.get("status") is not None:
            await incoming.reject(command["status"], command.get("reason") or "")
        return answer

    async def do_connect(self, command):
        connection = await sender(command).connect(**asked(command))
        self.put(command, connection)
        return {"subprotocol": connection.subprotocol}

    async def do_send(self, command):
        made, data = self.objects[command["on"]], payload(command)
        for _ in range(command.get("times") or 1):
            if isinstance(made, hybridrelay.Connection):
                await made.send(data)
            elif isinstance(made, hybridrelay.Publisher):
                await made.publish(data)
            elif isinstance(made, Stream):
                made.writer.write(as_bytes(data))
                await made.writer.drain()
            else:
                await made.writer.write(data, flush=True)

    async def do_receive(self, command):
        made = self.objects[command["on"]]
        if isinstance(made, hybridrelay.Connection):
            message = await made.receive()
            if message is None:
                return {"end": True, "closeCode": made.close_code, "closeReason": made.close_reason}
            return digest(message)
        if isinstance(made, hybridrelay.Events):
            return event_told(await made.next())
        if isinstance(made, Stream):
            return await digest_of(made.reader.read, command)
        async with made.body.lock:
            return await digest_of(made.body.next, command)

    async def do_echo(self, command):
        connection, messages, size = self.objects[command["on"]], 0, 0
        async for message in connection:
            messages, size = messages + 1, size + len(as_bytes(message))
            await connection.send(message)
        await connection.close()
        return {"messages": messages, "bytes": size}

    async def do_shutdown(self, command):
        made = self.objects[command["on"]]
        if isinstance(made, Stream):
            made.writer.write_eof()
        else:
            await made.shutdown()

    async def do_close(self, command):
        made = self.objects[command["on"]]
        if isinstance(made, hybridrelay.Connection):
            await made.close(command.get("code"), command.get("reason") or "")
        elif isinstance(made, Opened):
            await made.listener.close()
        elif isinstance(made, Stream):
            made.writer.close()
            await made.writer.wait_closed()
        elif isinstance(made, Request):
            await made.writer.finish()
        else:
            await made.close()

    async def do_abort(self, command):
        made = self.objects[command["on"]]
        if isinstance(made, Stream):
            made.writer.transport.abort()
        elif isinstance(made, Request):
            await made.writer.abort()
        elif isinstance(made, Response):
            await made.streaming.__aexit__(None, None, None)
        else:
            made.abort()

    async def do_status(self, command):
        made = self.objects[command["on"]]
        if isinstance(made, Request):
            return {"status": "gone" if await made.incoming.disconnected() else "answered"}
        async with contextlib.aclosing(made.listener.statuses()) as statuses:
            async for status in statuses:
                if command.get("until") in (None, status.state):
                    return {"status": status.state, "code": None if status.error is None else int(status.error.kind)}
        return {"end": True}

    async def do_bytes(self, command):
        connection = self.objects[command["on"]]
        self.put(command, Stream(connection, *await connection.into_streams()))

    async def do_token(self, command):
        self.objects[command["on"]].provider.set_token(command["token"])

    async def do_request(self, command):
        query = f"?{command['query']}" if command.get("query") else ""
        arguments = (command.get("method") or "GET", (command.get("path") or "/") + query)
        options = {"headers": command.get("headers")}
        if "size" in command or "base64" in command:
            options["content"] = as_bytes(payload(command))
        if command.get("oneWay"):
            return {"listeners": (await sender(command).send_one_way(*arguments, **options)).listeners}
        streaming = sender(command).stream(*arguments, **options)
        response = await streaming.__aenter__()
        answer = {
            "status": response.status_code,
            "reason": response.reason_phrase,
            "headers": dict(response.headers),
        }
        made = Response(streaming, response)
        if command.get("as"):
            self.put(command, made)
            return answer
        try:
            return answer | await digest_of(made.body.next, {"whole": True})
        finally:
            await streaming.__aexit__(None, None, None)

    async def do_respond(self, command):
        made = self.objects[command["on"]]
        head = {"headers": command.get("headers"), "reason": command.get("reason")}
        status = command.get("status") or 200
        if command.get("stream"):
            made.writer = made.incoming.start_response(status, **head)
            await made.writer.flush()
        else:
            content = made.body.chunks if command.get("echo") else as_bytes(payload(command))
            await made.incoming.respond(status, content, **head)

    async def do_publish(self, command):
        self.put(command, await sender(command).publisher(**asked(command)))

    async def do_events(self, command):
        self.put(command, self.objects[command["on"]].listener.events())

    async def do_presence(self, command):
        if command.get("atLeast") is None:
            return {"count": (await sender(command).presence()).count}
        async for event in sender(command).presence_events():
            if event.presence.count >= command["atLeast"]:
                return {"count": event.presence.count}

    async def do_release(self, command):
        if "prefix" in command:
            for name in [name for name in self.objects if name.startswith(command["prefix"])]:
                del self.objects[name]
        else:
            self.objects.pop(command["on"], None)

    async def do_counters(self, command):
        with open("/proc/self/status") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        return {"rssKib": resident, "descriptors": len(os.listdir("/proc/self/fd")), "objects": len(self.objects)}

    async def do_vector(self, command):
        case = command["vector"]
        validity = max(0.0, case["expiresAt"] - time.time())
        token = hybridrelay.create_token(case["audience"], case["keyName"], case["key"], validity=validity)
        return {"token": token}

    async def do_fork(self, command):
        listener = self.objects[command["on"]].listener
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            code = 9
            try:
                code = in_the_child(listener, *where(command))
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        return {"code": os.waitstatus_to_exitcode(status)}


def in_the_child(old, target, options):
    """The parent's listener is known to be one, and objects of its own work. The number tells what does not."""
    try:
        sync.Listener(old).accept()
        return 1
    except hybridrelay.Forked:
        pass
    with sync.listen(target, **options) as listener:
        got = []

        def connect():
            with sync.connect(target, **options) as connection:
                connection.send("hello")
                got.append(connection.receive())

        thread = threading.Thread(target=connect)
        thread.start()
        with listener.accept().accept() as connection:
            connection.send(connection.receive() + " back")
        thread.join()
    return 0 if got == ["hello back"] else 2


def introduced(command, incoming):
    header = command.get("header")
    return {
        "header": header and incoming.headers.get(header),
        "kind": "connect",
        "path": incoming.path,
        "query": incoming.query or "",
        "subprotocols": list(incoming.subprotocols),
    }


def event_told(event):
    if event is None:
        return {"end": True}
    answer = {"missed": event.count} if event.kind == "missed" else digest(event.data)
    return answer | {"event": event.kind, "path": event.origin.path}


def told(error):
    return {
        "kind": "".join(word.capitalize() for word in error.kind.name.split("_")),
        "code": int(error.kind),
        "status": error.status,
        "reason": error.reason,
        "closeCode": error.close_code,
        "retryable": error.retryable,
        "message": str(error),
    }


async def main():
    testee = Testee()
    lines = asyncio.StreamReader(limit=2**26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    tell({"hello": {"protocol": 1, "language": "python", "lacks": LACKS}})
    async for line in lines:
        command = json.loads(line)
        if command["op"] == "exit":
            # Nothing is closed, and what others wait for is not awaited.
            sys.exit(command.get("code") or 0)
        testee.begin(command)


if __name__ == "__main__":
    asyncio.run(main())
