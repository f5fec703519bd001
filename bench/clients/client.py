"""What the measured clients in Python have in common; see client.h for what they are told and what they answer."""

import os
import sys


def told(name):
    value = os.environ.get(name)
    if value is None:
        sys.exit(f"{name} is not set")
    return value


def case_and_size():
    """What the program is started with."""
    case, size = sys.argv[1:]
    return case, int(size)


def counts():
    """How many units are to be done, again and again until the end. Reading blocks the program, which has nothing else to do."""
    answer = "ready"
    while True:
        print(answer, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield int(line)
        answer = "done"
