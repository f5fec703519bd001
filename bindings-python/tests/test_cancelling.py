"""Waits that are cancelled lose nothing: what iterates goes on where it was."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import hybridrelay
import pytest
from conftest import pair
from hybridrelay import Listener, LocalRelay, Response, Sender, sync
from hybridrelay._content import Chunks


async def cancelled(iterator: AsyncIterator[Any]) -> None:
    """Cancels a wait for the next item, for which nothing has come."""
    waiting = asyncio.ensure_future(_next(iterator))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def _next(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator)


async def requested(listener: Listener) -> hybridrelay.IncomingRequest:
    """The request that comes next."""
    incoming = await listener.accept()
    assert isinstance(incoming, hybridrelay.IncomingRequest)
    return incoming


CHUNKS = (b"one\nt", b"wo\n\xc3", b"\xa4\n")

#: How a body is iterated over, and what each of the chunks makes there, and the end.
WAYS: dict[str, tuple[Callable[[Response], AsyncIterator[Any]], list[list[Any]]]] = {
    "bytes": (lambda response: response.aiter_bytes(), [[b"one\nt"], [b"wo\n\xc3"], [b"\xa4\n"], []]),
    "pieces": (lambda response: response.aiter_bytes(4), [[b"one\n"], [b"two\n"], [], [b"\xc3\xa4\n"]]),
    "text": (lambda response: response.aiter_text(), [["one\nt"], ["wo\n"], ["ä\n"], []]),
    "lines": (lambda response: response.aiter_lines(), [["one"], ["two"], ["ä"], []]),
}


@pytest.mark.parametrize("way", WAYS)
async def test_a_response_is_read_on(listener: Listener, cs: str, way: str) -> None:
    iterate, (*expected, last) = WAYS[way]
    async with Sender(cs) as sender:
        asking = asyncio.ensure_future(_begun(sender))
        async with (await requested(listener)).start_response() as writer:
            await writer.flush()
            response = await asking
            iterator = iterate(response)
            for chunk, items in zip(CHUNKS, expected, strict=True):
                await cancelled(iterator)
                await writer.write(chunk, flush=True)
                for item in items:
                    assert await anext(iterator) == item
        assert [item async for item in iterator] == last
        with pytest.raises(StopAsyncIteration):
            await anext(iterator)
        with pytest.raises(hybridrelay.InvalidArgument, match="chunk_size"):
            response.aiter_bytes(0)
        await response.aclose()


async def test_a_request_is_read_on(listener: Listener, cs: str) -> None:
    written: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def body() -> AsyncIterator[bytes]:
        while (chunk := await written.get()) is not None:
            yield chunk

    async with Sender(cs) as sender:
        asking = asyncio.ensure_future(sender.post(content=body()))
        # What is longer than a control channel takes comes piece by piece.
        written.put_nowait(b"x" * 100_000)
        request = await requested(listener)
        chunks, size = aiter(request), 0
        while size < 100_000:
            size += len(await anext(chunks))
        for chunk in CHUNKS:
            await cancelled(chunks)
            written.put_nowait(chunk)
            assert await anext(chunks) == chunk
        written.put_nowait(None)
        assert [chunk async for chunk in chunks] == []
        await request.respond()
        assert (await asking).is_success


async def test_a_whole_body_is_whole_behind_a_cancelled_wait(
    listener: Listener, cs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: asyncio.Queue[bytes | None] = asyncio.Queue()
    taken: asyncio.Queue[int] = asyncio.Queue()
    take = Chunks.next

    async def next(self: Chunks) -> bytes | None:
        chunk = await take(self)
        taken.put_nowait(len(chunk or b""))
        return chunk

    async def body() -> AsyncIterator[bytes]:
        while (chunk := await written.get()) is not None:
            yield chunk

    async def cancelled_behind(size: int, reading: Coroutine[Any, Any, bytes]) -> None:
        """Cancels a read that has taken so many bytes and waits for more."""
        task = asyncio.ensure_future(reading)
        while size > 0:
            size -= await taken.get()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    monkeypatch.setattr(Chunks, "next", next)
    async with Sender(cs) as sender:
        asking = asyncio.ensure_future(_begun(sender, body()))
        written.put_nowait(b"x" * 100_000)
        request = await requested(listener)
        await cancelled_behind(100_000, request.read())
        written.put_nowait(b"the end")
        written.put_nowait(None)
        with pytest.raises(hybridrelay.MessageTooLarge):
            await request.read(limit=100_000)
        assert await request.read() == b"x" * 100_000 + b"the end"
        while not taken.empty():
            taken.get_nowait()
        async with request.start_response() as writer:
            await writer.write(b"one ", flush=True)
            response = await asking
            await cancelled_behind(4, response.aread())
            await writer.write(b"two")
        assert await response.aread() == b"one two"


async def test_messages_statuses_and_senders_come_on(hybridrelay_own_relay: LocalRelay) -> None:
    cs = hybridrelay_own_relay.connection_string()
    async with hybridrelay.listen(cs) as listener:
        statuses = listener.statuses()
        assert (await anext(statuses)).is_online
        await cancelled(statuses)
        await cancelled(aiter(listener))
        near, far = await pair(listener, cs)
        await cancelled(aiter(far))
        await near.send("here")
        assert await anext(aiter(far)) == "here"
        hybridrelay_own_relay.drop_control()
        assert (await anext(statuses)).state == "offline"
        assert (await anext(statuses)).state == "online"
        near.abort()
        far.abort()
    assert [status.state async for status in statuses] == ["closed"]


async def test_what_has_broken_off_never_ends_well(listener: Listener, cs: str) -> None:
    async with Sender(cs) as sender:
        asking = asyncio.ensure_future(_begun(sender))
        writer = (await requested(listener)).start_response()
        await writer.write(b"a beginning", flush=True)
        response = await asking
        async with contextlib.aclosing(response.aiter_bytes()) as chunks:  # type: ignore[type-var]
            assert await anext(chunks) == b"a beginning"
        assert [chunk async for chunk in chunks] == []
        lines = response.aiter_lines()
        await writer.abort()
        for _ in range(2):
            with pytest.raises(hybridrelay.ConnectionLost):
                await anext(lines)
        with pytest.raises(hybridrelay.ConnectionLost):
            await response.aread()
        await response.aclose()


async def test_a_send_that_is_cancelled_while_it_waits_has_sent_nothing(listener: Listener, cs: str) -> None:
    message = bytes(256 * 1024)
    near, far = await pair(listener, cs)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while True:
            # Nobody reads, so at last it waits for as long as it may.
            await asyncio.wait_for(near.send(message), 0.05)
            sent += 1
    closing = asyncio.ensure_future(near.close())
    assert [len(part) async for part in far] == [len(message)] * sent
    await far.close()
    await closing


async def test_the_end_of_a_response_that_is_cancelled_goes_on(listener: Listener, cs: str) -> None:
    # More than waits anywhere on the way to a sender that does not read.
    much = bytes(32 * 2**20)
    async with Sender(cs) as sender:
        asking = asyncio.ensure_future(_begun(sender))
        writer = (await requested(listener)).start_response()
        await writer.write(b"one ", flush=True)
        response = await asking
        await writer.write(much)
        finishing = asyncio.ensure_future(writer.finish())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not finishing.done()
        finishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
        assert await response.aread() == b"one " + much


def test_an_interrupted_wait_of_a_thread_goes_on(cs: str) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: object) -> None:
        if not raised.is_set():
            raised.set()
            raise Interrupted

    def interrupt_the_wait() -> None:
        # It is where it polls, or about to.
        while sys._current_frames()[main].f_code.co_name != "_look":
            time.sleep(0)
        while not raised.is_set():
            # One that comes just before the poll does not end it.
            signal.pthread_kill(main, signal.SIGUSR1)
            time.sleep(0)

    def answer(incoming: sync.Incoming) -> None:
        assert isinstance(incoming, sync.IncomingRequest)
        with incoming.start_response() as writer:
            writer.flush()
            assert interrupted.wait(60)
            writer.write(b"one\ntwo\n")

    raised, interrupted, main = threading.Event(), threading.Event(), threading.get_ident()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with sync.listen(cs) as listener:
            serving = threading.Thread(target=listener.serve, args=(answer,))
            serving.start()
            with sync.Sender(cs) as sender, sender.stream("GET") as response:
                lines = response.iter_lines()
                interrupting = threading.Thread(target=interrupt_the_wait)
                interrupting.start()
                with pytest.raises(Interrupted):
                    next(lines)
                interrupting.join()
                interrupted.set()
                assert list(lines) == ["one", "two"]
            listener.close()
            serving.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


async def _begun(sender: Sender, content: AsyncIterator[bytes] | None = None) -> Response:
    """A response of which only the head has come."""
    return await sender._send("POST", "/", None, content, None, None, None)
