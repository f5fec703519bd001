"""What a WSGI application is told and may say, by applications that show each part of it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

import httpx
import hybridrelay
import pytest
from hybridrelay import LocalRelay, sync
from serving import wsgi


@pytest.fixture(scope="module")
def relay() -> Iterator[LocalRelay]:
    """One that lets in senders without a token, as ordinary clients are."""
    with LocalRelay(anonymous=True) as relay:
        yield relay


def test_an_application_is_told_what_was_asked(relay: LocalRelay) -> None:
    told: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        told.clear()
        told.update(environ)
        told["body"] = environ["wsgi.input"].read()
        start_response("418 I Am Tea", [("Set-Cookie", "a=1"), ("set-cookie", "b=2")])
        return [b"told"]

    with wsgi(relay, app) as site, httpx.Client() as client:
        headers = [
            ("X-Two", "1"),
            ("X-Two", "2"),
            ("X_Two", "3"),
            ("Content-Type", "a/b"),
            ("Cookie", "c=1"),
            ("Cookie", "d=2"),
        ]
        response = client.put(site.url + "/gr%C3%BC%20%2Fx//?q=1%202", headers=headers, content=b"a body")
        assert (response.status_code, response.reason_phrase, response.text) == (418, "I Am Tea", "told")
        assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
        host, port = relay.address.removeprefix("http://").rstrip("/").split(":")
        expected = {
            "REQUEST_METHOD": "PUT",
            "SCRIPT_NAME": "/site",
            "PATH_INFO": "/grÃ¼ /x//",
            "QUERY_STRING": "q=1%202",
            "REQUEST_URI": "/site/gr%C3%BC%20%2Fx//?q=1%202",
            "SERVER_NAME": host,
            "SERVER_PORT": port,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": "a/b",
            "CONTENT_LENGTH": "6",
            "HTTP_HOST": f"{host}:{port}",
            "HTTP_X_TWO": "1,2",
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "body": b"a body",
        }
        assert {name: told[name] for name in expected} == expected
        assert told["HTTP_COOKIE"] in ("c=1; d=2", "c=1;d=2")
        client.get(site.url)
        assert (told["SCRIPT_NAME"], told["PATH_INFO"], told["body"]) == ("/site", "/", b"")


def test_the_rules_of_wsgi_are_kept(relay: LocalRelay, caplog: pytest.LogCaptureFixture) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        body = environ["wsgi.input"].read(-1)
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"written, ")
        return iter([b"iterated: ", body])

    with wsgi(relay, validator(app)) as site, httpx.Client() as client:
        assert client.post(site.url + "/x", content=b"a body").text == "written, iterated: a body"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_bodies_stream_both_ways_at_once(relay: LocalRelay) -> None:
    def mirror(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"ready\n"
        yield from environ["wsgi.input"]

    async def talk() -> None:
        turns: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def upload() -> Any:
            while (chunk := await turns.get()) is not None:
                yield chunk

        cs = relay.connection_string("site")
        async with hybridrelay.Sender(cs) as sender:
            async with sender.stream("POST", "/", content=upload()) as response:
                number = 0
                async for line in response.aiter_lines():
                    assert line == ("ready" if number == 0 else str(number))
                    number += 1
                    turns.put_nowait(b"%d\n" % number if number < 50 else None)
            assert number == 50

    with wsgi(relay, mirror):
        asyncio.run(talk())


def test_long_bodies_have_a_length_if_they_are_spooled(relay: LocalRelay) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        length = environ.get("CONTENT_LENGTH", "none")
        size = sum(map(len, iter(lambda: environ["wsgi.input"].read(10_000), b"")))
        start_response("200 OK", [])
        return [f"{length} {size}".encode()]

    for spool, said in ((False, "none 3000000"), (True, "3000000 3000000")):
        with wsgi(relay, app, spool=spool) as site, httpx.Client() as client:
            assert client.post(site.url, content=bytes(3_000_000)).text == said


class Chunks:
    """An iterable that is to be closed."""

    def __init__(self, chunks: Any) -> None:
        self.chunks = chunks
        self.closed = threading.Event()

    def __iter__(self) -> Any:
        return self.chunks

    def close(self) -> None:
        self.closed.set()


def test_iterables_are_closed_however_it_ends(relay: LocalRelay) -> None:
    made: list[Chunks] = []

    def fail() -> Iterator[bytes]:
        yield b"a beginning"
        raise ZeroDivisionError

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        endless = iter(lambda: bytes(2**16), None)
        made.append(Chunks({"/whole": iter([b"x"]), "/fail": fail(), "/endless": endless}[environ["PATH_INFO"]]))
        return made[-1]

    with wsgi(relay, app) as site, httpx.Client() as client:
        assert client.get(site.url + "/whole").text == "x"
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(site.url + "/fail")
        with client.stream("GET", site.url + "/endless") as response:
            next(response.iter_bytes())
        # The sender has gone.
        for chunks in made:
            assert chunks.closed.wait(60)
        assert len(made) == 3


def test_a_failure_is_500_and_logged_and_the_next_request_works(
    relay: LocalRelay, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        match environ["PATH_INFO"]:
            case "/fails":
                raise ZeroDivisionError("by the application")
            case "/silent":
                return [b"no head"]
            case "/twice":
                start_response("200 OK", [])
                start_response("200 OK", [])
            case "/header":
                start_response("200 OK", [("bad name", "x")])
                return [b""]
            case "/status":
                start_response("fine", [])
                return [b""]
            case "/replaced":
                start_response("200 OK", [("x-first", "1")])
                try:
                    raise ZeroDivisionError
                except ZeroDivisionError:
                    start_response("503 Sorry", [("x-second", "2")], sys.exc_info())
                return [b"sorry"]
            case "/too-late":
                write = start_response("200 OK", [])
                write(b"a beginning")
                try:
                    raise ZeroDivisionError
                except ZeroDivisionError:
                    start_response("503 Sorry", [], sys.exc_info())
        start_response("204 No Content", [])
        return []

    with wsgi(relay, app) as site, httpx.Client() as client:
        for path in ("/fails", "/silent", "/twice", "/header", "/status"):
            assert client.get(site.url + path).status_code == 500, path
        replaced = client.get(site.url + "/replaced")
        assert (replaced.status_code, replaced.reason_phrase, replaced.text) == (503, "Sorry", "sorry")
        assert "x-first" not in replaced.headers and replaced.headers["x-second"] == "2"
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(site.url + "/too-late")
        assert client.get(site.url).status_code == 204
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 6 and errors[0].exc_info and "by the application" in str(errors[0].exc_info[1])


def test_what_is_no_response_is_500_and_logged(relay: LocalRelay, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(list[bytes]):
        def close(self) -> None:
            raise ZeroDivisionError

    results: dict[str, Any] = {"/none": None, "/number": 7, "/text": ["text"], "/late": iter([b"a beginning", "text"])}

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return results.get(environ["PATH_INFO"], Failing([b"fine"]))

    with wsgi(relay, app) as site, httpx.Client() as client:
        for path in ("/none", "/number", "/text"):
            assert client.get(site.url + path).status_code == 500, path
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(site.url + "/late")
        # It was complete before its iterable failed to close.
        assert client.get(site.url + "/fine").text == "fine"
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 5


def test_the_input_is_a_file_and_names_cannot_be_forged(relay: LocalRelay) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        body = environ["wsgi.input"]
        parts = [body.readline(), body.read(2), body.readline(4), *body.readlines(1), *body, body.read(), body.read(1)]
        # Text in WSGI is bytes in disguise.
        disguised = "grüße".encode().decode("latin-1")
        start_response("200 OK", [("X-Forged", environ.get("HTTP_X_FORGED", "no")), ("X-Bytes", disguised)])
        return [repr(parts).encode()]

    with wsgi(relay, app) as site, httpx.Client() as client:
        response = client.post(site.url, content=b"one\ntwo\nthree\nfour", headers={"X_Forged": "yes"})
        assert response.text == repr([b"one\n", b"tw", b"o\n", b"three\n", b"four", b"", b""])
        assert (response.headers["x-forged"], dict(response.headers.raw)[b"x-bytes"]) == ("no", "grüße".encode())
        head = client.head(site.url)
        assert (head.status_code, head.content) == (200, b"")


def test_a_listener_that_ends_by_itself_is_told(relay: LocalRelay) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("204 No Content", [])
        return []

    failures: list[hybridrelay.RelayError] = []

    def serve() -> None:
        try:
            listener.serve_wsgi(app)
        except hybridrelay.RelayError as error:
            failures.append(error)

    with sync.listen(relay.connection_string("final"), reconnect=False) as listener:
        serving = threading.Thread(target=serve)
        serving.start()
        with sync.Sender(relay.connection_string("final")) as sender:
            assert sender.get().status_code == 204
        relay.drop_control("final")
        serving.join()
    assert isinstance(failures[0], hybridrelay.ConnectionLost)


def test_no_more_threads_run_than_were_allowed_and_the_others_wait(relay: LocalRelay) -> None:
    running, most = 0, 0
    lock = threading.Lock()
    pair = threading.Barrier(3)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pair.wait(60)
        with lock:
            running -= 1
        start_response("200 OK", [])
        return [environ["QUERY_STRING"].encode()]

    async def ask() -> list[str]:
        async with hybridrelay.Sender(relay.connection_string("site")) as sender:
            return [r.text for r in await asyncio.gather(*(sender.get(f"/?{number}") for number in range(30)))]

    with wsgi(relay, app, threads=3):
        assert asyncio.run(ask()) == [str(number) for number in range(30)]
    assert most == 3


def test_what_is_under_way_at_the_close_is_answered(relay: LocalRelay) -> None:
    began, hold = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        began.set()
        hold.wait(60)
        start_response("200 OK", [])
        return [b"held"]

    got: list[str] = []
    with sync.listen(relay.connection_string("site")) as listener:
        serving = threading.Thread(target=listener.serve_wsgi, args=(app,), kwargs={"grace": 60})
        serving.start()
        with sync.Sender(relay.connection_string("site")) as sender:
            asking = threading.Thread(target=lambda: got.append(sender.get("/").text))
            asking.start()
            assert began.wait(60)
            closing = threading.Thread(target=listener.close)
            closing.start()
            hold.set()
            for thread in (asking, closing, serving):
                thread.join()
    assert got == ["held"]


def test_a_close_waits_for_no_thread_longer_than_its_grace(relay: LocalRelay) -> None:
    began, hold = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        began.set()
        hold.wait(60)
        start_response("200 OK", [])
        return [b"held"]

    with sync.listen(relay.connection_string("site")) as listener:
        serving = threading.Thread(target=listener.serve_wsgi, args=(app,), kwargs={"grace": 3600})
        serving.start()
        with sync.Sender(relay.connection_string("site")) as sender:
            answers: list[object] = []
            asking = threading.Thread(target=_ask, args=(sender, answers))
            asking.start()
            assert began.wait(60)
            listener.close(grace=0)
            assert not hold.is_set() and listener.accept() is None
            hold.set()
            for thread in (asking, serving):
                thread.join()
            # It was told by the relay that nobody answers, or got the answer after all.
            assert len(answers) == 1


def _ask(sender: sync.Sender, answers: list[object]) -> None:
    try:
        answers.append(sender.get("/").status_code)
    except hybridrelay.RelayError as error:
        answers.append(error)


def test_an_application_may_close_its_own_listener(relay: LocalRelay) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        listener.close()
        start_response("200 OK", [])
        return [b"the last one"]

    with sync.listen(relay.connection_string("site")) as listener:
        serving = threading.Thread(target=listener.serve_wsgi, args=(app,), kwargs={"grace": 3600})
        serving.start()
        with sync.Sender(relay.connection_string("site")) as sender:
            assert sender.get("/").text == "the last one"
        serving.join()


def test_connections_are_refused(relay: LocalRelay) -> None:
    with wsgi(relay, lambda environ, start_response: []):
        with pytest.raises(hybridrelay.RelayError) as failure:
            sync.connect(relay.connection_string("site"))
        assert failure.value.status == 501


async def test_an_event_loop_serves_it_too(relay: LocalRelay) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"fine"]

    async with hybridrelay.listen(relay.connection_string("site")) as listener:
        serving = asyncio.create_task(listener.serve_wsgi(app))
        async with hybridrelay.Sender(relay.connection_string("site")) as sender:
            assert (await sender.get("/")).text == "fine"
        await listener.close()
        await serving
