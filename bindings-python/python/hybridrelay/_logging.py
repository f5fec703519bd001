"""What the native half logs goes to ``logging.getLogger("hybridrelay")``, from one daemon thread.

Only what that logger would let through is collected, as far as it was configured when the library was used last.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import threading

from . import _native

logger = logging.getLogger("hybridrelay")

#: From the native levels, 1 (error) to 5 (trace).
_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG, 5: 5}

_lock = threading.Lock()
_collected: int | None = None
_thread: threading.Thread | None = None


def follow_level() -> None:
    """Collects what the logger lets through now."""
    global _collected, _thread
    effective = logger.getEffectiveLevel()
    level = max((native for native, level in _LEVELS.items() if level >= effective), default=0)
    if level == _collected and _thread is not None:
        return
    with _lock:
        _native.log_collect(level)
        _collected = level
        if _thread is None:
            _thread = threading.Thread(target=_pass_on, name="hybridrelay logs", daemon=True)
            _thread.start()


def _pass_on() -> None:
    poll = select.poll()
    poll.register(_native.log_fileno(), select.POLLIN)
    while True:
        poll.poll()
        flush()


def flush() -> None:
    """Passes on what waits."""
    for level, target, text, created in _native.log_take():
        name = target.replace("hybridrelay_", "hybridrelay::", 1).replace("::", ".")
        target_logger = logging.getLogger(name)
        number = _LEVELS.get(level, logging.DEBUG)
        if not target_logger.isEnabledFor(number):
            continue
        record = target_logger.makeRecord(target_logger.name, number, "", 0, text, (), None)
        if created is not None:
            record.created = created
            record.msecs = (created - int(created)) * 1000
        try:
            target_logger.handle(record)
        except Exception:  # A handler of the program's must not end the thread.
            logging.lastResort and logging.lastResort.handle(record)


def _forget() -> None:
    """A child has no thread yet, and nothing to say of its parent."""
    global _lock, _collected, _thread
    _lock = threading.Lock()
    _collected = _thread = None


os.register_at_fork(after_in_child=_forget)
# Behind the last of what the program did, while logging still works.
atexit.register(flush)
