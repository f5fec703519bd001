"""The ASGI application that the measured servers serve: a short answer to everything."""

import json

_HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"1024")]
_BODY = b"x" * 1024


async def application(scope, receive, send):
    assert scope["type"] == "http"
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


def announce(port):
    """Says where the server is, in the form that the measurement reads: a port of the loopback, or none for who dials out."""
    address = f"127.0.0.1:{port}" if port else "0.0.0.0:0"
    print(json.dumps({"address": address, "connection_string": None}), flush=True)
