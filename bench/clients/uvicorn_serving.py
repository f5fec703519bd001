"""uvicorn serves the application at a port of its own, with uvloop and httptools, which it finds by itself; it writes no log."""

import os
import socket

import uvicorn
from application import announce, application

with socket.create_server(("127.0.0.1", 0)) as listening:
    announce(listening.getsockname()[1])
    ca = os.environ.get("BENCH_CA")
    config = uvicorn.Config(
        application,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="error",
        ssl_certfile=ca,
    )
    uvicorn.Server(config).run(sockets=[listening])
