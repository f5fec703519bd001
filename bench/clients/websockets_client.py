"""The package websockets, as programs for the cloud's relay use it: asyncio, without compression."""

import asyncio
import os
import ssl

from client import case_and_size, counts, told
from websockets.asyncio.client import connect


def connecting():
    ca = os.environ.get("BENCH_CA")
    tls = ssl.create_default_context(cafile=ca) if ca else None
    scheme = "wss" if ca else "ws"
    address = f"{scheme}://localhost:{told('BENCH_PORT')}/$hc/bench?sb-hc-action=connect"
    return lambda: connect(address, ssl=tls, compression=None, max_size=None)


async def main():
    case, size = case_and_size()
    payload = bytes(size)
    opened = connecting()
    if case == "connect":
        for count in counts():
            for _ in range(count):
                async with opened():
                    pass
        return
    async with opened() as connection:
        for count in counts():
            if case == "send":
                await connection.send(f"send {count}")
                for _ in range(count):
                    await connection.send(payload)
                assert await connection.recv() == "done"
            elif case == "receive":
                await connection.send(f"receive {count} {size}")
                for _ in range(count):
                    assert len(await connection.recv()) == size
            elif case == "echo":
                await connection.send(f"echo {count}")
                for _ in range(count):
                    await connection.send(payload)
                    assert len(await connection.recv()) == size
            else:
                raise ValueError(case)


asyncio.run(main())
