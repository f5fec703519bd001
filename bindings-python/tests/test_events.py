"""Events, and who is online."""

from __future__ import annotations

import asyncio

import hybridrelay
import pytest
from hybridrelay import Listener, Sender


async def test_what_is_published_is_heard(listener: Listener, cs: str) -> None:
    events = listener.events()
    async with Sender(cs) as sender:
        async with sender.publisher(path="/prices", headers={"x-desk": "7"}) as publisher:
            await publisher.publish("AAPL 196.5")
            await publisher.publish(b"\0\1")
            await publisher.flush()
            first, second = await events.next(), await events.next()
        assert first is not None and second is not None
        assert (first.kind, first.data, second.data) == ("message", "AAPL 196.5", b"\0\1")
        assert (first.origin.path, first.origin.headers["x-desk"]) == ("/prices", "7")
        assert first.origin.tracking_id[:36] == publisher.tracking_id[:36]
        with pytest.raises(hybridrelay.Closed):
            await publisher.publish("late")
        assert (await sender.post("/orders", content=b"an order")).status_code == 202
        event = await events.next()
        assert event is not None and (event.kind, event.method, event.data) == ("request", "POST", b"an order")
    await listener.close()
    assert [event async for event in events] == []


async def test_a_publisher_learns_that_the_other_side_has_ended_it(listener: Listener, cs: str) -> None:
    async with Sender(cs) as sender:
        opening = asyncio.ensure_future(_publisher(sender))
        incoming = await listener.accept()
        assert isinstance(incoming, hybridrelay.IncomingConnect)
        far = await incoming.accept()
        publisher = await opening
        ending = asyncio.create_task(publisher.ended())
        far.abort()
        assert isinstance(await ending, hybridrelay.ConnectionLost)
        publisher.abort()


async def test_senders_follow_who_listens(cs: str) -> None:
    async with Sender(cs) as sender:
        async with hybridrelay.listen(cs, labels={"version": "1.2"}) as first:
            presence = await sender.wait_for_listener(60)
            assert presence.count == 1 and presence.since is not None and presence.listeners is not None
            assert presence.listeners[0].labels == {"version": "1.2"}
            assert presence.listeners[0].address is not None
            events = sender.presence_events()
            event = await events.next()
            assert (event.kind, event.presence.count) == ("present", 1)
            async with hybridrelay.listen(cs):
                event = await events.next()
                assert (event.kind, event.presence.count) == ("connected", 2) and event.at is not None
                assert event.listener is not None and event.listener.id == event.id
            event = await events.next()
            assert (event.kind, event.presence.count) == ("disconnected", 1)
            assert (await sender.presence()).count == 1
            assert "presence" in first.features or first.features
        with pytest.raises(hybridrelay.Timeout):
            await sender.wait_for_listener(0.05)


async def test_endpoints_that_are_not_told_are_none_or_unsupported(listener: Listener, cs: str) -> None:
    try:
        found = await hybridrelay.endpoints(cs)
    except hybridrelay.Unsupported as error:
        assert "discovery" in str(error)
    else:
        assert isinstance(found, tuple)


async def test_a_listener_forwards_to_a_server_near_it(cs: str) -> None:
    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(callback, "127.0.0.1", 0) as server, hybridrelay.listen(cs) as listener:
        port = server.sockets[0].getsockname()[1]
        forwarding = asyncio.create_task(listener.forward(f"tcp://127.0.0.1:{port}"))
        reader, writer = await hybridrelay.open_connection(cs)
        writer.write(b"hello\n")
        assert await reader.read() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()
        await listener.close()
        await forwarding
        with pytest.raises(hybridrelay.InvalidArgument):
            await listener.forward("nonsense")


async def _publisher(sender: Sender) -> hybridrelay.Publisher:
    return await sender.publisher()
