"""This package serves the application at the relay of the connection string."""

import os
from pathlib import Path

import hybridrelay
import uvloop
from application import announce, application
from client import told


async def main():
    ca = os.environ.get("BENCH_CA")
    options = {"extra_ca_pem": Path(ca).read_bytes()} if ca else {}
    async with hybridrelay.listen(told("BENCH_CONNECTION_STRING"), **options) as listener:
        announce(None)
        await listener.serve_asgi(application, lifespan="off")


uvloop.run(main())
