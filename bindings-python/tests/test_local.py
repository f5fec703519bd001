"""What a test does with its relay."""

from __future__ import annotations

import asyncio

import hybridrelay
import pytest
from conftest import pair
from hybridrelay import LocalRelay, RelayEvents, sync


@pytest.fixture
def relay(hybridrelay_own_relay: LocalRelay) -> LocalRelay:
    """A relay of this test alone."""
    return hybridrelay_own_relay


@pytest.fixture
def cs(relay: LocalRelay) -> str:
    """A connection string for it."""
    return relay.connection_string()


async def until(events: RelayEvents, operation: str) -> hybridrelay.RelayEvent:
    """The next event of a kind."""
    async for event in events:
        if event.operation == operation:
            return event
    raise AssertionError(f"the relay has ended without {operation}")


async def test_whoever_waits_for_a_listener_waits_by_the_relays_clock(relay: LocalRelay, cs: str) -> None:
    async with hybridrelay.listen(cs):
        events = relay.events()
        connecting = asyncio.ensure_future(_connect(cs))
        assert (await until(events, "MessageSentToListener")).entity == "hyco"
        relay.advance(31)
        with pytest.raises(hybridrelay.Timeout) as failure:
            await connecting
        assert failure.value.status == 504
    with pytest.raises(hybridrelay.InvalidArgument, match="seconds"):
        relay.advance(-1)


async def test_listeners_live_by_the_relays_clock_if_they_are_told_to(relay: LocalRelay) -> None:
    with_it, without = relay.connection_string("with"), relay.connection_string("without")
    async with hybridrelay.listen(with_it, clock=relay), hybridrelay.listen(without):
        events = relay.events()
        # Longer than a token of theirs is valid: to the relay those of the second come from the past.
        relay.advance(7200)
        renewed = refused = False
        while not (renewed and refused):
            event = await events.next()
            assert event is not None and (event.entity, event.operation) != ("with", "InvalidSasToken")
            renewed |= event.entity == "with" and event.operation in ("TokenRenewed", "NewListenerRegistered")
            refused |= event.entity == "without" and event.reason == "expired_token"
    with pytest.raises(TypeError, match="LocalRelay"):
        await hybridrelay.listen(with_it, clock="now")  # type: ignore[arg-type]
    with pytest.raises(hybridrelay.Closed):
        await hybridrelay.listen(with_it, clock=LocalRelay())


async def test_a_control_channel_is_cut_and_the_listener_comes_back(relay: LocalRelay, cs: str) -> None:
    async with hybridrelay.listen(cs) as listener:
        (channel,) = relay.control_channels()
        assert channel.entity == "hyco" and not channel.stalled and relay.open_connections() == ()
        assert relay.stall(channel) and relay.control_channels()[0].stalled
        events = relay.events()
        assert relay.cut_after(channel)
        await until(events, "NewListenerRegistered")
        assert not relay.resume(channel)
        for end in await pair(listener, cs):
            end.abort()


async def test_whoever_comes_next_is_refused(relay: LocalRelay, cs: str) -> None:
    events = relay.events()
    relay.refuse_next(418, "Short and stout", attempt="connect")
    relay.refuse_next(429)
    with pytest.raises(hybridrelay.RelayError) as failure:
        await hybridrelay.listen(cs)
    assert (failure.value.status, failure.value.retry_after) == (429, None)
    relay.refuse_next(429, attempt="listen", retry_after=6.1)
    with pytest.raises(hybridrelay.RelayError) as failure:
        await hybridrelay.listen(cs)
    assert (failure.value.status, failure.value.retry_after) == (429, 7.0)
    with pytest.raises(hybridrelay.InvalidArgument, match="retry_after"):
        relay.refuse_next(429, retry_after=-1)
    async with hybridrelay.listen(cs) as listener:
        with pytest.raises(hybridrelay.RelayError) as failure:
            await hybridrelay.connect(cs)
        assert failure.value.status == 418 and "Short and stout" in (failure.value.reason or "")
        for end in await pair(listener, cs):
            end.abort()
    refused = [await until(events, "ProcessingRequestFailed") for _ in range(3)]
    assert [event.status for event in refused] == [429, 429, 418]
    with pytest.raises(hybridrelay.InvalidArgument, match="400 to 599"):
        relay.refuse_next(200)
    with pytest.raises(hybridrelay.InvalidArgument, match="'request'"):
        relay.refuse_next(500, attempt="all")  # type: ignore[arg-type]


async def test_a_connection_is_held_up_and_goes_on(relay: LocalRelay, cs: str) -> None:
    async with hybridrelay.listen(cs) as listener:
        near, far = await pair(listener, cs)
        (one,) = relay.open_connections()
        assert (one.entity, one.stalled) == ("hyco", False) and one.tracking_id[:36] == near.tracking_id[:36]
        assert relay.stall(one)
        await near.send("late")
        await near.flush()
        other_near, other_far = await pair(listener, cs)
        await other_near.send("in between")
        assert await other_far.receive() == "in between"
        held, passing = relay.open_connections()
        assert (held.id, held.stalled, held.from_sender) == (one.id, True, one.from_sender)
        assert (passing.stalled, passing.from_sender >= 10) == (False, True)
        assert relay.resume(one.id)
        assert await far.receive() == "late"
        for end in (near, far, other_near, other_far):
            end.abort()


async def test_connections_are_cut(relay: LocalRelay, cs: str) -> None:
    async with hybridrelay.listen(cs) as listener:
        near, far = await pair(listener, cs)
        (one,) = relay.open_connections()
        assert relay.cut_after(one)
        for end in (near, far):
            with pytest.raises(hybridrelay.ConnectionLost):
                await end.receive()
        relay.cut_next_after(100)
        near, far = await pair(listener, cs)
        await near.send(b"x" * 50)
        assert await far.receive() == b"x" * 50
        await near.send(b"x" * 50)
        for end in (near, far):
            with pytest.raises(hybridrelay.ConnectionLost):
                await end.receive()
        assert not (relay.cut_after(one) or relay.stall(one) or relay.resume(one))


async def test_what_happens_is_told_until_the_relay_ends() -> None:
    async with LocalRelay() as relay:
        events = relay.events()
        waiting = asyncio.ensure_future(events.next())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with hybridrelay.listen(relay.connection_string("orders")):
            came = await events.next()
        assert came is not None and (came.operation, came.entity) == ("NewListenerRegistered", "orders")
        assert came.peer[0] == "127.0.0.1" and came.at.tzinfo is not None and came.status is None
        gone = await until(events, "ListenerUnregistered")
        assert gone.tracking_id == came.tracking_id and gone.reason
    assert [event async for event in events] == [] and events.missed == 0
    for use in (relay.events, relay.open_connections, lambda: relay.advance(1), lambda: relay.add("hyco")):
        with pytest.raises(hybridrelay.Closed):
            use()


async def test_whoever_is_slow_misses_events(relay: LocalRelay, cs: str) -> None:
    events = relay.events()
    async with hybridrelay.listen(cs) as listener, hybridrelay.Sender(cs) as sender:
        answering = asyncio.create_task(listener.serve(lambda incoming: incoming.respond()))  # type: ignore[union-attr]
        # Each is at least one event.
        for _ in range(1100):
            await sender.get()
        await listener.close()
        await answering
    assert await events.next() is not None
    assert events.missed > 0


async def test_whoever_follows_hears_that_the_relay_is_away_and_back() -> None:
    async with LocalRelay() as relay:
        relay.add("orders", discoverable=True)
        cs, key = relay.connection_string("orders"), relay.key
        port = int(relay.address.rstrip("/").rpartition(":")[2])
        async with hybridrelay.listen(cs) as listener, hybridrelay.Sender(cs) as sender:
            statuses, presence, endpoints = (
                listener.statuses(),
                sender.presence_events(),
                hybridrelay.watch_endpoints(cs),
            )
            assert (await anext(statuses)).is_online
            present = await presence.next()
            assert present.presence.listeners is not None
            (told,) = present.presence.listeners
            assert told.agent and told.rule == relay.key_name and told.in_flight == 0 and told.last_heard is not None
            assert [endpoint.path for endpoint in (await endpoints.next()).endpoints] == ["orders"]
            await relay.stop()
            offline = await anext(statuses)
            assert offline.state == "offline" and offline.error is not None and offline.retry_in is not None
            while (event := await presence.next()).kind != "interrupted":
                # The relay tells of the listener while it goes.
                assert event.kind == "disconnected"
            assert event.error is not None and event.retry_in is not None
            while (change := await endpoints.next()).kind != "interrupted":
                assert change.kind == "offline"
            assert change.error is not None and change.retry_in is not None
            async with LocalRelay(port=port, key=key) as again:
                again.add("orders", discoverable=True)
                while not (await anext(statuses)).is_online:
                    pass
                while event.kind == "interrupted" or event.presence.count != 1:
                    event = await presence.next()
                while "orders" not in [endpoint.path for endpoint in change.endpoints]:
                    change = await endpoints.next()


async def test_a_relay_that_drains_lets_connections_end(relay: LocalRelay, cs: str) -> None:
    async with hybridrelay.listen(cs) as listener:
        near, far = await pair(listener, cs)
        statuses = listener.statuses()
        assert (await anext(statuses)).is_online
        stopping = asyncio.create_task(relay.stop(drain=60))
        assert (await anext(statuses)).state == "offline"
        await near.send("still here")
        assert await far.receive() == "still here"
        await asyncio.gather(near.close(), far.close())
        await stopping


def test_the_same_works_without_an_event_loop() -> None:
    relay = sync.LocalRelay().start()
    assert relay.start() is relay and repr(relay).startswith("<hybridrelay.sync.LocalRelay http://")
    events = relay.events()
    relay.refuse_next(503)
    with pytest.raises(hybridrelay.ServerBusy):
        sync.listen(relay.connection_string("orders"))
    refused = events.next()
    assert refused is not None and refused.status == 503
    with pytest.raises(hybridrelay.Timeout):
        events.next(timeout=0)
    with sync.listen(relay.connection_string("orders"), clock=relay):
        assert relay.listeners("orders") == 1
        came = events.next()
        assert came is not None and came.operation == "NewListenerRegistered"
    relay.stop()
    assert [event.operation for event in events] == ["ListenerUnregistered"]
    assert (repr(relay), events.missed) == ("<hybridrelay.sync.LocalRelay stopped>", 0)


async def _connect(cs: str) -> hybridrelay.Connection:
    return await hybridrelay.connect(cs)
