"""This package, by asyncio, with one sender for everything."""

import asyncio
import os
from pathlib import Path

import hybridrelay
from client import case_and_size, counts, told


async def main():
    case, size = case_and_size()
    payload = bytes(size)
    ca = os.environ.get("BENCH_CA")
    options = {"extra_ca_pem": Path(ca).read_bytes()} if ca else {}
    async with hybridrelay.Sender(told("BENCH_CONNECTION_STRING"), **options) as sender:
        if case == "connect":
            for count in counts():
                for _ in range(count):
                    async with sender.connect():
                        pass
            return
        if case == "request":
            for count in counts():
                for _ in range(count):
                    response = await sender.get("/")
                    assert response.status_code == 200 and len(response.content) == size
            return
        async with sender.connect() as connection:
            for count in counts():
                if case == "send":
                    await connection.send(f"send {count}")
                    for _ in range(count):
                        await connection.send(payload)
                    assert await connection.receive() == "done"
                elif case == "receive":
                    await connection.send(f"receive {count} {size}")
                    for _ in range(count):
                        assert len(await connection.receive()) == size
                elif case == "echo":
                    await connection.send(f"echo {count}")
                    for _ in range(count):
                        await connection.send(payload)
                        assert len(await connection.receive()) == size
                else:
                    raise ValueError(case)


asyncio.run(main())
