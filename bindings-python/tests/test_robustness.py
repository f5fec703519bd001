"""Loops, threads, forks, exits, and what is never closed."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import hybridrelay
import pytest
import uvloop
from conftest import pair
from hybridrelay import Listener, LocalRelay, sync

#: For each of the ways a program may end. 50 and more are for whoever changes how it does.
TIMES = int(os.environ.get("HYBRIDRELAY_TEST_TIMES", "10"))


def run(program: str, *args: str, code: int = 0) -> str:
    """Runs a program, which says nothing on standard error, and returns what it said."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program, *args], capture_output=True, text=True, timeout=120
    )
    assert (done.stderr, done.returncode) == ("", code), f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


BUSY = """
import asyncio, sys, hybridrelay

async def main():
    # The machine may be busy.
    asyncio.get_running_loop().slow_callback_duration = 60
    relay = await hybridrelay.LocalRelay().start()
    listener = await hybridrelay.listen(relay.connection_string())
    async def accept():
        return await (await listener.accept()).accept()
    near, far = await asyncio.gather(asyncio.wait_for(hybridrelay.connect(relay.connection_string()), 60), accept())
    again = asyncio.ensure_future(asyncio.wait_for(hybridrelay.connect(relay.connection_string()), 60))
    reader, writer = await (await asyncio.gather(accept(), again))[0].into_streams()
    async def flood():
        while True:
            await far.send(bytes(1000))
    async def drain():
        while True:
            await near.receive()
    objects = [relay, listener, near, far, again, reader, writer]
    for work in (flood(), drain(), listener.accept(), reader.read(), hybridrelay.Sender(relay.connection_string()).get("/")):
        objects.append(asyncio.ensure_future(work))
    for _ in range(int(sys.argv[1]) % 10):
        await asyncio.sleep(0)
    return objects
"""

# The objects outlive the loop, or the exit meets them.
ENDS = {
    "the_end_of_the_program": """
import logging
# What asyncio says of tasks that nobody has cancelled is not what this is about.
logging.getLogger("asyncio").disabled = True
async def ends():
    sys.modules["kept"] = await main()
    print("end", flush=True)
    asyncio.get_running_loop().call_soon(sys.exit, 7)
    await asyncio.Event().wait()
loop = asyncio.new_event_loop()
loop.run_until_complete(ends())
""",
    "os_exit": """
import os
async def ends():
    kept = await main()
    print("end", flush=True)
    os._exit(7)
asyncio.run(ends())
""",
    "a_closed_loop": """
import logging, warnings
# That a request was dropped is a warning, as it should be.
logging.getLogger("hybridrelay").addHandler(logging.NullHandler())
loop = asyncio.new_event_loop()
kept = loop.run_until_complete(main())
print("end", flush=True)
for task in asyncio.all_tasks(loop):
    task.cancel()
loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(loop), return_exceptions=True))
loop.close()
# What nobody closed says so; that is not what this is about.
warnings.simplefilter("ignore", ResourceWarning)
del kept
import gc
gc.collect()
sys.exit(7)
""",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_program_may_end_in_the_middle_of_everything(end: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda number: run(BUSY + ENDS[end], str(number), code=7), range(TIMES)))


def test_threads_that_wait_do_not_keep_a_program() -> None:
    program = """
import threading, sys
from hybridrelay import sync
relay = sync.LocalRelay().__enter__()
listener = sync.listen(relay.connection_string())
for _ in range(4):
    threading.Thread(target=listener.accept, daemon=True).start()
listener.on_status(print)
print(listener.status.state, flush=True)
sys.exit(7)
"""
    assert "online" in run(program, code=7)


def test_several_loops_run_in_several_threads(cs: str) -> None:
    async def work(name: str) -> int:
        async with hybridrelay.Sender(cs) as sender, sender.connect() as connection:
            for number in range(200):
                await connection.send(f"{name} {number}")
                assert await connection.receive() == f"{name} {number}"
        return number

    def handler(incoming: sync.Incoming) -> None:
        assert isinstance(incoming, sync.IncomingConnect)
        with incoming.accept() as connection:
            for message in connection:
                connection.send(message)

    with sync.listen(cs) as listener:
        serving = threading.Thread(target=listener.serve, args=(handler,))
        serving.start()
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda name: asyncio.run(work(name)), ["a", "b", "c", "d"]))
        assert done == [199] * 4
        listener.close()
        serving.join()


def test_objects_may_be_used_in_one_loop_after_the_other(cs: str) -> None:
    listener = asyncio.run(_listen(cs))
    near, far = asyncio.run(pair(listener, cs))

    async def exchange(text: str) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await far.receive()
        await near.send(text)
        assert await far.receive() == text

    for number in range(5):
        asyncio.run(exchange(str(number)))

    async def end() -> None:
        await asyncio.gather(near.close(), far.close())
        await listener.close()

    asyncio.run(end())


def test_uvloop_runs_it_as_well(cs: str) -> None:
    async def work() -> None:
        async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(2**16):
                writer.write(data)
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        async with await hybridrelay.start_server(callback, cs):
            reader, writer = await hybridrelay.open_connection(cs)
            for _ in range(100):
                writer.write(bytes(10_000))
                await writer.drain()
                assert await reader.readexactly(10_000) == bytes(10_000)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            async with hybridrelay.connect(cs) as connection:
                await connection.send("text")
                assert await connection.receive() == b"text"
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await connection.receive()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


FORKED = """
import asyncio, os, sys, hybridrelay
from hybridrelay import sync

relay = sync.LocalRelay().__enter__()
cs = relay.connection_string()
listener = sync.listen(cs)
sender = sync.Sender(cs)
provider = hybridrelay.TokenProvider(lambda audience: "token")
read, write = os.pipe()
child = os.fork()
if child == 0:
    try:
        for attempt in (listener.accept, lambda: sender.get("/"), sender.connect, lambda: relay.connection_string(),
                        lambda: sync.listen(cs, credential=provider), lambda: listener.status):
            try:
                attempt()
                print("worked", flush=True)
                os._exit(1)
            except hybridrelay.Forked as error:
                assert "fork" in str(error)
        assert "Forked" not in repr(listener) and "fork" in repr(listener)
        del listener, sender, provider
        # New ones work, blocking and in a loop.
        with sync.connect(cs) as connection:
            connection.send("from the child")
            assert connection.receive() == "to the child"
        async def again():
            asyncio.get_running_loop().slow_callback_duration = 60
            async with hybridrelay.connect(cs) as connection:
                await connection.send("again")
                assert await connection.receive() == "to the child"
        asyncio.run(again())
        with sync.LocalRelay() as another, sync.listen(another.connection_string()) as own:
            assert own.status.is_online
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    # In good order, so that everything is collected.
    sys.exit(0)
for _ in range(2):
    with listener.accept().accept() as connection:
        assert connection.receive() in ("from the child", "again")
        connection.send("to the child")
        assert connection.receive() is None
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, status
# The parent's are whole.
with sync.listen(cs) as other:
    assert listener.status.is_online and relay.listeners() == 2
listener.close()
sender.close()
relay.__exit__(None, None, None)
print("whole", flush=True)
"""


def test_a_child_makes_objects_of_its_own() -> None:
    assert run(FORKED) == "whole\n"


def _child(cs: str, results: multiprocessing.SimpleQueue[str]) -> None:
    with sync.connect(cs) as connection:
        connection.send("from a process")
        results.put(str(connection.receive()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_work(cs: str, method: str) -> None:
    context = multiprocessing.get_context(method)
    results = context.SimpleQueue()
    with sync.listen(cs) as listener:
        with warnings.catch_warnings():
            # Later versions of Python warn of a fork in a program with threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = context.Process(  # type: ignore[attr-defined]
                target=_child, args=(cs, results)
            )
            process.start()
        incoming = listener.accept()
        assert isinstance(incoming, sync.IncomingConnect)
        with incoming.accept() as connection:
            assert connection.receive() == "from a process"
            connection.send("back")
            assert connection.receive() is None
        process.join()
        assert (process.exitcode, results.get()) == (0, "back")
    results.close()


async def test_a_connection_that_is_collected_is_an_abort_and_a_warning(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    # The loop itself holds the result of what has just ended.
    await asyncio.sleep(0)
    with pytest.warns(ResourceWarning, match="never closed"):
        del near
        gc.collect()
    with pytest.raises(hybridrelay.ConnectionLost):
        await far.receive()
    far.abort()


async def test_a_listener_that_is_collected_goes_offline(hybridrelay_relay: LocalRelay, cs: str) -> None:
    listener = await hybridrelay.listen(cs)
    entity = listener.entity
    with pytest.warns(ResourceWarning, match="never closed"):
        del listener
        gc.collect()
    while hybridrelay_relay.listeners(entity):
        await asyncio.sleep(0.001)


async def test_a_connection_that_ended_in_both_directions_needs_no_close(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    await near.shutdown()
    assert await far.receive() is None
    await far.shutdown()
    assert await near.receive() is None
    del near, far
    gc.collect()


MEMORY = """
import asyncio, gc, resource, sys, hybridrelay

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60
    async with hybridrelay.LocalRelay() as relay:
        cs = relay.connection_string()
        async with hybridrelay.listen(cs) as listener:
            async def handler(incoming):
                if isinstance(incoming, hybridrelay.IncomingConnect):
                    async with await incoming.accept() as connection:
                        async for message in connection:
                            await connection.send(message)
                else:
                    await incoming.respond(200, await incoming.read())
            serving = asyncio.create_task(listener.serve(handler))
            async with hybridrelay.Sender(cs) as sender:
                async def one(number):
                    if number % 10 == 9:
                        assert (await sender.post("/", content=bytes(1000))).content == bytes(1000)
                        return
                    async with sender.connect() as connection:
                        await connection.send(bytes(1000))
                        assert await connection.receive() == bytes(1000)
                async def many(count):
                    for start in range(0, count, 20):
                        await asyncio.gather(*(one(number) for number in range(start, start + 20)))
                total = int(sys.argv[1])
                await many(total // 2)
                before = resident()
                await many(total // 2)
                grown = resident() - before
            await listener.close()
            await serving
            from hybridrelay import _native, _run
            driver = _run.loop_driver()
            assert not driver._waiting and not driver._watchers and not _native.under_way()
    print(grown)

asyncio.run(main())
"""


def test_memory_stays_flat_over_many_connections() -> None:
    count = int(os.environ.get("HYBRIDRELAY_TEST_CONNECTIONS", "1000"))
    grown = int(run(MEMORY, str(count)))
    # Of 1 KiB that leaks with each connection, of 10 000, these would be 5 MiB.
    assert grown < 4 * 2**20, f"{grown} bytes more after {count // 2} connections"


async def _listen(cs: str) -> Listener:
    return await hybridrelay.listen(cs)
