"""What the library logs."""

from __future__ import annotations

import asyncio
import logging

import hybridrelay
import pytest
from hybridrelay import LocalRelay, _logging


async def test_records_arrive_in_the_programs_logging(
    hybridrelay_relay: LocalRelay, cs: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "hybridrelay"):
        async with hybridrelay.listen(cs):
            while not any("is online" in record.getMessage() for record in caplog.records):
                await asyncio.sleep(0)
    record = next(record for record in caplog.records if "is online" in record.getMessage())
    assert record.levelno == logging.INFO and record.name.startswith("hybridrelay.listener")
    secret = hybridrelay_relay.key
    assert all(secret not in record.getMessage() for record in caplog.records)


def test_only_what_the_logger_lets_through_is_collected(caplog: pytest.LogCaptureFixture) -> None:
    for level, native in ((logging.WARNING, 2), (logging.DEBUG, 4), (logging.CRITICAL, 0)):
        with caplog.at_level(level, "hybridrelay"):
            _logging.follow_level()
            assert _logging._collected == native
    _logging.follow_level()
