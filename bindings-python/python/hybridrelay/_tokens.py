"""Where tokens come from."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import itertools
import os
import select
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias, Union

from . import _native
from ._errors import RelayError
from ._logging import logger

Token: TypeAlias = Union[str, tuple[str, Union[datetime.datetime, float, None]]]
"""A token, or a token and when it expires: a ``datetime`` with a time zone, or seconds since 1970."""

TokenCallback: TypeAlias = Callable[[str], Union[Token, Awaitable[Token]]]
"""Gives a token for an audience, ``http://host/entity/``."""


class TokenProvider:
    """Makes tokens for listeners and senders. Any number of them may share one.

    >>> TokenProvider.shared_access_key("both", "a2V5")
    TokenProvider(shared access key)
    """

    __slots__ = ("_kind", "_native")

    def __init__(self, callback: TokenCallback) -> None:
        """Tokens from the program: ``callback(audience)`` is called whenever one is needed.

        An ``async def`` runs in the event loop in which this was made, as long as that runs; otherwise, and for a plain function, in a
        thread of its own. What it raises is logged, and whoever wanted the token fails with :class:`Unauthorized`.
        """
        try:
            loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        self._kind = "callback"
        self._native = _asker().provider(_Callback(callback, loop))

    @classmethod
    def _of(cls, native: _native.TokenProvider, kind: str) -> TokenProvider:
        provider = cls.__new__(cls)
        provider._kind = kind
        provider._native = native
        return provider

    @classmethod
    def shared_access_key(cls, name: str, key: str, *, validity: float | None = None) -> TokenProvider:
        """Tokens signed with the key of a rule. Each is valid for `validity` seconds, 3600 by default."""
        return cls._of(_native.TokenProvider.shared_access_key(name, key, validity), "shared access key")

    @classmethod
    def ready_made(cls, token: str) -> TokenProvider:
        """A token that somebody else made. Give a new one to :meth:`set_token` before it expires."""
        return cls._of(_native.TokenProvider.ready_made(token), "ready-made")

    def set_token(self, token: str) -> None:
        """Replaces a ready-made token: listeners that use it renew with the new one at once."""
        self._native.set_token(token)

    def __repr__(self) -> str:
        return f"TokenProvider({self._kind})"


class _Callback(NamedTuple):
    """A callback, and where it runs."""

    function: TokenCallback
    loop: asyncio.AbstractEventLoop | None


def create_token(audience: str, key_name: str, key: str, *, validity: float = 3600.0) -> str:
    """Signs a token with the key of a rule, for somebody who has no key: see :meth:`TokenProvider.ready_made`.

    `audience` is what the token is good for, such as ``http://host/entity/``; it may be used for `validity` seconds, for what the rule
    allows.
    """
    return _native.create_token(audience, key_name, key, validity)


class _Asker:
    """Passes requests for tokens on to callbacks, from a daemon thread: the library may want one at any time."""

    def __init__(self) -> None:
        self._queue = _native.Queue()
        self._tags = itertools.count(1)
        self._callbacks: dict[int, _Callback] = {}
        threading.Thread(target=self._pass_on, name="hybridrelay tokens", daemon=True).start()

    def provider(self, callback: _Callback) -> _native.TokenProvider:
        tag = next(self._tags)
        # Until the library says that nobody can ask any more, which may be longer than the program holds the provider.
        self._callbacks[tag] = callback
        return _native.TokenProvider.asking(self._queue, tag)

    def _pass_on(self) -> None:
        poll = select.poll()
        poll.register(self._queue.fileno(), select.POLLIN)
        while True:
            poll.poll()
            # In a frame of its own: one that waits holds its last callback.
            self._look()

    def _look(self) -> None:
        for tag, request, _ in self._queue.take():
            if request is None:
                self._callbacks.pop(tag, None)
                continue
            work = (self._callbacks[tag], request)
            threading.Thread(target=_answer, args=work, name="hybridrelay token", daemon=True).start()


def _answer(callback: _Callback, request: Any) -> None:
    try:
        token: Any = None
        if not _is_async(callback.function):
            token = callback.function(request.audience)
        if token is None or inspect.isawaitable(token):
            token = _await(callback, token, request.audience)
        expires: Any = None
        if not isinstance(token, str):
            token, expires = token
        if isinstance(expires, datetime.datetime):
            expires = expires.timestamp()
        request.answer(token, expires)
    except RelayError as error:
        request.fail(str(error))
    except BaseException as error:  # Nobody else hears of it.
        logger.error("a token callback failed", exc_info=error)
        # Its text is the program's own and may hold a secret.
        request.fail(type(error).__name__)


def _await(callback: _Callback, awaitable: Any, audience: str) -> Any:
    async def ask() -> Any:
        return await (awaitable if awaitable is not None else callback.function(audience))  # type: ignore[misc]

    if callback.loop is not None and callback.loop.is_running():
        asking = ask()
        try:
            return asyncio.run_coroutine_threadsafe(asking, callback.loop).result()
        except RuntimeError:
            # It was closed in this moment.
            asking.close()
    return asyncio.run(ask())


def _is_async(callback: TokenCallback) -> bool:
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
        getattr(type(callback), "__call__", None)
    )


_lock = threading.Lock()
_the_asker: _Asker | None = None


def _asker() -> _Asker:
    global _the_asker
    with _lock:
        if _the_asker is None:
            _the_asker = _Asker()
        return _the_asker


def _forget() -> None:
    global _lock, _the_asker
    _lock = threading.Lock()
    _the_asker = None


os.register_at_fork(after_in_child=_forget)
