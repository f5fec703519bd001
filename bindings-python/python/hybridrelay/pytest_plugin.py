"""Fixtures for pytest: a relay for the tests, a connection string of its own for each of them, and a relay for one test alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from . import LocalRelay

_names = itertools.count(1)


@pytest.fixture(scope="session")
def hybridrelay_relay() -> Iterator[LocalRelay]:
    """A relay that runs as long as the tests do."""
    with LocalRelay() as relay:
        yield relay


@pytest.fixture
def hybridrelay_own_relay() -> Iterator[LocalRelay]:
    """A relay of this test alone: for a test that moves its clock, refuses, stalls or cuts."""
    with LocalRelay() as relay:
        yield relay


@pytest.fixture
def hybridrelay_connection_string(hybridrelay_relay: LocalRelay) -> str:
    """A connection string for a hybrid connection that no other test uses."""
    return hybridrelay_relay.connection_string(f"test-{next(_names)}")
