"""What the tests share: a relay, and senders and listeners on it."""

from __future__ import annotations

import asyncio
import faulthandler
import select
from collections.abc import AsyncIterator

import hybridrelay
import pytest
from hybridrelay import _run

pytest_plugins = ["hybridrelay.pytest_plugin"]


def pytest_unconfigure(config: pytest.Config) -> None:
    """The end of the program has a limit as each test has."""
    faulthandler.dump_traceback_later(float(config.getini("faulthandler_timeout")), exit=True)


@pytest.fixture
def cs(hybridrelay_connection_string: str) -> str:
    """A connection string for a hybrid connection of this test."""
    return hybridrelay_connection_string


@pytest.fixture
async def listener(cs: str) -> AsyncIterator[hybridrelay.Listener]:
    """A listener that is online."""
    async with hybridrelay.listen(cs) as listener:
        yield listener


async def pair(listener: hybridrelay.Listener, cs: str) -> tuple[hybridrelay.Connection, hybridrelay.Connection]:
    """The two ends of a connection: the sender's, the listener's."""

    async def accept() -> hybridrelay.Connection:
        incoming = await listener.accept()
        assert isinstance(incoming, hybridrelay.IncomingConnect)
        return await incoming.accept()

    ends = await asyncio.gather(hybridrelay.connect(cs), accept())
    return ends[0], ends[1]


def wait_for_an_end() -> None:
    """Waits until the running loop would see that an operation of its own can end. Blocking, so that it does not."""
    assert select.select([_run.loop_driver().queue.fileno()], [], [], 60)[0]
