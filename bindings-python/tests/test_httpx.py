"""Clients of httpx that reach a listener."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import hybridrelay
import pytest
from apps import fastapi_shop
from hybridrelay import IncomingRequest, Listener, LocalRelay, Sender, sync
from hybridrelay.httpx import AsyncTransport, Transport
from serving import asgi


@pytest.fixture
async def client(cs: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a listener."""
    transport = AsyncTransport(cs)
    async with httpx.AsyncClient(transport=transport, base_url=transport.base_url) as client:
        yield client


async def taken(listener: Listener) -> IncomingRequest:
    incoming = await listener.accept()
    assert isinstance(incoming, IncomingRequest)
    return incoming


async def test_a_client_uses_an_application(hybridrelay_relay: LocalRelay) -> None:
    async with asgi(hybridrelay_relay, fastapi_shop.shop(), "shop"):
        transport = AsyncTransport(hybridrelay_relay.connection_string("shop"))
        async with httpx.AsyncClient(transport=transport, base_url=transport.base_url, follow_redirects=True) as client:
            assert (await client.put("/items/1", json={"name": "thé", "price": 2})).status_code == 201
            # A redirect leads to the relay's own address, and by it back to the listener.
            response = await client.get("/moved")
            assert response.json()[0]["name"] == "thé" and len(response.history) == 1
            assert (await client.get("/items/2")).reason_phrase == "Not Found"
            files = {"files": ("a.bin", bytes(1_000_000))}
            assert (await client.post("/upload", files=files)).json()[0]["size"] == 1_000_000
            await client.post("/login?name=Ada")
            assert (await client.get("/me")).json() == "Ada"
            async with client.stream("GET", "/events?first=7") as response:
                assert [line async for line in response.aiter_lines() if "data" in line] == [
                    "data: 7",
                    "data: 8",
                    "data: 9",
                ]
            # Under any other host every path is the listener's.
            assert (await client.get("http://shop/items/1")).json()["name"] == "thé"
            with pytest.raises(httpx.UnsupportedProtocol, match="not below"):
                await client.get(hybridrelay_relay.address + "another/items")


async def test_bodies_stream_both_ways_at_once(listener: Listener, client: httpx.AsyncClient) -> None:
    turns: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def upload() -> AsyncIterator[bytes]:
        while (chunk := await turns.get()) is not None:
            yield chunk

    async def mirror() -> None:
        request = await taken(listener)
        async with request.start_response() as writer:
            await writer.flush()
            async for chunk in request:
                await writer.write(chunk, flush=True)

    mirroring = asyncio.create_task(mirror())
    async with client.stream("POST", "/", content=upload()) as response:
        chunks = response.aiter_raw()
        for number in range(50):
            turns.put_nowait(b"%d" % number)
            assert await anext(chunks) == b"%d" % number
        turns.put_nowait(None)
        assert [chunk async for chunk in chunks] == []
    await mirroring


async def test_time_limits_are_those_of_httpx(listener: Listener, client: httpx.AsyncClient) -> None:
    timeout = httpx.Timeout(60, read=0.01, connect=0.01)
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/", timeout=timeout)
    await taken(listener)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(2**16)

    # Nobody reads the body.
    with pytest.raises(httpx.WriteTimeout):
        await client.post("/", content=endless(), timeout=httpx.Timeout(60, write=0.1, connect=0.1))
    await taken(listener)

    async def begin() -> hybridrelay.ResponseWriter:
        writer = (await taken(listener)).start_response()
        await writer.write("a beginning", flush=True)
        return writer

    beginning = asyncio.create_task(begin())
    async with client.stream("GET", "/", timeout=httpx.Timeout(60, read=0.1)) as response:
        chunks = response.aiter_bytes()
        assert await anext(chunks) == b"a beginning"
        with pytest.raises(httpx.ReadTimeout):
            await anext(chunks)
    await (await beginning).abort()


async def test_a_program_that_makes_its_body_slowly_is_not_late(listener: Listener, client: httpx.AsyncClient) -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"one"
        # Longer than every limit.
        await asyncio.wait_for(go_on.wait(), 60)
        yield b"two"

    async def answer() -> None:
        request = await taken(listener)
        chunks = aiter(request)
        first = await anext(chunks)
        asyncio.get_running_loop().call_later(1.5, go_on.set)
        await request.respond(200, first + b"".join([chunk async for chunk in chunks]))

    answering = asyncio.create_task(answer())
    response = await client.post("/", content=slow(), timeout=httpx.Timeout(0.5))
    assert response.content == b"onetwo"
    await answering


async def test_what_fails_on_the_way_is_one_of_their_exceptions(
    listener: Listener, client: httpx.AsyncClient, cs: str
) -> None:
    asking = asyncio.create_task(client.get("/"))
    async with (await taken(listener)).start_response() as writer:
        await writer.write("a beginning", flush=True)
        await writer.abort()
    with pytest.raises(httpx.ReadError) as lost:
        await asking
    assert isinstance(lost.value.__cause__, hybridrelay.ConnectionLost)
    with pytest.raises(httpx.LocalProtocolError):
        await client.request("GE T", "/")
    await listener.close()
    with pytest.raises(httpx.ConnectError) as refused:
        await client.get("/")
    assert isinstance(refused.value.__cause__, hybridrelay.NoListeners)
    wrong = hybridrelay.TokenProvider.ready_made("SharedAccessSignature sr=x&sig=x&se=9999999999&skn=x")
    async with httpx.AsyncClient(transport=AsyncTransport(cs, credential=wrong)) as other:
        with pytest.raises(httpx.ConnectError) as forbidden:
            await other.get("http://relay/")
    assert isinstance(forbidden.value.__cause__, hybridrelay.Unauthorized)


async def test_a_cancelled_request_is_given_up(listener: Listener, client: httpx.AsyncClient) -> None:
    asking = asyncio.create_task(client.get("/"))
    request = await taken(listener)
    waiting = asyncio.create_task(request.disconnected())
    asking.cancel()
    assert await waiting


async def test_a_sender_may_be_shared(listener: Listener, cs: str) -> None:
    async with Sender(cs) as sender:
        async with httpx.AsyncClient(transport=AsyncTransport(sender)) as client:
            asking = asyncio.create_task(client.get("http://relay/"))
            await (await taken(listener)).respond(204)
            assert (await asking).status_code == 204
        # It is still open.
        asking_again = asyncio.create_task(sender.get("/"))
        await (await taken(listener)).respond(204)
        assert (await asking_again).status_code == 204
    with pytest.raises(RuntimeError, match="closed"):
        async with httpx.AsyncClient(transport=AsyncTransport(sender)) as client:
            await client.get("http://relay/")


def test_blocking_clients(cs: str) -> None:
    import threading

    held = threading.Event()

    def handler(incoming: sync.Incoming) -> None:
        assert isinstance(incoming, sync.IncomingRequest)
        match incoming.path:
            case "/hold":
                held.wait(60)
            case "/breaks":
                with incoming.start_response() as writer:
                    writer.write("a beginning", flush=True)
                    writer.abort()
            case _:
                incoming.respond(201, incoming.read(), headers={"x-query": incoming.query or ""})

    def pieces() -> Iterator[bytes]:
        for number in range(100):
            yield b"%d," % number

    transport = Transport(cs)
    with sync.listen(cs) as listener, httpx.Client(transport=transport, base_url=transport.base_url) as client:
        serving = threading.Thread(target=listener.serve, args=(handler,))
        serving.start()
        response = client.post("/x?a=%20b", json={"a": 1})
        assert (response.status_code, response.json(), response.headers["x-query"]) == (201, {"a": 1}, "a=%20b")
        assert client.post("/x", content=pieces()).text == "".join(f"{number}," for number in range(100))
        with pytest.raises(httpx.ReadTimeout):
            client.get("/hold", timeout=httpx.Timeout(0.1))
        held.set()
        with pytest.raises(httpx.ReadError):
            client.get("/breaks")
        with client.stream("POST", "/x", content=bytes(1_000_000)) as streamed:
            assert sum(len(chunk) for chunk in streamed.iter_bytes()) == 1_000_000
        listener.close()
        serving.join()
        with pytest.raises(httpx.ConnectError):
            client.get("/")
