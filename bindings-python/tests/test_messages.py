"""Listeners, senders and their connections."""

from __future__ import annotations

import asyncio
import itertools
from typing import Unpack

import hybridrelay
import pytest
from conftest import pair, wait_for_an_end
from hybridrelay import Connection, IncomingConnect, Listener, _run


async def test_messages_keep_their_kind_and_their_boundaries(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    async with near, far:
        for message in ("text", "", b"bytes", b"", "grüße", b"x" * 300_000):
            await near.send(message)
            received = await far.receive()
            assert received == message and type(received) is type(message)
        await far.send(bytearray(b"a buffer"))
        assert await near.receive() == b"a buffer"
        await far.send(memoryview(b"another"))
        assert await near.receive() == b"another"
        with pytest.raises(TypeError, match="bytes-like"):
            await near.send(7)  # type: ignore[arg-type]
        await asyncio.gather(near.close(), far.close())


async def test_either_direction_ends_by_itself(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    await near.send("last")
    await near.shutdown()
    assert [message async for message in far] == ["last"]
    await far.send("and more")
    await far.shutdown()
    assert [message async for message in near] == ["and more"]
    await asyncio.gather(near.close(), far.close())


async def test_a_close_tells_its_code_and_reason(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    closing = asyncio.create_task(near.close(3001, "enough"))
    assert await far.receive() is None
    assert (far.close_code, far.close_reason) == (3001, "enough")
    await far.close()
    await closing
    with pytest.raises(hybridrelay.Closed):
        await near.send("late")


async def test_an_abort_is_an_error_at_the_other_end(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    near.abort()
    with pytest.raises(ConnectionError) as failure:
        await far.receive()
    assert isinstance(failure.value, hybridrelay.ConnectionLost) and failure.value.retryable
    # What is lost needs no close: nothing warns of it.


async def test_a_block_that_fails_aborts(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    with pytest.raises(ZeroDivisionError):
        async with near:
            raise ZeroDivisionError
    with pytest.raises(hybridrelay.ConnectionLost):
        await far.receive()
    far.abort()


async def test_a_listener_sees_who_asks(listener: Listener, cs: str) -> None:
    connecting = asyncio.ensure_future(
        _open(cs, path="/orders/7", query="x=1&y=%20", headers={"X-Custom": "yes"}, subprotocols=["chat.v1", "chat.v0"])
    )
    incoming = await listener.accept()
    assert isinstance(incoming, IncomingConnect)
    assert (incoming.path, incoming.query, incoming.mount) == ("/orders/7", "x=1&y=%20", f"/{listener.entity}")
    assert incoming.headers["x-custom"] == "yes" and "X-CUSTOM" in incoming.headers
    assert incoming.subprotocols == ("chat.v1", "chat.v0")
    assert incoming.remote_addr is not None and incoming.remote_addr[0] == "127.0.0.1"
    assert not incoming.is_answered
    far = await incoming.accept("chat.v0")
    near = await connecting
    assert near.subprotocol == far.subprotocol == "chat.v0"
    assert near.tracking_id[:36] == far.tracking_id[:36] == incoming.tracking_id[:36]
    assert far.path == "/orders/7" and far.request_headers["x-custom"] == "yes"
    with pytest.raises(hybridrelay.Closed):
        await incoming.accept()
    await asyncio.gather(near.close(), far.close())


async def test_a_rejected_sender_sees_status_and_reason(listener: Listener, cs: str) -> None:
    connecting = asyncio.ensure_future(_open(cs))
    incoming = await listener.accept()
    assert isinstance(incoming, IncomingConnect)
    await incoming.reject(451, "not here")
    with pytest.raises(hybridrelay.Rejected) as failure:
        await connecting
    assert (failure.value.status, failure.value.kind) == (451, hybridrelay.ErrorKind.REJECTED)
    assert "not here" in (failure.value.reason or "") and failure.value.tracking_id


async def test_a_sender_that_is_dropped_unanswered_is_refused(listener: Listener, cs: str) -> None:
    connecting = asyncio.ensure_future(_open(cs))
    incoming = await listener.accept()
    del incoming
    with pytest.raises(hybridrelay.RelayError) as failure:
        await connecting
    assert failure.value.status == 503


async def test_iteration_ends_with_the_programs_own_close(listener: Listener, cs: str) -> None:
    async def all_of_them() -> list[object]:
        return [incoming async for incoming in listener]

    waiting = asyncio.create_task(all_of_them())
    await asyncio.sleep(0)
    await listener.close()
    assert await waiting == []
    assert await listener.accept() is None
    assert listener.status.state == "closed"
    await listener.close()


async def test_nothing_is_lost_when_waits_are_cancelled(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    total, got = 2_000, []

    async def sending() -> None:
        for number in range(total):
            await near.send(str(number))
        await near.shutdown()

    task = asyncio.create_task(sending())
    for attempt in itertools.count():
        receiving = asyncio.create_task(far.receive())
        # Now and then before the result, in the moment of it, and after it.
        for _ in range(attempt % 4):
            await asyncio.sleep(0)
        if attempt % 3 and not receiving.done():
            receiving.cancel()
        try:
            message = await receiving
        except asyncio.CancelledError:
            continue
        if message is None:
            break
        got.append(message)
    await task
    assert got == [str(number) for number in range(total)]
    await asyncio.gather(near.close(), far.close())


@pytest.mark.parametrize("seen", [False, True], ids=["before the loop has seen it", "after the loop has seen it"])
async def test_what_came_for_a_cancelled_wait_is_for_the_next(listener: Listener, cs: str, seen: bool) -> None:
    near, far = await pair(listener, cs)

    for text in ("first", "second"):
        waiting = asyncio.create_task(far.receive())
        await asyncio.sleep(0)
        # Blocking, so that the loop sees nothing of it.
        _run.run(near.send(text))
        # It has come, and the task does not know yet.
        wait_for_an_end()
        if seen:
            _run.loop_driver()._drain()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await far.receive() == text
    await asyncio.gather(near.close(), far.close())

    accepting = asyncio.create_task(listener.accept())
    await asyncio.sleep(0)
    connecting = asyncio.ensure_future(_open(cs))
    await asyncio.sleep(0)
    # It has come; the connect waits for its answer.
    wait_for_an_end()
    if seen:
        _run.loop_driver()._drain()
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    incoming = await listener.accept()
    assert isinstance(incoming, IncomingConnect)
    far, near = await asyncio.gather(incoming.accept(), connecting)
    await asyncio.gather(near.close(), far.close())


async def test_a_sender_is_not_lost_when_an_accept_is_cancelled(listener: Listener, cs: str) -> None:
    for _ in range(20):
        accepting = asyncio.create_task(listener.accept())
        await asyncio.sleep(0)
        connecting = asyncio.ensure_future(_open(cs))
        await asyncio.sleep(0)
        accepting.cancel()
        try:
            incoming = await accepting
        except asyncio.CancelledError:
            incoming = await listener.accept()
        assert isinstance(incoming, IncomingConnect)
        far = await incoming.accept()
        near = await connecting
        await asyncio.gather(near.close(), far.close())


async def test_a_cancelled_connect_withdraws(listener: Listener, cs: str) -> None:
    connecting = asyncio.ensure_future(_open(cs))
    incoming = await listener.accept()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    assert isinstance(incoming, IncomingConnect)
    await incoming.reject()


async def test_nobody_listens(cs: str) -> None:
    with pytest.raises(hybridrelay.EndpointNotFound):
        await hybridrelay.connect(cs)
    async with hybridrelay.listen(cs):
        pass
    with pytest.raises(hybridrelay.NoListeners) as failure:
        await hybridrelay.connect(cs)
    assert failure.value.retryable


async def test_a_handler_that_fails_is_logged_and_others_go_on(
    listener: Listener, cs: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(incoming: hybridrelay.Incoming) -> None:
        if incoming.path == "/fails":
            raise ZeroDivisionError("in the handler")
        if incoming.path == "/silent":
            return
        assert isinstance(incoming, IncomingConnect)
        async with await incoming.accept() as connection:
            async for message in connection:
                await connection.send(message)

    serving = asyncio.create_task(listener.serve(handler))
    for path in ("/fails", "/silent"):
        with pytest.raises(hybridrelay.Rejected) as failure:
            await hybridrelay.connect(cs, path=path)
        assert failure.value.status == 502
    async with hybridrelay.connect(cs, path="/echo") as connection:
        await connection.send("still there")
        assert await connection.receive() == "still there"
    async with hybridrelay.Sender(cs) as sender:
        assert (await sender.get("/fails")).status_code == 500
        assert (await sender.get("/silent")).status_code == 500
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 2
    await listener.close()
    await serving


async def test_the_status_is_followed_over_a_loss(
    hybridrelay_relay: hybridrelay.LocalRelay, listener: Listener
) -> None:
    seen: list[str] = []
    again = asyncio.Event()

    async def callback(status: hybridrelay.Status) -> None:
        seen.append(status.state)
        if status.is_online and "offline" in seen:
            again.set()
        if status.state == "offline":
            assert isinstance(status.error, hybridrelay.RelayError)

    stop = listener.on_status(callback)
    async for status in listener.statuses():
        assert status.is_online
        break
    while not seen:
        await asyncio.sleep(0)
    assert hybridrelay_relay.drop_control(listener.entity) == 1
    await again.wait()
    assert seen[0] == "online" and seen[-1] == "online"
    stop()


async def test_a_final_failure_is_told_once(hybridrelay_relay: hybridrelay.LocalRelay, cs: str) -> None:
    async with hybridrelay.listen(cs, reconnect=False) as listener:
        waiting = asyncio.create_task(listener.accept())
        hybridrelay_relay.drop_control(listener.entity)
        with pytest.raises(hybridrelay.ConnectionLost):
            await waiting
        assert await listener.accept() is None
        status = listener.status
        assert status.state == "closed" and isinstance(status.error, hybridrelay.ConnectionLost)
    async with hybridrelay.listen(cs, reconnect=False) as listener:
        serving = asyncio.create_task(listener.serve(_ignore))
        hybridrelay_relay.drop_control(listener.entity)
        with pytest.raises(hybridrelay.ConnectionLost):
            await serving


async def test_what_the_environment_says_counts_where_nothing_is_given(
    cs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRIDRELAY_CONNECTION_STRING", cs)
    async with hybridrelay.listen() as listener:
        near, far = await pair(listener, cs)
        await asyncio.gather(near.close(), far.close())
    monkeypatch.delenv("HYBRIDRELAY_CONNECTION_STRING")
    with pytest.raises(hybridrelay.InvalidArgument) as failure:
        await hybridrelay.listen()
    assert "HYBRIDRELAY_CONNECTION_STRING" in (failure.value.hint or "")


async def test_a_relay_with_tls_needs_its_certificate() -> None:
    async with hybridrelay.LocalRelay(tls=True) as relay:
        cs = relay.connection_string("hyco")
        assert relay.ca_pem and "BEGIN CERTIFICATE" in relay.ca_pem
        with pytest.raises(hybridrelay.TlsError):
            await hybridrelay.listen(cs)
        async with hybridrelay.listen(cs, extra_ca_pem=relay.ca_pem) as listener:
            assert relay.listeners("hyco") == 1 and listener.status.is_online


async def test_a_certificate_may_go_unchecked() -> None:
    async with hybridrelay.LocalRelay(tls=True) as relay:
        cs = relay.connection_string("hyco")
        async with hybridrelay.listen(cs, insecure_skip_verify=True) as listener:
            with pytest.raises(hybridrelay.TlsError):
                await hybridrelay.connect(cs, insecure_skip_verify=False)
            connecting = asyncio.ensure_future(_open(cs, insecure_skip_verify=True))
            incoming = await listener.accept()
            assert isinstance(incoming, IncomingConnect)
            far, near = await incoming.accept(), await connecting
            await near.send("in the dark")
            assert await far.receive() == "in the dark"
            await asyncio.gather(near.close(), far.close())


async def _open(cs: str, **options: Unpack[hybridrelay.OpenOptions]) -> Connection:
    return await hybridrelay.connect(cs, **options)


async def _ignore(incoming: hybridrelay.Incoming) -> None:
    pass
