"""The same for blocking calls."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import hybridrelay
import pytest
from hybridrelay import sync


@pytest.fixture
def serving(cs: str) -> Iterator[sync.Listener]:
    """A listener that echoes messages and tells of requests."""

    def handler(incoming: sync.Incoming) -> None:
        if isinstance(incoming, sync.IncomingConnect):
            with incoming.accept() as connection:
                for message in connection:
                    connection.send(message)
        elif incoming.path == "/lines":
            incoming.respond(200, (f"line {number}\r\n" for number in range(3)))
        else:
            incoming.respond(201, incoming.read(), headers={"x-method": incoming.method})

    with sync.listen(cs) as listener:
        thread = threading.Thread(target=listener.serve, args=(handler,))
        thread.start()
        yield listener
        listener.close()
        thread.join()


def test_messages_and_requests_need_no_event_loop(serving: sync.Listener, cs: str) -> None:
    with sync.connect(cs) as connection:
        connection.send("text")
        connection.send(b"bytes")
        connection.shutdown()
        assert list(connection) == ["text", b"bytes"]
    with sync.Sender(cs) as sender:
        response = sender.request("POST", "/x", json={"a": 1})
        assert (response.status_code, response.json(), response.headers["x-method"]) == (201, {"a": 1}, "POST")
        assert sender.post("/x", content=(b"%d" % number for number in range(5))).content == b"01234"
        with sender.stream("GET", "/lines") as streamed:
            assert list(streamed.iter_lines()) == ["line 0", "line 1", "line 2"]
        with sender.connect(path="/again") as connection:
            connection.send("again")
            assert connection.receive() == "again"


def test_files_carry_bytes_and_end_by_themselves(cs: str) -> None:
    def callback(reader: object, writer: object) -> None:
        with reader, writer:  # type: ignore[attr-defined]
            writer.write(reader.read()[::-1])  # type: ignore[attr-defined]

    with sync.start_server(callback, cs):
        reader, writer = sync.open_connection(cs)
        with reader:
            with writer:
                writer.write(b"abc" * 100_000)
            assert reader.read() == b"cba" * 100_000


def test_a_time_limit_loses_nothing(serving: sync.Listener, cs: str) -> None:
    with sync.connect(cs) as connection:
        with pytest.raises(TimeoutError) as failure:
            connection.receive(timeout=0.01)
        assert isinstance(failure.value, hybridrelay.Timeout)
        connection.send("later")
        while True:
            try:
                assert connection.receive(timeout=0.0001) == "later"
                break
            except TimeoutError:
                pass


def test_a_time_limit_holds_for_a_body_that_nobody_takes(cs: str) -> None:
    with sync.listen(cs), sync.Sender(cs) as sender:
        chunks = itertools.repeat(bytes(1 << 16))
        with pytest.raises(hybridrelay.Timeout):
            sender.post("/", content=(chunk for chunk in chunks), timeout=0.2)
        with pytest.raises(hybridrelay.Timeout):
            sender.post("/", content=(chunk for chunk in [b"short"]), timeout=0.2)


def test_other_threads_run_while_a_call_waits(serving: sync.Listener, cs: str) -> None:
    with sync.connect(cs) as connection:
        got: list[object] = []
        thread = threading.Thread(target=lambda: got.append(connection.receive()))
        thread.start()
        connection.send("from another thread")
        thread.join()
        assert got == ["from another thread"]


PROGRAM = """
import logging
from hybridrelay import sync
# A handler at work may still log that the relay has gone as well.
logging.getLogger("hybridrelay").addHandler(logging.NullHandler())
with sync.LocalRelay() as relay:
    with sync.listen(relay.connection_string()) as listener:
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


def ending(call: str) -> str:
    """A call behind the word that says that it waits now."""
    return f'print("waiting", flush=True); {call}'


CALLS = {
    "accept": ending("listener.accept()"),
    "serve": ending("listener.serve(print)"),
    "receive": """
            def handler(incoming):
                with incoming.accept() as connection:
                    connection.send("here")
                    connection.receive()
            import threading
            threading.Thread(target=listener.serve, args=(handler,), daemon=True).start()
            connection = sync.connect(relay.connection_string())
            connection.receive()
            print("waiting", flush=True)
            connection.receive()
""",
    "serve_at_work": """
            def handler(incoming):
                with incoming.accept() as connection:
                    print("waiting", flush=True)
                    connection.receive()
            import threading
            opened = []
            work = lambda: opened.append(sync.connect(relay.connection_string()))
            threading.Thread(target=work, daemon=True).start()
            listener.serve(handler)
""",
}


@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_ends_a_wait(call: str) -> None:
    program = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM.format(call=CALLS[call])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "waiting\n"
    os.kill(program.pid, signal.SIGINT)
    out, err = program.communicate(timeout=60)
    assert (out, err, program.returncode) == ("interrupted\n", "", 0)


def test_statuses_are_told_to_a_thread(hybridrelay_relay: hybridrelay.LocalRelay, cs: str) -> None:
    seen: list[str] = []
    ended = threading.Event()

    def callback(status: sync.Status) -> None:
        seen.append(status.state)
        if status.state == "closed":
            ended.set()

    with sync.listen(cs) as listener:
        listener.on_status(callback)
        next(listener.statuses())
    assert ended.wait(60)
    assert seen[-1] == "closed"


async def test_a_blocking_call_works_within_an_event_loop_too(cs: str) -> None:
    with sync.listen(cs) as listener:
        assert listener.status.is_online
    async with hybridrelay.listen(cs) as again:
        assert again.status.is_online
