"""Connections as asyncio streams and transports."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import ssl
import subprocess
from pathlib import Path

import hybridrelay
import pytest
from conftest import pair, wait_for_an_end
from hybridrelay import Listener


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, and ends behind it."""
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def test_streams_are_those_of_asyncio(cs: str) -> None:
    async with await hybridrelay.start_server(echo, cs) as server:
        assert server.is_serving() and server.listener.status.is_online
        reader, writer = await hybridrelay.open_connection(cs, path="/x")
        writer.write(b"one line\nand more")
        assert await reader.readline() == b"one line\n"
        assert writer.can_write_eof()
        writer.write_eof()
        assert await reader.read() == b"and more"
        assert reader.at_eof()
        writer.close()
        await writer.wait_closed()
        assert writer.is_closing()
    assert not server.is_serving()
    with pytest.raises(hybridrelay.NoListeners):
        await hybridrelay.open_connection(cs)


async def test_a_large_stream_arrives_whole_in_bounded_memory(cs: str) -> None:
    total, high = 32 * 2**20, 0
    sent, got = hashlib.sha256(), hashlib.sha256()
    async with await hybridrelay.start_server(echo, cs):
        reader, writer = await hybridrelay.open_connection(cs)

        async def sending() -> None:
            nonlocal high
            for number in range(total >> 16):
                chunk = bytes([number & 0xFF]) * 2**16
                sent.update(chunk)
                writer.write(chunk)
                high = max(high, writer.transport.get_write_buffer_size())
                await writer.drain()
            writer.write_eof()

        task = asyncio.create_task(sending())
        while data := await reader.read(2**16):
            got.update(data)
        await task
        assert sent.digest() == got.digest()
        assert high <= 256 * 1024 + 2**16
        writer.close()
        await writer.wait_closed()


async def test_a_reader_that_stands_still_stops_the_writer(cs: str) -> None:
    taken = asyncio.Event()

    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await taken.wait()
        await echo(reader, writer)

    async with await hybridrelay.start_server(callback, cs):
        reader, writer = await hybridrelay.open_connection(cs)
        written = 0

        async def sending() -> None:
            nonlocal written
            while written < 64 * 2**20:
                writer.write(bytes(2**16))
                written += 2**16
                await writer.drain()
            writer.write_eof()

        task = asyncio.create_task(sending())
        before = -1
        while written > before:
            before = written
            await asyncio.sleep(0.2)
        assert not task.done() and written < 48 * 2**20, f"{written} bytes went to nobody"
        taken.set()
        while data := await reader.read(2**20):
            before -= len(data)
        await task
        writer.close()
        await writer.wait_closed()


async def test_an_abort_is_an_error_at_the_other_end(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    reader, writer = await near.into_streams()
    _, other = await far.into_streams()
    other.transport.abort()
    with pytest.raises(ConnectionError):
        await reader.read()
    writer.close()
    with pytest.raises(ConnectionError):
        await writer.wait_closed()


async def test_streams_that_are_dropped_are_an_abort(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    streams = await near.into_streams()
    await asyncio.sleep(0)
    del near
    with pytest.warns(ResourceWarning, match="never closed"):
        del streams
        gc.collect()
    with pytest.raises(hybridrelay.ConnectionLost):
        await far.receive()
    far.abort()


async def test_what_a_cancelled_receive_got_comes_first(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    receiving = asyncio.create_task(far.receive())
    await asyncio.sleep(0)
    await near.send("first ")
    await near.send(b"second ")
    # It has come, and the loop has not seen it.
    wait_for_an_end()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    reader, writer = await far.into_streams()
    with pytest.raises(hybridrelay.StreamInUse):
        await far.receive()
    await near.send(b"third")
    await near.shutdown()
    assert await reader.read() == b"first second third"
    writer.close()
    await asyncio.gather(writer.wait_closed(), near.close())


class Recording(asyncio.Protocol):
    """Writes down what happens to it."""

    def __init__(self) -> None:
        self.happened: list[object] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.happened.append("made")

    def data_received(self, data: bytes) -> None:
        self.happened.append(data)

    def eof_received(self) -> bool:
        self.happened.append("eof")
        return False

    def pause_writing(self) -> None:
        self.happened.append("pause")

    def resume_writing(self) -> None:
        self.happened.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def test_a_transport_keeps_the_contract_of_asyncio(listener: Listener, cs: str) -> None:
    near, far = await pair(listener, cs)
    protocol = Recording()
    transport = far.into_transport(protocol)
    assert protocol.happened == ["made"]
    assert transport.get_extra_info("connection") is far
    assert transport.get_extra_info("peername")[0] == "127.0.0.1"
    transport.set_write_buffer_limits(high=0)
    assert transport.get_write_buffer_limits() == (0, 0)
    transport.writelines([b"to ", bytearray(b"the "), memoryview(b"sender")])
    while "resume" not in protocol.happened:
        await asyncio.sleep(0)
    assert protocol.happened[1:] == ["pause", "resume"]
    assert await near.receive() == b"to the sender"
    assert transport.get_protocol() is protocol
    transport.pause_reading()
    assert not transport.is_reading()
    transport.resume_reading()
    await near.send(b"to the listener")
    await near.shutdown()
    while protocol.happened[-1] != "eof":
        await asyncio.sleep(0)
    assert protocol.happened[3:] == [b"to the listener", "eof"]
    # It had nothing more to say, so its own direction is closed as well.
    assert transport.is_closing()
    await near.close()
    assert await protocol.lost is None


async def test_tls_runs_inside(cs: str, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=inside -addext subjectAltName=DNS:inside -keyout {key} -out {certificate}"
    subprocess.run(make.split(), check=True, capture_output=True)
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(certificate, key)

    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.start_tls(server_context)
        writer.write(await reader.readexactly(1000))
        await writer.drain()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    async with await hybridrelay.start_server(callback, cs):
        reader, writer = await hybridrelay.open_connection(cs)
        await writer.start_tls(ssl.create_default_context(cafile=str(certificate)), server_hostname="inside")
        writer.write(bytes(1000))
        assert await reader.readexactly(1000) == bytes(1000)
        writer.close()
        await writer.wait_closed()


async def test_a_server_logs_what_a_callback_raises_and_goes_on(cs: str, caplog: pytest.LogCaptureFixture) -> None:
    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise ZeroDivisionError

    async with await hybridrelay.start_server(callback, cs):
        for _ in range(2):
            reader, writer = await hybridrelay.open_connection(cs)
            with pytest.raises(ConnectionError):
                await reader.read()
            writer.transport.abort()
    assert sum(record.exc_info is not None for record in caplog.records) == 2


async def test_a_server_serves_until_it_is_closed(cs: str) -> None:
    async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()
        await writer.wait_closed()

    async with await hybridrelay.start_server(callback, cs) as server:
        serving = asyncio.create_task(server.serve_forever())
        reader, writer = await hybridrelay.open_connection(cs)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
        assert server.is_serving() and not serving.done()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert not server.is_serving() and await server.listener.accept() is None
