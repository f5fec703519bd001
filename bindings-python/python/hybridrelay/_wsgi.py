"""WSGI applications, such as those of Flask and Django, without a port, in threads.

What they are told is what PEP 3333 says.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from ._conversations import Conversations
from ._conversations import serve as converse
from ._errors import RelayError
from ._hosting import HELD, Place, phrase, place, target
from ._incoming import Incoming, IncomingConnect, IncomingRequest, ResponseWriter
from ._logging import logger
from ._run import run

if TYPE_CHECKING:
    from ._listener import Listener

WSGIApplication: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]
"""``app(environ, start_response)``."""


async def serve(listener: Listener, app: WSGIApplication, threads: int, spool: bool, grace: float) -> None:
    """Runs an application until the listener is closed."""
    where = place(listener.address)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="hybridrelay application")
    try:
        with Conversations(listener, grace) as conversations:
            await converse(
                conversations, lambda incoming: _converse(app, incoming, where, spool, pool), asyncio.Semaphore(threads)
            )
    finally:
        # Nothing stops a thread; one that takes longer than the grace ends when it does.
        pool.shutdown(wait=False, cancel_futures=True)


async def _converse(
    app: WSGIApplication, incoming: Incoming, where: Place, spool: bool, pool: ThreadPoolExecutor
) -> None:
    if isinstance(incoming, IncomingConnect):
        try:
            await incoming.reject(501, "This listener answers HTTP requests only")
        except RelayError as error:
            logger.debug("a sender could not be told: %s", error)
        return
    context = contextvars.copy_context()
    await asyncio.get_running_loop().run_in_executor(pool, context.run, _Exchange(app, incoming, where).run, spool)


class _Exchange:
    """One request and its answer, in a thread."""

    def __init__(self, app: WSGIApplication, request: IncomingRequest, where: Place) -> None:
        self._app = app
        self._request = request
        self._where = where
        self._head: tuple[int, str | None, list[tuple[bytes, bytes]]] | None = None
        self._writer: ResponseWriter | None = None
        self._complete = False

    def run(self, spool: bool) -> None:
        """Asks the application, and sends what it says."""
        try:
            body: IO[bytes] = io.BufferedReader(_Body(self._request), HELD)
            length = self._request.headers.get("content-length")
            if spool and length is None:
                body, length = _spooled(body)
            result = self._app(self._environ(body, length), self._start_response)
            try:
                whole = isinstance(result, list | tuple) and len(result) == 1
                for chunk in result:
                    if chunk:
                        self._send(chunk, whole)
                self._finish()
            finally:
                if hasattr(result, "close"):
                    result.close()
                body.close()
        except Exception as error:
            if self._request.is_disconnected and isinstance(error, OSError):
                logger.debug("a sender has gone: %r", self._request)
            else:
                logger.exception("the application failed: %r", self._request)
            self._fail()
        except BaseException:
            self._fail()
            raise
        finally:
            self._request._drop()

    def _environ(self, body: IO[bytes], length: str | None) -> dict[str, Any]:
        request = self._request
        asked = target(request.mount, request.path)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            # Text in WSGI is bytes in disguise.
            "SCRIPT_NAME": asked.mount.encode().decode("latin-1"),
            "PATH_INFO": asked.below.decode("latin-1"),
            "QUERY_STRING": request.query or "",
            "REQUEST_URI": asked.raw.decode("latin-1") + (f"?{request.query}" if request.query else ""),
            "SERVER_NAME": self._where.host,
            "SERVER_PORT": str(self._where.port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if self._where.secure else "http",
            "wsgi.input": body,
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        if request.remote_addr is not None:
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = request.remote_addr[0], str(request.remote_addr[1])
        if length is not None:
            environ["CONTENT_LENGTH"] = length
        for name in request.headers:
            if "_" not in name and name != "content-length":
                # One with an underscore could pass for another.
                key = "CONTENT_TYPE" if name == "content-type" else "HTTP_" + name.upper().replace("-", "_")
                environ[key] = ("; " if name == "cookie" else ",").join(request.headers.get_list(name))
        return environ

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._writer is not None or self._complete:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                # It would keep itself alive.
                exc_info = None
        elif self._head is not None:
            raise AssertionError("the application has begun its response already")
        code, _, reason = status.partition(" ")
        # Text in WSGI is bytes in disguise.
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._head = (int(code), None if reason == phrase(int(code)) else reason or None, fields)
        return self._send

    def _send(self, data: bytes, whole: bool = False) -> None:
        if self._head is None:
            raise AssertionError("the application has not begun its response")
        if isinstance(data, str):
            raise TypeError("an application of WSGI gives bytes, not str")
        status, reason, headers = self._head
        if self._complete:
            return
        if self._writer is None:
            length = next((value for name, value in headers if name.lower() == b"content-length"), b"")
            if whole or length.strip() == b"%d" % len(data):
                run(self._request.respond(status, data, headers=headers, reason=reason))
                self._complete = True
                return
            self._writer = self._request.start_response(status, headers=headers, reason=reason)
        run(self._writer.write(data, flush=True))

    def _finish(self) -> None:
        if self._writer is not None:
            run(self._writer.finish())
            self._complete = True
        elif not self._complete:
            self._send(b"", whole=True)

    def _fail(self) -> None:
        try:
            if self._writer is not None:
                run(self._writer.abort())
            else:
                run(self._request._refuse(500, phrase(500)))
        except RelayError as error:
            logger.debug("a sender could not be told: %s", error)


def _spooled(body: IO[bytes]) -> tuple[IO[bytes], str]:
    """A whole body in a file, which is one of the disk's if it is long, and its length."""
    file = tempfile.SpooledTemporaryFile(HELD)
    shutil.copyfileobj(body, file, HELD)
    length = file.tell()
    file.seek(0)
    return file, str(length)


class _Body(io.RawIOBase):
    """The body of a request, as it comes."""

    def __init__(self, request: IncomingRequest) -> None:
        self._request = request
        self._held = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held and not self._ended:
            chunk = run(self._request._chunk())
            self._ended = chunk is None
            self._held = memoryview(chunk or b"")
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size
