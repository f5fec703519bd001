"""HTTP requests, and who answers them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import hybridrelay
import pytest
from hybridrelay import IncomingRequest, Listener, Sender

#: A response that breaks off has begun to arrive.
_begun = asyncio.Event()


async def handler(incoming: hybridrelay.Incoming) -> None:
    """Answers by path."""
    assert isinstance(incoming, IncomingRequest)
    match incoming.path:
        case "/echo":
            headers = {"content-type": incoming.headers.get("content-type", "none"), "x-query": incoming.query or ""}
            await incoming.respond(200, await incoming.read(), headers=headers)
        case "/json":
            await incoming.respond(200, str(await incoming.json()))
        case "/gone":
            await incoming.respond(
                410, "no more", reason="Quite Gone", headers=[("set-cookie", "a=1"), ("set-cookie", "b=2")]
            )
        case "/count":
            size = 0
            async for chunk in incoming:
                size += len(chunk)
            await incoming.respond(200, str(size))
        case "/mirror":
            async with incoming.start_response(200) as writer:
                async for chunk in incoming:
                    await writer.write(chunk, flush=True)
        case "/breaks":
            async with incoming.start_response(200) as writer:
                await writer.write("a beginning", flush=True)
                # An abort may overtake what was sent.
                await _begun.wait()
                raise ZeroDivisionError
        case "/early":
            await incoming.respond(413, "too much")
        case "/lines":

            async def lines() -> AsyncIterator[str]:
                for text in ("one\r", "\ntwo\nth", "ree\rfour", ""):
                    yield text

            await incoming.respond(200, lines(), headers={"content-type": "text/plain; charset=utf-8"})


@pytest.fixture
async def sender(listener: Listener, cs: str) -> AsyncIterator[Sender]:
    """A sender whose listener answers."""
    serving = asyncio.create_task(listener.serve(handler))
    async with Sender(cs) as sender:
        yield sender
    await listener.close()
    await serving


async def test_a_request_is_answered(sender: Sender) -> None:
    response = await sender.request("POST", "/echo?a=1", params={"b": "x y", "c": [1, 2]}, content="grüße")
    assert (response.status_code, response.reason_phrase, response.text) == (200, "OK", "grüße")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["x-query"] == "a=1&b=x+y&c=1&c=2"
    assert await response.aread() == response.content == "grüße".encode()
    assert response.is_success and response.raise_for_status() is response
    response = await sender.post("/json", json={"ä": [1, None]})
    assert response.text == "{'ä': [1, None]}"
    response = await sender.post("/echo", json=[1])
    assert response.json() == [1] and response.headers["content-type"] == "application/json"


async def test_a_status_of_the_listeners_is_a_response_with_its_reason_and_headers(sender: Sender) -> None:
    response = await sender.get("/gone")
    assert (response.status_code, response.reason_phrase, response.text) == (410, "Quite Gone", "no more")
    assert response.headers.get_list("Set-Cookie") == ["a=1", "b=2"]
    assert response.headers["set-cookie"] == "a=1, b=2"
    with pytest.raises(hybridrelay.Rejected) as failure:
        response.raise_for_status()
    assert failure.value.status == 410


async def test_bodies_stream_both_ways_at_once(sender: Sender) -> None:
    turns: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def upload() -> AsyncIterator[bytes]:
        while (chunk := await turns.get()) is not None:
            yield chunk

    turns.put_nowait(b"0")
    async with sender.stream("POST", "/mirror", content=upload()) as response:
        number = 0
        async for chunk in response.aiter_bytes():
            # Each chunk was answered before the next one is made.
            assert chunk == b"%d" % number
            number += 1
            turns.put_nowait(b"%d" % number if number < 100 else None)
        assert number == 100


async def test_a_large_body_passes_in_pieces(sender: Sender) -> None:
    async def upload() -> AsyncIterator[bytes]:
        for _ in range(256):
            yield bytes(2**16)

    assert (await sender.post("/count", content=upload())).text == str(2**24)
    assert (await sender.post("/count", content=(bytes(2**16) for _ in range(16)))).text == str(2**20)
    async with sender.stream("POST", "/mirror", content=bytes(3_000_000)) as response:
        sizes = [len(chunk) async for chunk in response.aiter_bytes(2**20)]
    assert sizes == [2**20, 2**20, 3_000_000 - 2 * 2**20]


async def test_lines_end_in_each_of_the_three_ways(sender: Sender) -> None:
    async with sender.stream("GET", "/lines") as response:
        assert [line async for line in response.aiter_lines()] == ["one", "two", "three", "four"]


async def test_an_upload_that_fails_raises_what_the_program_raised(sender: Sender) -> None:
    async def upload() -> AsyncIterator[bytes]:
        yield b"a beginning"
        raise ZeroDivisionError("while making the body")

    with pytest.raises(ZeroDivisionError):
        await sender.post("/count", content=upload())


async def test_an_answer_may_come_before_the_body_has(sender: Sender) -> None:
    stopped = asyncio.Event()

    async def upload() -> AsyncIterator[bytes]:
        try:
            yield b"a beginning"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    response = await sender.post("/early", content=upload())
    assert (response.status_code, response.text) == (413, "too much")
    assert stopped.is_set()


async def test_a_response_that_breaks_off_is_an_error(sender: Sender) -> None:
    async with sender.stream("GET", "/breaks") as response:
        assert response.status_code == 200
        _begun.set()
        with pytest.raises(hybridrelay.ConnectionLost):
            async for _ in response.aiter_bytes():
                pass


async def test_a_listener_learns_that_a_sender_has_gone(listener: Listener, cs: str) -> None:
    async with Sender(cs) as sender:
        asking = asyncio.create_task(sender.get("/slow"))
        incoming = await listener.accept()
        assert isinstance(incoming, IncomingRequest) and not incoming.is_disconnected
        waiting = asyncio.create_task(incoming.disconnected())
        asking.cancel()
        assert await waiting and incoming.is_disconnected
        with pytest.raises(hybridrelay.ConnectionLost):
            async with incoming.start_response() as writer:
                while True:
                    await writer.write(bytes(2**16), flush=True)


async def test_a_request_has_a_time_limit(listener: Listener, cs: str) -> None:
    async with Sender(cs) as sender:
        asking = asyncio.create_task(sender.get("/slow", timeout=0.05))
        with pytest.raises(hybridrelay.Timeout):
            await asking


async def test_a_response_longer_than_the_limit_is_refused(listener: Listener, cs: str) -> None:
    serving = asyncio.create_task(listener.serve(handler))
    async with Sender(cs, max_response_size=1000) as sender:
        assert len((await sender.post("/echo", content=bytes(1000))).content) == 1000
        with pytest.raises(hybridrelay.MessageTooLarge):
            await sender.post("/echo", content=bytes(1001))
    with pytest.raises(hybridrelay.Closed):
        await sender.get("/")
    await listener.close()
    await serving


async def test_a_request_that_nobody_takes_is_refused(listener: Listener, cs: str) -> None:
    async with Sender(cs) as sender:
        asking = asyncio.create_task(sender.get("/"))
        incoming = await listener.accept()
        del incoming
        assert (await asking).status_code == 501


async def test_a_response_is_written_piece_by_piece_and_finished(listener: Listener, cs: str) -> None:
    async def answer(incoming: hybridrelay.Incoming) -> None:
        assert isinstance(incoming, IncomingRequest)
        writer = incoming.start_response(404, headers=[("x-two", "1"), ("x-two", "2")], reason="Not Here")
        await writer.write(b"one ")
        await writer.write("two")
        await writer.finish()
        with pytest.raises(hybridrelay.Closed):
            await writer.write(b"three")

    serving = asyncio.create_task(listener.serve(answer))
    async with Sender(cs) as sender:
        response = await sender.get()
        assert (response.text, response.is_error, response.is_success) == ("one two", True, False)
        assert [pair for pair in response.headers.multi_items() if pair[0] == "x-two"] == [
            ("x-two", "1"),
            ("x-two", "2"),
        ]
        with pytest.raises(hybridrelay.Rejected) as failure:
            response.raise_for_status()
        assert (failure.value.status, failure.value.reason) == (404, "Not Here")
    await listener.close()
    await serving


async def test_one_way_requests_are_handed_over(listener: Listener, cs: str) -> None:
    async with Sender(cs) as sender:
        sent = await sender.send_one_way("POST", "/jobs", json={"job": 1})
        incoming = await listener.accept()
        assert isinstance(incoming, IncomingRequest) and incoming.is_one_way
        assert sent.listeners == 1 and incoming.tracking_id[:36] == sent.tracking_id[:36]
        assert await incoming.json() == {"job": 1}
        await incoming.respond(204)


async def test_arguments_that_cannot_be_sent_are_named(sender: Sender) -> None:
    with pytest.raises(hybridrelay.InvalidArgument, match="method"):
        await sender.request("GE T")
    with pytest.raises(hybridrelay.InvalidArgument, match="bad name"):
        await sender.get("/", headers={"bad name": "x"})
    with pytest.raises(TypeError, match="not both"):
        await sender.post("/", content=b"x", json=1)


async def test_a_response_that_cannot_be_sent_leaves_the_request_unanswered(listener: Listener, cs: str) -> None:
    async with Sender(cs) as sender:
        asking = asyncio.create_task(sender.get("/"))
        incoming = await listener.accept()
        assert isinstance(incoming, IncomingRequest)
        with pytest.raises(hybridrelay.InvalidArgument, match="bad name"):
            await incoming.respond(200, headers={"bad name": "x"})
        with pytest.raises(hybridrelay.InvalidArgument, match="200 to 999, not 101"):
            await incoming.respond(101)
        assert not incoming.is_answered
        await incoming.respond(202)
        assert (await asking).status_code == 202
