"""Applications of FastAPI, Starlette, Django and Flask, as they are, by ordinary clients: directly and through the relay."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import websockets
from apps import django_site, fastapi_shop, flask_notes
from hybridrelay import LocalRelay
from serving import Site, asgi, uvicorn, wsgi


@pytest.fixture(scope="module")
def relay() -> Iterator[LocalRelay]:
    """One that lets in senders without a token, as ordinary clients are."""
    with LocalRelay(anonymous=True) as relay:
        yield relay


class TestFastAPI:
    """The tests of the shop."""

    @pytest.fixture(params=["directly", "through the relay", "in both ways at once"])
    async def site(self, request: pytest.FixtureRequest, relay: LocalRelay) -> AsyncIterator[Site]:
        shop = fastapi_shop.shop()
        if request.param == "directly":
            async with uvicorn(shop) as site:
                yield site
        elif request.param == "through the relay":
            async with asgi(relay, shop) as (site, _):
                yield site
        else:
            async with uvicorn(shop) as direct, asgi(relay, shop) as (site, _), httpx.AsyncClient() as client:
                assert (await client.get(direct.url + "/items/")).json() == []
                yield site
                assert (await client.get(direct.url + "/log")).json() == []

    @pytest.fixture
    async def client(self, site: Site) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=site.url, follow_redirects=True) as client:
            yield client

    async def test_items(self, client: httpx.AsyncClient) -> None:
        response = await client.put("/items/7", json={"name": "thé", "price": 2.5})
        assert (response.status_code, response.json()) == (201, {"name": "thé", "price": 2.5})
        await client.put("/items/8", json={"name": "coffee", "price": 4})
        assert (await client.get("/items/7")).json()["name"] == "thé"
        assert [item["name"] for item in (await client.get("/items/?cheaper_than=3")).json()] == ["thé"]
        response = await client.get("/items/9")
        assert (response.status_code, response.json(), response.headers["x-searched"]) == (
            404,
            {"detail": "no item 9"},
            "9",
        )
        response = await client.put("/items/x", json={"name": 1})
        assert response.status_code == 422 and len(response.json()["detail"]) == 3
        assert (await client.delete("/items/7")).status_code == 405
        # Each is written by a thread of its own, behind the answer.
        assert sorted((await client.get("/log")).json()) == ["put 7", "put 8"]

    async def test_addresses_lead_back(self, client: httpx.AsyncClient, site: Site) -> None:
        told = (await client.get("/where?x=1")).json()
        assert told == {"items": site.url + "/items/", "base": site.url + "/", "url": site.url + "/where?x=1"}
        for path in ("/moved", "/items"):
            response = await client.get(path)
            assert (response.status_code, response.json(), len(response.history)) == (200, [], 1)
        document = (await client.get("/openapi.json")).json()
        assert "/items/{number}" in document["paths"]
        assert "swagger" in (await client.get("/docs")).text

    async def test_uploads(self, client: httpx.AsyncClient) -> None:
        bodies = [bytes(range(256)) * size for size in (0, 1, 4096)]
        files = [("files", (f"{number}.bin", body)) for number, body in enumerate(bodies)]
        response = await client.post("/upload", files=files, data={"note": "grüße"})
        assert response.json() == [
            {"name": f"{number}.bin", "size": len(body), "sha256": hashlib.sha256(body).hexdigest(), "note": "grüße"}
            for number, body in enumerate(bodies)
        ]

    async def test_downloads(self, client: httpx.AsyncClient) -> None:
        body = (await client.get("/big")).content
        assert body == b"".join(bytes([number]) * 2**16 for number in range(64))

    async def test_events(self, client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/events?first=5") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = [line async for line in response.aiter_lines() if line.startswith("data")]
        assert lines == ["data: 5", "data: 6", "data: 7"]

    async def test_cookies(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/me")
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Cookie")
        await client.post("/login?name=Ada")
        assert dict(client.cookies) == {"user": "Ada", "theme": "dark"}
        assert (await client.get("/me")).json() == "Ada"

    async def test_chat(self, client: httpx.AsyncClient, site: Site) -> None:
        url = site.web_socket("/chat/lounge")
        async with websockets.connect(url, subprotocols=["chat.v1", "chat.v2"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "chat.v2"
            for said in ("hello", ["grüße", {"a": None}], "x" * 2**17):
                await socket.send(json.dumps(said))
                answer = json.loads(await socket.recv())
                assert answer == {"room": "lounge", "name": "nobody", "said": said}
                assert await socket.recv() == b"\0\1"
            await socket.close(4001, "bye")
        while not (log := (await client.get("/log")).json()):
            pass
        assert log == ["left 4001 bye"]

    async def test_rooms_that_are_closed(self, site: Site) -> None:
        async with websockets.connect(site.web_socket("/chat/small")) as socket:
            with pytest.raises(websockets.ConnectionClosedError):
                await socket.recv()
            assert (socket.close_code, socket.close_reason) == (4000, "too small")
        for path in ("/chat/closed", "/nowhere"):
            with pytest.raises(websockets.InvalidStatus) as failure:
                await websockets.connect(site.web_socket(path))
            assert failure.value.response.status_code in (403, 404)

    async def test_many_at_once(self, client: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(client.get(f"/events?first={number}") for number in range(50)))
        assert [f"data: {number}" in answer.text for number, answer in enumerate(answers)] == [True] * 50


async def test_starlette(relay: LocalRelay) -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.websockets import WebSocket

    gone = asyncio.Event()

    async def here(request: Request) -> Response:
        return JSONResponse([request.scope["root_path"], request.url.path, str(request.url_for("below:here"))])

    async def wait(request: Request) -> Response:
        while not await request.is_disconnected():
            await asyncio.sleep(0)
        gone.set()
        return Response()

    async def deny(socket: WebSocket) -> None:
        await socket.send_denial_response(PlainTextResponse("pay first", 402))

    routes = [
        Route("/", here),
        Route("/wait", wait),
        WebSocketRoute("/deny", deny),
        Mount("/below", routes=[Route("/here", here, name="here")], name="below"),
    ]
    async with asgi(relay, Starlette(routes=routes)) as (site, _), httpx.AsyncClient(base_url=site.url) as client:
        address = site.url + "/below/here"
        assert (await client.get("/")).json() == ["/site", "/site/", address]
        assert (await client.get("/below/here")).json() == ["/site/below", "/site/below/here", address]
        with pytest.raises(websockets.InvalidStatus) as failure:
            await websockets.connect(site.web_socket("/deny"))
        assert (failure.value.response.status_code, failure.value.response.reason_phrase[:9]) == (402, "pay first")
        asking = asyncio.create_task(client.get("/wait"))
        await asyncio.sleep(0)
        while not asking.done() and not gone.is_set():
            # Once it is on its way it is given up.
            await asyncio.sleep(0.01)
            asking.cancel()
        await gone.wait()


async def django(client: httpx.AsyncClient) -> None:
    """The tests of the site."""
    response = await client.get("/hello/Ad%C3%A8le/?a=b")
    url = "/site/hello/Ad%C3%A8le/"
    assert response.json() == {"hello": "Adèle", "here": f"{url}?a=b", "url": url}
    assert "seen" in response.cookies
    # Django appends the slash.
    assert (await client.get("/hello/Ada", follow_redirects=True)).json()["here"] == "/site/hello/Ada/"
    for size in (10, 3_000_000):
        response = await client.post("/upload", files={"file": bytes(size)}, data={"note": "grüße"})
        assert response.json() == {"size": size, "note": "grüße"}
    assert (await client.get("/fail")).status_code == 500
    assert (await client.get("/nowhere")).status_code == 404


async def test_django(relay: LocalRelay) -> None:
    async with asgi(relay, django_site.asgi, spool=True) as (site, _), httpx.AsyncClient(base_url=site.url) as client:
        await django(client)
        assert (await client.get("/stream")).text == "line 0\nline 1\nline 2\n"


async def test_django_in_threads(relay: LocalRelay) -> None:
    with wsgi(relay, django_site.wsgi, spool=True) as site:
        async with httpx.AsyncClient(base_url=site.url) as client:
            await django(client)


def test_flask(relay: LocalRelay) -> None:
    with wsgi(relay, flask_notes.notes()) as site:
        with httpx.Client(base_url=site.url, follow_redirects=True) as client:
            response = client.put("/notes/f%C3%BCr", content="grüße")
            assert (response.status_code, response.headers["location"]) == (201, site.url + "/notes/f%C3%BCr")
            assert client.get(response.headers["location"]).text == "grüße"
            assert client.get("/notes/none").status_code == 404
            for size in (10, 3_000_000):
                response = client.post("/upload", files={"file": ("a.bin", bytes(size))}, data={"note": "ü"})
                assert response.json() == {"name": "a.bin", "size": size, "note": "ü"}
            assert client.get("/lines?word=line").text == "line 0\nline 1\nline 2\n"
            assert client.get("/me").text == "nobody"
            assert client.post("/login", json={"name": "Ada"}).text == "Ada"
            assert client.get("/me").text == "Ada"
            assert client.get("/fail").status_code == 500


async def test_flask_answers_many_at_once(relay: LocalRelay) -> None:
    with wsgi(relay, flask_notes.notes(), threads=4) as site:
        async with httpx.AsyncClient(base_url=site.url) as client:
            answers = await asyncio.gather(*(client.get(f"/lines?word={number}") for number in range(40)))
            assert [answer.text.splitlines()[0] for answer in answers] == [f"{number} 0" for number in range(40)]
