"""uvicorn serves the application at a port of the loopback, and this package forwards what comes to the relay to it: the way of those who
do not hand their application over."""

import asyncio
import os
import socket
from pathlib import Path

import hybridrelay
import uvicorn
import uvloop
from application import announce, application
from client import told


async def main(listening):
    ca = os.environ.get("BENCH_CA")
    options = {"extra_ca_pem": Path(ca).read_bytes()} if ca else {}
    config = uvicorn.Config(
        application,
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_keep_alive=3600,
    )
    serving = asyncio.create_task(uvicorn.Server(config).serve(sockets=[listening]))
    async with hybridrelay.listen(
        told("BENCH_CONNECTION_STRING"), **options
    ) as listener:
        announce(None)
        await listener.forward(f"http://127.0.0.1:{listening.getsockname()[1]}")
    await serving


with socket.create_server(("127.0.0.1", 0)) as listening:
    uvloop.run(main(listening))
