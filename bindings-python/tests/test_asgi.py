"""What an ASGI application is told and may say, by applications that show each part of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import httpx
import hybridrelay
import pytest
import websockets
from hybridrelay import LocalRelay
from serving import asgi


@pytest.fixture(scope="module")
def relay() -> Iterator[LocalRelay]:
    """One that lets in senders without a token, as ordinary clients are."""
    with LocalRelay(anonymous=True) as relay:
        yield relay


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def test_an_application_is_told_what_was_asked(relay: LocalRelay) -> None:
    told: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.update(scope)
        await send(
            {
                "type": "http.response.start",
                "status": 203,
                "headers": [(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2")],
            }
        )
        await send({"type": "http.response.body", "body": b"told"})

    async with asgi(relay, app, lifespan="off") as (site, _), httpx.AsyncClient() as client:
        response = await client.patch(
            site.url + "/gr%C3%BC%20%2Fx//?q=1%202", headers=[("X-Two", "1"), ("X-Two", "2"), ("Accept", "text/plain")]
        )
        assert (response.status_code, response.text) == (203, "told")
        assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
        authority = relay.address.removeprefix("http://").rstrip("/")
        headers = told.pop("headers")
        assert [value for name, value in headers if name == b"x-two"] == [b"1", b"2"]
        assert dict(headers)[b"host"] == authority.encode()
        assert told.pop("client")[0] == "127.0.0.1"
        host, port = authority.split(":")
        assert told == {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "PATCH",
            "scheme": "http",
            "path": "/site/grü /x//",
            "raw_path": b"/site/gr%C3%BC%20%2Fx//",
            "query_string": b"q=1%202",
            "root_path": "/site",
            "server": (host, int(port)),
            "state": {},
            "extensions": {},
        }
        for url in (site.url, site.url + "/"):
            await client.get(url)
            assert told["path"] == "/site/"


async def test_bodies_stream_both_ways_at_once(relay: LocalRelay) -> None:
    async def mirror(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "more_body": True})
        more = True
        while more:
            message = await receive()
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})
        assert (await receive())["type"] == "http.disconnect"

    turns: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def upload() -> AsyncIterator[bytes]:
        while (chunk := await turns.get()) is not None:
            yield chunk

    cs = relay.connection_string("site")
    async with asgi(relay, mirror), hybridrelay.Sender(cs) as sender:
        async with sender.stream("POST", "/", content=upload()) as response:
            for number in range(50):
                turns.put_nowait(b"%d" % number)
                async for chunk in response.aiter_bytes():
                    assert chunk == b"%d" % number
                    break
            turns.put_nowait(None)
            assert await response.aread() == b""
        body = bytes(range(256)) * 2**14
        assert (await sender.post("/", content=body)).content == body


async def test_a_body_waits_for_its_reader(relay: LocalRelay) -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        for _ in range(4096):
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})
            sent += 1
        await send({"type": "http.response.body"})

    async with asgi(relay, app), hybridrelay.Sender(relay.connection_string("site")) as sender:
        async with sender.stream("GET", "/") as response:
            received = 0
            async for chunk in response.aiter_bytes():
                received += len(chunk)
                # What is on its way fits into the buffers between.
                assert sent * 2**16 - received < 2**25
        assert received == 2**28


async def test_an_application_learns_that_its_sender_has_gone(
    relay: LocalRelay, caplog: pytest.LogCaptureFixture
) -> None:
    began, ended = asyncio.Event(), asyncio.Event()
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        seen.append((await receive())["type"])
        began.set()
        seen.append((await receive())["type"])
        try:
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})
        except OSError as error:
            seen.append(type(error).__name__)
            raise
        finally:
            ended.set()

    async with asgi(relay, app), hybridrelay.Sender(relay.connection_string("site")) as sender:
        asking = asyncio.create_task(sender.get("/"))
        await began.wait()
        asking.cancel()
        await ended.wait()
    assert seen == ["http.request", "http.disconnect", "ConnectionLost"]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_failure_is_500_and_logged_and_the_next_request_works(
    relay: LocalRelay, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        match scope["path"].removeprefix("/site"):
            case "/fails":
                raise ZeroDivisionError("by the application")
            case "/silent":
                return
            case "/started":
                await send({"type": "http.response.start", "status": 200})
                raise ZeroDivisionError
            case "/late":
                await send({"type": "http.response.start", "status": 200})
                await send({"type": "http.response.body", "body": b"a beginning", "more_body": True})
                raise ZeroDivisionError
            case "/twice":
                await answer(send, b"once")
                await answer(send, b"twice")
            case "/header":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"bad name", b"x")]})
                await send({"type": "http.response.body"})
            case _:
                await answer(send, b"fine")

    async with asgi(relay, app, lifespan="off") as (site, _), httpx.AsyncClient(base_url=site.url) as client:
        for path in ("/fails", "/silent", "/started", "/header"):
            assert (await client.get(path)).status_code == 500, path
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/late")
        assert (await client.get("/twice")).text == "once"
        assert (await client.get("/fine")).text == "fine"
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 6 and errors[0].exc_info and "by the application" in str(errors[0].exc_info[1])


async def test_what_has_no_place_is_an_error_of_the_application(
    relay: LocalRelay, caplog: pytest.LogCaptureFixture
) -> None:
    start = {"type": "http.response.start", "status": 200}
    more = {"type": "http.response.body", "body": b"a beginning", "more_body": True}
    accept = {"type": "websocket.accept"}
    says: dict[str, list[dict[str, Any]]] = {
        "/body-first": [more],
        "/two-heads": [start, start],
        "/another-protocol": [accept],
        "/unknown": [{"type": "http.response.push"}],
        "/unfinished": [start, more],
        "/send-first": [{"type": "websocket.send", "text": "x"}],
        "/answer": [start, more],
        "/two-accepts": [accept, accept],
        "/accept-and-deny": [accept, {"type": "websocket.http.response.start", "status": 403}],
        "/twice": [{"type": "websocket.close"}, {"type": "websocket.close"}],
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in says[scope["path"].removeprefix("/site")]:
            await send(message)

    async with asgi(relay, app, lifespan="off") as (site, _), httpx.AsyncClient(base_url=site.url) as client:
        for path in ("/body-first", "/two-heads", "/another-protocol", "/unknown"):
            assert (await client.get(path)).status_code == 500, path
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/unfinished")
        for path, status in (("/send-first", 500), ("/answer", 500), ("/twice", 403)):
            with pytest.raises(hybridrelay.RelayError) as failure:
                await hybridrelay.connect(relay.connection_string("site"), path=path)
            assert failure.value.status == status, path
        for path in ("/two-accepts", "/accept-and-deny"):
            async with hybridrelay.connect(relay.connection_string("site"), path=path) as connection:
                assert await connection.receive() is None and connection.close_code == 1011
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    # One for each path.
    assert len(errors) == len(says)


async def test_an_application_goes_on_when_the_network_comes_back(relay: LocalRelay) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"fine")

    async with asgi(relay, app, lifespan="off", spool=True) as (site, listener), httpx.AsyncClient() as client:
        assert (await client.post(site.url, content=b"x" * 100_000)).text == "fine"
        statuses = listener.statuses()
        assert (await anext(statuses)).is_online
        assert relay.drop_control("site") == 1
        while not (await anext(statuses)).is_online:
            pass
        assert (await client.get(site.url)).text == "fine"


async def test_a_listener_that_ends_by_itself_is_told_when_the_application_has_ended(relay: LocalRelay) -> None:
    app = Lives()
    async with hybridrelay.listen(relay.connection_string("final"), reconnect=False) as listener:
        serving = asyncio.create_task(listener.serve_asgi(app, grace=60))
        async with hybridrelay.Sender(relay.connection_string("final")) as sender:
            # Its answer goes back by a connection of its own.
            asking = asyncio.create_task(sender.post(content=b"x" * 100_000))
            await app.began.wait()
            relay.drop_control("final")
            app.held.set()
            with pytest.raises(hybridrelay.ConnectionLost):
                await serving
            assert (await asking).text == "held"
    assert app.said == ["startup", "answered", "shutdown"]


async def test_requests_are_answered_beside_one_another(relay: LocalRelay) -> None:
    there: list[None] = []
    everybody = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        there.append(None)
        if len(there) == 40:
            everybody.set()
        await everybody.wait()
        await answer(send, scope["query_string"])

    async with asgi(relay, app, lifespan="off"), hybridrelay.Sender(relay.connection_string("site")) as sender:
        answers = await asyncio.gather(*(sender.get(f"/?{number}") for number in range(40)))
        assert [response.text for response in answers] == [str(number) for number in range(40)]


async def test_an_application_begins_in_the_context_of_whoever_serves_it(relay: LocalRelay) -> None:
    seen = []
    name: ContextVar[str] = ContextVar("name")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(name.get())
        name.set("another request's")
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    # With another one the loop has had to do with this package before the name is there.
    async with asgi(relay, app, "other", lifespan="off"):
        name.set("the server's")
        async with asgi(relay, app, lifespan="off") as (site, _), httpx.AsyncClient() as client:
            for _ in range(2):
                assert (await client.get(site.url)).status_code == 204
    assert seen == ["the server's"] * 2


async def test_head_has_no_body(relay: LocalRelay) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"a body")

    async with asgi(relay, app) as (site, _), httpx.AsyncClient() as client:
        response = await client.head(site.url)
        assert (response.status_code, response.content) == (200, b"")
        assert (await client.get(site.url)).text == "a body"


class Lives:
    """An application that is told of its start and its end."""

    def __init__(self, startup: str = "complete", shutdown: str = "complete") -> None:
        self.said: list[str] = []
        self.answers = {"startup": startup, "shutdown": shutdown}
        self.held = asyncio.Event()
        self.began = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                what = (await receive())["type"].removeprefix("lifespan.")
                self.said.append(what)
                scope["state"]["began"] = True
                await send({"type": f"lifespan.{what}.{self.answers[what]}", "message": "no database"})
                if self.answers[what] == "failed":
                    raise ConnectionRefusedError("no database")
                if what == "shutdown":
                    return
        self.began.set()
        assert scope["state"] == {"began": True}
        scope["state"]["mine"] = True
        try:
            await self.held.wait()
            self.said.append("answered")
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise
        await answer(send, b"held")


async def test_an_application_starts_and_ends(relay: LocalRelay) -> None:
    app = Lives()
    async with asgi(relay, app, grace=60) as (site, listener), httpx.AsyncClient() as client:
        asking = asyncio.create_task(client.get(site.url))
        await app.began.wait()
        closing = asyncio.create_task(listener.close())
        # Who comes now is told to come again, and what is under way has a while.
        late = await client.get(site.url)
        assert (late.status_code, late.headers["retry-after"]) == (503, "1")
        app.held.set()
        assert (await asking).text == "held"
        await closing
    assert app.said == ["startup", "answered", "shutdown"]


async def test_what_takes_longer_than_the_grace_is_cancelled(relay: LocalRelay) -> None:
    app = Lives()
    async with asgi(relay, app, grace=0.01) as (site, listener), httpx.AsyncClient() as client:
        asking = asyncio.create_task(client.get(site.url))
        await app.began.wait()
        await listener.close()
        assert (await asking).status_code == 500
    assert app.said == ["startup", "cancelled", "shutdown"]


class Stubborn:
    """Answers nothing, and takes no notice of its cancellation."""

    def __init__(self) -> None:
        self.began, self.cancelled, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.began.set()
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                self.cancelled.set()


class StoppedClock:
    """The clock of the running event loop, which stands until it is moved."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        patch.setattr(loop, "time", lambda: self.now)


async def test_a_close_is_over_within_two_seconds_whatever_is_under_way(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Stubborn()
    async with (
        hybridrelay.listen(relay.connection_string("site")) as listener,
        hybridrelay.Sender(relay.connection_string("site")) as sender,
    ):
        serving = asyncio.create_task(listener.serve_asgi(app, lifespan="off"))
        asking = asyncio.create_task(sender.get("/"))
        await app.began.wait()
        with monkeypatch.context() as patch:
            clock = StoppedClock(patch)
            closing = asyncio.create_task(listener.close())
            # It has begun, and what is under way has its grace.
            assert (await sender.get("/")).status_code == 503
            assert not app.cancelled.is_set()
            clock.now += 1
            await app.cancelled.wait()
            assert not closing.done()
            clock.now += 1
            await closing
        assert not serving.done() and await listener.accept() is None
        app.may_end.set()
        await serving
        await asyncio.gather(asking, return_exceptions=True)


async def test_a_close_with_a_grace_drains_and_a_second_one_hurries(
    relay: LocalRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Lives()
    async with asgi(relay, app) as (site, listener), httpx.AsyncClient(timeout=None) as client:
        asking = asyncio.create_task(client.get(site.url))
        await app.began.wait()
        with monkeypatch.context() as patch:
            clock = StoppedClock(patch)
            draining = asyncio.create_task(listener.close(grace=3600))
            assert (await client.get(site.url)).status_code == 503
            clock.now += 3000
            # Time enough for whatever is due.
            assert (await client.get(site.url)).status_code == 503
            assert not draining.done() and not asking.done()
            await listener.close(grace=0)
            await draining
        assert (await asking).status_code == 500
    assert app.said == ["startup", "cancelled", "shutdown"]


async def test_an_application_may_close_its_own_listener(relay: LocalRelay) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await listener.close()
        await answer(send, b"the last one")

    async with hybridrelay.listen(relay.connection_string("site")) as listener:
        serving = asyncio.create_task(listener.serve_asgi(app, lifespan="off", grace=3600))
        async with hybridrelay.Sender(relay.connection_string("site")) as sender:
            assert (await sender.get("/")).text == "the last one"
        await serving
        assert await listener.accept() is None


async def test_a_cancelled_serve_cancels_and_ends_the_application(relay: LocalRelay) -> None:
    app = Lives()
    async with hybridrelay.listen(relay.connection_string("site")) as listener:
        serving = asyncio.create_task(listener.serve_asgi(app))
        async with hybridrelay.Sender(relay.connection_string("site")) as sender:
            asking = asyncio.create_task(sender.get("/"))
            await app.began.wait()
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            assert app.said == ["startup", "cancelled", "shutdown"]
            assert (await asking).status_code == 500


async def test_an_application_that_cannot_start_is_an_error(relay: LocalRelay) -> None:
    async with hybridrelay.listen(relay.connection_string("site")) as listener:
        with pytest.raises(RuntimeError, match="failed to start: no database") as failure:
            await listener.serve_asgi(Lives(startup="failed"))
        assert isinstance(failure.value.__cause__, ConnectionRefusedError)


async def test_an_application_that_fails_to_end_is_logged(relay: LocalRelay, caplog: pytest.LogCaptureFixture) -> None:
    app = Lives(shutdown="failed")
    async with asgi(relay, app):
        pass
    assert app.said == ["startup", "shutdown"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "the application failed to end in good order: no database"
    ]


async def test_an_application_without_a_lifespan_is_tolerated_unless_it_must_have_one(relay: LocalRelay) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await answer(send, b"fine")

    async with asgi(relay, app) as (site, _), httpx.AsyncClient() as client:
        assert (await client.get(site.url)).text == "fine"
    async with hybridrelay.listen(relay.connection_string("site")) as listener:
        with pytest.raises(RuntimeError, match="lifespan"):
            await listener.serve_asgi(app, lifespan="on")


async def sockets(scope: Any, receive: Any, send: Any) -> None:
    """WebSockets by path."""
    assert (await receive())["type"] == "websocket.connect"
    match scope["path"].removeprefix("/site"):
        case "/echo":
            chosen = scope["subprotocols"][-1] if scope["subprotocols"] else None
            await send({"type": "websocket.accept", "subprotocol": chosen})
            while (message := await receive())["type"] == "websocket.receive":
                await send({**message, "type": "websocket.send"})
            scope["state"]["ends"].put_nowait((message["code"], message["reason"]))
            with pytest.raises(OSError):
                await send({"type": "websocket.send", "text": "too late"})
        case "/close":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4321, "reason": "enough"})
            scope["state"]["ends"].put_nowait(await receive())
        case "/return":
            await send({"type": "websocket.accept"})
        case "/fail":
            await send({"type": "websocket.accept"})
            raise ZeroDivisionError
        case "/fail-before":
            raise ZeroDivisionError
        case "/refuse":
            await send({"type": "websocket.close"})
        case "/deny":
            await send({"type": "websocket.http.response.start", "status": 429, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"slow ", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"down"})
        case "/deny-at-length":
            await send({"type": "websocket.http.response.start", "status": 410})
            await send({"type": "websocket.http.response.body", "body": b"<p>" * 1000})
        case "/hold":
            await send({"type": "websocket.accept"})
            message = await receive()
            scope["state"]["ends"].put_nowait(message)


def with_ends(ends: asyncio.Queue[Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["ends"] = ends
            for what in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{what}.complete"})
        else:
            await sockets(scope, receive, send)

    return app


async def test_messages_of_both_kinds_and_the_end_of_the_sender(relay: LocalRelay) -> None:
    ends: asyncio.Queue[Any] = asyncio.Queue()
    async with asgi(relay, with_ends(ends)) as (site, _):
        echo = site.web_socket("/echo")
        async with websockets.connect(echo, subprotocols=["chat.v1", "chat.v2"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "chat.v2"
            for message in ("grüße", b"\0\xff", "", b"", b"x" * 2**20):
                await socket.send(message)
                assert await socket.recv() == message
            await socket.close(4000, "good bye")
        assert await ends.get() == (4000, "good bye")
        async with websockets.connect(echo) as socket:
            assert socket.subprotocol is None
            socket.transport.abort()
        assert (await ends.get())[0] == 1006


async def test_the_application_ends_a_websocket(relay: LocalRelay, caplog: pytest.LogCaptureFixture) -> None:
    ends: asyncio.Queue[Any] = asyncio.Queue()
    async with asgi(relay, with_ends(ends)) as (site, _):
        for path, code, reason in (("/close", 4321, "enough"), ("/return", 1000, ""), ("/fail", 1011, "")):
            async with websockets.connect(site.web_socket(path)) as socket:
                with pytest.raises(websockets.ConnectionClosed):
                    await socket.recv()
                assert (socket.close_code, socket.close_reason) == (code, reason)
        assert await ends.get() == {"type": "websocket.disconnect", "code": 4321, "reason": "enough"}
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.ERROR] == [True]


@pytest.mark.parametrize(
    "path, status, reason",
    [
        ("/refuse", 403, "Forbidden"),
        ("/deny", 429, "slow down"),
        ("/deny-at-length", 410, "Gone"),
        ("/fail-before", 500, "Internal Server Error"),
        ("/unknown", 500, "Internal Server Error"),
    ],
)
async def test_a_websocket_is_refused(relay: LocalRelay, path: str, status: int, reason: str) -> None:
    async with asgi(relay, with_ends(asyncio.Queue())):
        with pytest.raises(hybridrelay.RelayError) as failure:
            await hybridrelay.connect(relay.connection_string("site"), path=path)
        assert failure.value.status == status and reason in (failure.value.reason or "")


async def test_a_sender_that_has_gone_before_the_accept_is_lost(hybridrelay_own_relay: LocalRelay) -> None:
    relay = hybridrelay_own_relay
    asked, gone = asyncio.Event(), asyncio.Event()
    seen: asyncio.Queue[object] = asyncio.Queue()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        asked.set()
        await gone.wait()
        try:
            await send({"type": "websocket.accept"})
        except OSError as error:
            seen.put_nowait(error)
            seen.put_nowait((await receive())["type"])

    async def connect() -> hybridrelay.Connection:
        return await hybridrelay.connect(relay.connection_string("site"))

    async with asgi(relay, app, lifespan="off"):
        connecting = asyncio.create_task(connect())
        await asked.wait()
        # So long nobody waits for a listener.
        relay.advance(31)
        with pytest.raises(hybridrelay.Timeout):
            await connecting
        gone.set()
        assert isinstance(await seen.get(), hybridrelay.ConnectionLost)
        assert await seen.get() == "websocket.disconnect"


async def test_websockets_are_closed_with_their_listener(relay: LocalRelay) -> None:
    ends: asyncio.Queue[Any] = asyncio.Queue()
    async with asgi(relay, with_ends(ends), grace=60) as (site, listener):
        async with websockets.connect(site.web_socket("/hold")) as socket:
            await listener.close()
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 1001
        assert (await ends.get())["code"] == 1001
