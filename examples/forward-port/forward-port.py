"""Lets others reach a TCP port near here: ``forward-port.py listen HOST:PORT`` beside the server, ``forward-port.py connect`` in any other
place."""

import shutil
import sys
import threading

from hybridrelay import sync


def listen(server: str) -> None:
    with sync.listen() as listener:
        print("online", flush=True)
        # The server is dialled anew for each sender; one that is down gives the sender 502. `http://…` and `unix:…` work as well.
        listener.forward(f"tcp://{server}")


def connect() -> None:
    # A connection carries messages; as two files it is like a TCP connection, and each direction ends by itself.
    reader, writer = sync.open_connection()

    def send() -> None:
        with writer:
            # `read1` hands on what is there, and waits for no more.
            while data := sys.stdin.buffer.read1():
                writer.write(data)
                writer.flush()

    sending = threading.Thread(target=send)
    sending.start()
    with reader:
        shutil.copyfileobj(reader, sys.stdout.buffer)
        sending.join()


match sys.argv[1:]:
    case ["listen", server]:
        listen(server)
    case ["connect"]:
        connect()
    case _:
        sys.exit("usage: forward-port.py listen HOST:PORT | forward-port.py connect")
