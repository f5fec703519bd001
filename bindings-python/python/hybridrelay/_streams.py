"""A relayed connection as bytes, for asyncio."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, TypeAlias, Union, Unpack, cast

from ._connection import Connection, connect
from ._errors import RelayError
from ._incoming import IncomingConnect
from ._listener import Listener, listen
from ._logging import logger
from ._options import ListenerOptions, OpenOptions
from ._run import LoopDriver, call, loop_driver

StreamsCallback: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Union[None, Awaitable[None]]]
"""Takes care of one sender."""

#: How many chunks, of 64 KiB at most, a transport hands over before others in the loop have their turn.
_CHUNKS = 16


class RelayTransport(asyncio.Transport):
    """An :class:`asyncio.Transport` over a relayed connection.

    :meth:`close` sends what waits, ends our direction, and waits for the peer's end before the protocol's ``connection_lost``.
    ``get_extra_info`` knows ``peername``, ``path``, ``headers``, ``subprotocol``, ``tracking_id`` and ``connection``.
    """

    # So that `loop.start_tls` takes it.
    _start_tls_compatible = True

    def __init__(
        self, driver: LoopDriver, connection: Connection, protocol: asyncio.BaseProtocol, held_by_loop: bool = True
    ) -> None:
        extra = {
            "peername": connection.remote_addr,
            "path": connection.path,
            "headers": connection.request_headers,
            "subprotocol": connection.subprotocol,
            "tracking_id": connection.tracking_id,
            "connection": connection,
        }
        super().__init__(extra)
        self._driver = driver
        self._loop = driver.loop
        self._connection = connection
        self._pid = os.getpid()
        self._protocol = protocol
        self._paused = self._protocol_paused = False
        self._closing = self._lost = self._end_seen = self._end_wanted = False
        self._reading_soon = False
        self._finishing: asyncio.Task[None] | None = None
        self._limits = (64 * 1024, 256 * 1024)
        # Streams are held by the program: when it lets go of them, that is an abort.
        method = None if held_by_loop else weakref.WeakMethod(self._wake)
        self._tag = driver.watch(self._wake if method is None else lambda: _call_weak(method))
        try:
            self._stream, left = connection._native.begin_stream(driver.queue, self._tag)
        except BaseException:
            driver.unwatch(self._tag)
            self._lost = True
            raise
        connection._over = True
        kept = [message for message in connection._messages.take_kept() if message]
        self._left: deque[bytes] = deque(_bytes(message) for message in [*kept, *left] if message)
        protocol.connection_made(self)
        self._read_soon()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not (self._paused or self._closing or self._end_seen)

    def pause_reading(self) -> None:
        if self.is_reading():
            self._paused = True
            self._stream.pause()

    def resume_reading(self) -> None:
        if self._paused and not self._closing:
            self._paused = False
            self._stream.resume()
            self._read_soon()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._limits = (low, high)
        self._flow(self._stream.set_water(high, low))

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._limits

    def get_write_buffer_size(self) -> int:
        return 0 if self._lost else self._stream.unwritten()

    def write(self, data: Any) -> None:
        if self._end_wanted and not self._closing:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or not data:
            return
        try:
            self._flow(self._stream.write(data))
        except RelayError as error:
            self._fail(error)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not (self._closing or self._end_wanted):
            self._end_wanted = True
            self._stream.end()

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._end_wanted = True
        self._stream.end()
        self._check_end()

    def abort(self) -> None:
        self._fail(None)

    def _fail(self, error: RelayError | None) -> None:
        """Ends it at once."""
        if self._lost:
            return
        if self._finishing is not None:
            self._finishing.cancel()
        self._stream.abort()
        self._lose(error)

    def _lose(self, error: RelayError | None) -> None:
        if not self._lost:
            self._closing = self._lost = True
            self._driver.unwatch(self._tag)
            if not self._loop.is_closed():
                self._loop.call_soon(self._connection_lost, error)

    def _connection_lost(self, error: RelayError | None) -> None:
        self._protocol.connection_lost(error)

    def _wake(self) -> None:
        if self._lost:
            return
        self._stream.look()
        self._read()
        if not self._lost:
            self._flow(self._stream.may_write())
            self._check_end()

    def _flow(self, may_write: bool) -> None:
        if self._protocol_paused != (not may_write):
            self._protocol_paused = not may_write
            try:
                if self._protocol_paused:
                    self._protocol.pause_writing()
                else:
                    self._protocol.resume_writing()
            except Exception as error:
                self._report(error, "the protocol failed to pause or to go on")

    def _read_soon(self) -> None:
        if not self._reading_soon:
            self._reading_soon = True
            self._loop.call_soon(self._read_later)

    def _read_later(self) -> None:
        self._reading_soon = False
        self._read()

    def _read(self) -> None:
        for _ in range(_CHUNKS):
            if self._lost or not self.is_reading():
                return
            try:
                data = self._left.popleft() if self._left else self._stream.read()
            except RelayError as error:
                self._fail(error)
                return
            if data is None:
                return
            if not data:
                self._end()
                return
            self._hand_over(data)
        self._read_soon()

    def _hand_over(self, data: bytes) -> None:
        try:
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                view = memoryview(data)
                while view:
                    buffer = memoryview(cast(Any, self._protocol.get_buffer(len(view)))).cast("B")
                    if not len(buffer):
                        raise RuntimeError("get_buffer() returned an empty buffer")
                    size = min(len(buffer), len(view))
                    buffer[:size] = view[:size]
                    self._protocol.buffer_updated(size)
                    view = view[size:]
            else:
                cast(asyncio.Protocol, self._protocol).data_received(data)
        except Exception as error:
            self._report(error, "the protocol failed to take data")
            self._fail(None)

    def _end(self) -> None:
        self._end_seen = True
        try:
            stays = cast(asyncio.Protocol, self._protocol).eof_received()
        except Exception as error:
            self._report(error, "the protocol failed at the end of what came")
            stays = False
        if not stays:
            self.close()

    def _check_end(self) -> None:
        """Goes on with a close when everything was written."""
        if not self._end_wanted or self._lost:
            return
        try:
            ended = self._stream.ended()
        except RelayError as error:
            self._fail(error)
            return
        if ended and self._closing and self._finishing is None:
            self._stream.pause()
            self._finishing = self._loop.create_task(self._finish(), name="hybridrelay close")

    async def _finish(self) -> None:
        error: RelayError | None = None
        try:
            # What still comes is dropped until the peer ends as well, or the close timeout aborts.
            await call(self._connection._native.close, None, "")
        except RelayError as failure:
            error = failure
        self._lose(error)

    def _report(self, error: Exception, message: str) -> None:
        context = {"message": message, "exception": error, "transport": self, "protocol": self._protocol}
        self._loop.call_exception_handler(context)

    def __del__(self) -> None:
        if getattr(self, "_lost", True) or sys.is_finalizing() or self._pid != os.getpid():
            return
        self._driver.unwatch(self._tag)
        if not self._closing:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = "lost" if self._lost else "closing" if self._closing else "open"
        return f"<hybridrelay.RelayTransport {self.get_extra_info('tracking_id')} {state}>"


def _call_weak(method: weakref.WeakMethod[Any]) -> None:
    wake = method()
    if wake is not None:
        wake()


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def streams(connection: Connection, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection as asyncio streams."""
    driver = loop_driver()
    reader = asyncio.StreamReader(limit=limit, loop=driver.loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=driver.loop)
    transport = RelayTransport(driver, connection, protocol, held_by_loop=False)
    if connection._info:
        # At the listener's side: by this `StreamWriter.start_tls` knows that it is to be the server.
        protocol._client_connected_cb = _is_server  # type: ignore[attr-defined]
    return reader, _StreamWriter(transport, protocol, reader, driver.loop)


def _is_server(*_: Any) -> None:
    """Never called: the connection was made."""


class _StreamWriter(asyncio.StreamWriter):
    """Where the one of asyncio closes when it is collected, this one aborts: the peer must not take it for an end in good order."""

    def __del__(self, *_: Any) -> None:
        transport = self.transport
        if transport.is_closing() or sys.is_finalizing() or not isinstance(transport, RelayTransport):
            return
        if transport._pid == os.getpid():
            transport.abort()
            warnings.warn(f"{transport!r} was never closed", ResourceWarning, source=self, stacklevel=2)


async def open_connection(
    target: str | None = None, /, *, limit: int = 2**16, **options: Unpack[OpenOptions]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Opens a connection as asyncio streams, as :func:`asyncio.open_connection` does.

    Target, options and failures are those of :func:`connect`.
    """
    connection = await connect(target, **options)
    return await connection.into_streams(limit=limit)


class Server:
    """What :func:`start_server` returns: a listener whose senders are asyncio streams. ``async with`` closes it in the end."""

    def __init__(self, listener: Listener, callback: StreamsCallback, limit: int) -> None:
        self._listener = listener
        self._callback = callback
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept(), name="hybridrelay server")
        self._closing: asyncio.Task[None] | None = None

    @property
    def listener(self) -> Listener:
        """The listener below, for its status."""
        return self._listener

    def is_serving(self) -> bool:
        """Whether senders are accepted."""
        return self._closing is None and not self._accepting.done()

    async def serve_forever(self) -> None:
        """Waits until the server is closed. Cancelling closes it. Raises the listener's final failure."""
        try:
            await asyncio.shield(self._accepting)
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise

    def close(self) -> None:
        """Begins to go offline. Connections go on."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._listener.close(), name="hybridrelay close")

    async def wait_closed(self) -> None:
        """Waits until it is offline."""
        await asyncio.gather(self._accepting, *([self._closing] if self._closing else []), return_exceptions=True)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await self.wait_closed()

    async def _accept(self) -> None:
        async for incoming in self._listener:
            if isinstance(incoming, IncomingConnect):
                task = asyncio.create_task(self._serve(incoming), name="hybridrelay sender")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                incoming._drop()

    async def _serve(self, incoming: IncomingConnect) -> None:
        try:
            connection = await incoming.accept()
            reader, writer = await connection.into_streams(limit=self._limit)
        except RelayError as error:
            logger.debug("a sender could not be accepted: %s", error)
            return
        try:
            result = self._callback(reader, writer)
            if result is not None:
                await result
        except Exception:
            logger.exception("a client_connected_cb failed")
            writer.transport.abort()


async def start_server(
    client_connected_cb: StreamsCallback,
    target: str | None = None,
    /,
    *,
    limit: int = 2**16,
    **options: Unpack[ListenerOptions],
) -> Server:
    """Gets online and calls ``client_connected_cb(reader, writer)`` for each sender, as :func:`asyncio.start_server` does.

    Target, options and failures are those of :func:`listen`. HTTP requests are answered 501.
    """
    return Server(await listen(target, **options), client_connected_cb, limit)
