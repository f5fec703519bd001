"""A relay inside of the program, for its tests."""

from __future__ import annotations

from types import TracebackType

from . import _native
from ._errors import ErrorKind, make
from ._run import call, run


class LocalRelay:
    """A relay on a free port of loopback, with everything that listeners and senders of a test need.

    ``with LocalRelay() as relay`` and ``async with LocalRelay() as relay`` start it, and stop it in the end. Hybrid connections come to be
    when somebody listens. With `tls` it has a certificate: see :attr:`ca_pem`. One that is started again with the same `port` and `key` is
    the same to its clients. `anonymous` lets senders in without a token.

    >>> with LocalRelay() as relay:
    ...     connection_string = relay.connection_string("hyco")
    """

    def __init__(self, *, tls: bool = False, port: int = 0, key: str | None = None, anonymous: bool = False) -> None:
        self._options = (tls, port, key, anonymous)
        self._native: _native.LocalRelay | None = None

    async def start(self) -> LocalRelay:
        """Starts it, unless it runs. Raises :class:`NetworkError` if the port cannot be bound."""
        if self._native is None:
            self._native = await call(_native.LocalRelay.start, *self._options)
        return self

    async def stop(self, drain: float = 0.0) -> None:
        """Stops it: connections have `drain` seconds to end, then they are cut."""
        native, self._native = self._native, None
        if native is not None:
            await call(native.stop, drain)

    def connection_string(self, entity: str = "hyco") -> str:
        """A connection string for a hybrid connection, with every right."""
        return self._use().connection_string(entity)

    @property
    def address(self) -> str:
        """Its address, such as ``http://127.0.0.1:43210/``."""
        return self._use().address()

    @property
    def ca_pem(self) -> str | None:
        """The certificate to trust, for the option ``extra_ca_pem``; ``None`` without TLS."""
        return self._use().ca_pem()

    @property
    def key_name(self) -> str:
        """The name of the one rule."""
        return self._use().rule()[0]

    @property
    def key(self) -> str:
        """The key of the one rule."""
        return self._use().rule()[1]

    def drop_control(self, entity: str = "hyco") -> int:
        """Cuts the control channels of a hybrid connection, as a failure of the network would; its listeners come back. Returns how many
        there were."""
        return self._use().drop_control(entity)

    def connections(self) -> int:
        """How many relayed connections are open."""
        return self._use().connections()

    def listeners(self, entity: str = "hyco") -> int:
        """How many listeners are online under a hybrid connection."""
        return self._use().listeners(entity)

    def _use(self) -> _native.LocalRelay:
        if self._native is None:
            raise make(ErrorKind.CLOSED, "the relay does not run", hint="start it by `with` or `await relay.start()`")
        return self._native

    async def __aenter__(self) -> LocalRelay:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __enter__(self) -> LocalRelay:
        return run(self.start())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run(self.stop())

    def __repr__(self) -> str:
        return (
            "<hybridrelay.LocalRelay stopped>" if self._native is None else f"<hybridrelay.LocalRelay {self.address}>"
        )
