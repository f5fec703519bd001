"""gRPC without an open port: ``grpc-hello.py listen`` in one place, ``grpc-hello.py say NAME...`` in any other. Each name is answered as soon
as it was sent, over one call. Needs ``pip install grpcio``.

Any library that talks over a socket goes through the relay like this: its server and its client each have a socket of their own nearby.
"""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator

import grpc
import hybridrelay


async def greet(names: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    async for name in names:
        yield b"Hello, " + name + b"!"


async def listen() -> None:
    # With protoc's code this is `add_GreeterServicer_to_server`. Here messages are bytes as they are.
    handlers = {"Greet": grpc.stream_stream_rpc_method_handler(greet)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("hello.Greeter", handlers)])
    with tempfile.TemporaryDirectory() as folder:
        # A socket that only programs of this user reach.
        server.add_insecure_port(f"unix:{folder}/grpc")
        await server.start()
        async with hybridrelay.listen() as listener:
            print("online", flush=True)
            await listener.forward(f"unix:{folder}/grpc")


async def say(names: list[str]) -> None:
    connections: list[asyncio.Task[None]] = []

    def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(join(reader, writer)))

    with tempfile.TemporaryDirectory() as folder:
        # What gRPC connects to; each connection goes on through the relay.
        async with await asyncio.start_unix_server(pass_on, f"{folder}/grpc"):
            # On a socket of this machine gRPC needs no TLS: the relay's is around it.
            async with grpc.aio.insecure_channel(f"unix:{folder}/grpc") as channel:
                call = channel.stream_stream("/hello.Greeter/Greet")()
                for name in names:
                    await call.write(name.encode())
                    print((await call.read()).decode())
                await call.done_writing()
            # gRPC keeps connections for the next channel.
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)


async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        far_reader, far_writer = await hybridrelay.open_connection()
    except hybridrelay.RelayError as error:
        print(error, file=sys.stderr)
        writer.close()
        return
    try:
        async with asyncio.TaskGroup() as directions:
            directions.create_task(copy(reader, far_writer))
            directions.create_task(copy(far_reader, writer))
    finally:
        for end in (writer, far_writer):
            end.close()
            # gRPC does not always end a connection in good order.
            with contextlib.suppress(ConnectionError):
                await end.wait_closed()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


match sys.argv[1:]:
    case ["listen"]:
        asyncio.run(listen())
    case ["say", *names]:
        asyncio.run(say(names))
    case _:
        sys.exit("usage: grpc-hello.py listen | grpc-hello.py say NAME...")
