"""Events, and who is online."""

from __future__ import annotations

import asyncio
from typing import Any

import hybridrelay
import pytest
from hybridrelay import Listener, LocalRelay, Sender, sync


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


async def test_every_listener_hears_every_publisher_where_events_are_for_all(hybridrelay_relay: LocalRelay) -> None:
    hybridrelay_relay.add("events", events=True)
    cs = hybridrelay_relay.connection_string("events")
    async with hybridrelay.listen(cs) as first, hybridrelay.listen(cs) as second, Sender(cs) as sender:
        heard = [first.events(), second.events()]
        third = await hybridrelay.listen(cs)
        heard.append(third.events())
        async with sender.publisher() as one, sender.publisher() as another:
            for number in range(10):
                await one.publish(f"one {number}")
                await another.publish(f"another {number}")
            for events in heard:
                got = [await events.next() for _ in range(20)]
                for name in ("one", "another"):
                    of_it = [event.data for event in got if event and str(event.data).startswith(name)]
                    assert of_it == [f"{name} {number}" for number in range(10)]
            # Who has gone misses the rest, and the others do not notice.
            await third.close()
            assert await heard[2].next() is None
            await one.publish("last")
            assert (await sender.post(content=b"by a request")).status_code == 202
            for events in heard[:2]:
                messages = [await events.next() for _ in range(2)]
                assert sorted((event.kind, event.data) for event in messages if event) == [
                    ("message", "last"),
                    ("request", b"by a request"),
                ]


async def test_listeners_share_publishers_where_each_is_for_one(cs: str) -> None:
    heard: list[dict[str, list[object]]] = [{}, {}]

    async def hear(events: hybridrelay.Events, mine: dict[str, list[object]]) -> None:
        async for event in events:
            mine.setdefault(event.origin.path, []).append(event.data)
            if sum(len(said) for all_said in heard for said in all_said.values()) == 60:
                complete.set()

    complete = asyncio.Event()
    async with hybridrelay.listen(cs) as first, hybridrelay.listen(cs) as second, Sender(cs) as sender:
        hearing = [
            asyncio.create_task(hear(listener.events(), mine))
            for listener, mine in zip((first, second), heard, strict=True)
        ]
        for number in range(20):
            async with sender.publisher(path=f"/{number}") as publisher:
                for event in ("a", "b", "c"):
                    await publisher.publish(event)
        await complete.wait()
        await first.close()
        await second.close()
        await asyncio.gather(*hearing)
    # Nothing twice, and what one publisher says is heard by one listener, in order.
    assert not heard[0].keys() & heard[1].keys()
    assert heard[0] | heard[1] == {f"/{number}": ["a", "b", "c"] for number in range(20)}


async def test_a_listener_that_does_not_keep_up_is_told_what_it_has_missed(hybridrelay_relay: LocalRelay) -> None:
    hybridrelay_relay.add("flood", events=True)
    cs = hybridrelay_relay.connection_string("flood")
    async with hybridrelay.listen(cs) as slow, hybridrelay.listen(cs) as quick, Sender(cs) as sender:
        late, prompt = slow.events(), quick.events()
        async with sender.publisher() as publisher:
            sent = 0
            # It is sent until more waits for the slow one than relay and networks hold.
            for sent in range(1, 1001):
                await publisher.publish(sent.to_bytes(4) + bytes(100_000))
                event = await prompt.next()
                assert event is not None and isinstance(event.data, bytes) and event.data[:4] == sent.to_bytes(4)
            await publisher.publish("the end")
        numbers: list[int] = []
        missed = 0
        # How many it has missed is told when that is known, and not where they were.
        while len(numbers) + missed < sent:
            event = await late.next()
            assert event is not None
            if event.kind == "missed":
                assert event.data is None and event.count > 0
                missed += event.count
            elif isinstance(event.data, bytes):
                numbers.append(int.from_bytes(event.data[:4]))
        assert missed > 0 and numbers == sorted(set(numbers))


async def test_endpoints_are_found_and_followed(hybridrelay_own_relay: LocalRelay) -> None:
    relay = hybridrelay_own_relay
    cs = relay.connection_string()
    with pytest.raises(hybridrelay.Unsupported, match="discovery"):
        await hybridrelay.endpoints(cs)
    relay.add("orders", discoverable=True, anonymous=True)
    assert await hybridrelay.endpoints(cs) == ()
    events = hybridrelay.watch_endpoints(cs)
    assert await events.next() == hybridrelay.EndpointEvent("present")
    waiting = asyncio.ensure_future(events.next())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with hybridrelay.listen(relay.connection_string("orders")), hybridrelay.listen(cs):
        (found,) = await hybridrelay.endpoints(cs)
        assert (found.path, found.title, found.summary, found.tags) == ("orders", "orders", "", ())
        assert found.url == relay.address + "orders" and found.web_socket_url.endswith("/$hc/orders")
        assert not found.requires_authorization and found.since is not None and found.since.tzinfo is not None
        came = await anext(events)
        assert (came.kind, came.path, came.endpoints) == ("online", "orders", (found,))
    gone = await anext(events)
    assert (gone.kind, gone.path) == ("offline", "orders") and gone.at is not None


def test_endpoints_are_found_and_followed_without_an_event_loop(hybridrelay_own_relay: LocalRelay) -> None:
    relay = hybridrelay_own_relay
    relay.add("orders", discoverable=True)
    cs = relay.connection_string()
    events = sync.watch_endpoints(cs)
    assert events.next().kind == "present"
    with pytest.raises(hybridrelay.Timeout):
        events.next(timeout=0)
    with sync.listen(relay.connection_string("orders")):
        each = iter(events)
        assert next(each).kind == "online"
        assert [(one.path, one.requires_authorization) for one in sync.endpoints(cs)] == [("orders", True)]
    assert next(each).kind == "offline"


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


async def test_a_forwarder_tells_the_server_what_it_is_told_to(cs: str) -> None:
    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        location = b"Location: /base/next\r\n"
        writer.write(
            b"HTTP/1.1 201 Created\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n" % (location, len(head))
        )
        writer.write(head)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def asked(**options: Any) -> hybridrelay.Response:
        async with hybridrelay.listen(cs) as listener, Sender(cs) as sender:
            forwarding = asyncio.create_task(listener.forward(f"http://127.0.0.1:{port}/base", **options))
            response = await sender.get("/x?y=1")
            await listener.close()
            await forwarding
            return response

    async with await asyncio.start_server(callback, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        entity = hybridrelay.Sender(cs).entity
        plain = await asked()
        assert plain.text.startswith("GET /base/x?y=1 ") and "x-forwarded-" not in plain.text.lower()
        assert plain.headers["location"] == "/base/next"
        whole = await asked(strip=False, forwarded_headers=True, insecure_skip_verify=False, extra_ca_pem=None)
        assert whole.text.startswith(f"GET /base/{entity}/x?y=1 ")
        assert "x-forwarded-for: 127.0.0.1" in whole.text.lower()
        assert (await asked(rewrite=True)).headers["location"] == f"/{entity}/next"


async def test_a_forwarder_checks_certificates_unless_it_is_told_not_to(cs: str) -> None:
    async with hybridrelay.LocalRelay(tls=True) as server, Sender(cs) as sender:
        target = server.address.replace("sb://", "https://")

        async def asked(**options: Any) -> int:
            async with hybridrelay.listen(cs) as listener:
                forwarding = asyncio.create_task(listener.forward(target, **options))
                response = await sender.get("/hyco")
                await listener.close()
                await forwarding
                return response.status_code

        assert await asked() == 502
        # The server is a relay, and wants a token.
        assert await asked(insecure_skip_verify=True) == 401
        assert await asked(extra_ca_pem=server.ca_pem) == 401


async def _publisher(sender: Sender) -> hybridrelay.Publisher:
    return await sender.publisher()
