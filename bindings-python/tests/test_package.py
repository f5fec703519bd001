"""The package as tools see it: types, stubs, documentation."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import types
from pathlib import Path

import hybridrelay
import hybridrelay.httpx
import pytest
from hybridrelay import sync

ROOT = Path(__file__).parent.parent
TARGET = ROOT.parent / "target/python"


def run(*args: str, folder: Path = ROOT) -> None:
    """Runs a module of Python's and shows what it said if it fails."""
    environment = {**os.environ, "MYPYPATH": f"{ROOT}/python:{ROOT}/tests", "PYTHONPATH": f"{ROOT}/python"}
    # Caches are no part of the sources.
    environment |= {"MYPY_CACHE_DIR": f"{TARGET}/mypy", "RUFF_CACHE_DIR": f"{TARGET}/ruff"}
    command = [sys.executable, "-m", *args]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_form_is_that_of_the_house() -> None:
    run("ruff", "check")
    run("ruff", "format", "--check")


def test_types_are_sound() -> None:
    run("mypy", "-p", "hybridrelay")
    run("mypy", "tests")


def test_stubs_tell_what_the_native_half_offers() -> None:
    allowed = str(ROOT / "tests/stubtest-allowlist.txt")
    # It keeps its cache where it runs.
    run("mypy.stubtest", "hybridrelay._native", "--allowlist", allowed, folder=TARGET)


@pytest.mark.parametrize(
    "hang", ["def test_it(): Event().wait()", "def test_it(): Thread(target=Event().wait).start()"]
)
def test_what_hangs_in_a_test_or_behind_it_is_shown_and_ends(tmp_path: Path, hang: str) -> None:
    hanging = tmp_path / "test_hanging.py"
    hanging.write_text(f"from threading import Event, Thread\n\n\n{hang}\n")
    limit = ["-p", "conftest", "-c", str(ROOT / "tests/pytest.ini"), "-o", "faulthandler_timeout=1"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *limit, str(hanging)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}/python:{ROOT}/tests"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "Timeout (0:00:01)!" in done.stderr and "in wait" in done.stderr


def test_what_the_readme_says_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "tests/installed/quickstart.py")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("module", [hybridrelay, hybridrelay.httpx, sync])
def test_everything_public_is_documented(module: types.ModuleType) -> None:
    undocumented = []
    for name in module.__all__:
        if name == "Incoming":
            # A union of types has no place for a text of its own.
            continue
        item = getattr(module, name)
        if inspect.isclass(item):
            members = [
                (f"{name}.{member}", value) for member, value in vars(item).items() if not member.startswith("_")
            ]
        else:
            members = []
        for path, value in [(name, item), *members]:
            if callable(value) or isinstance(value, property):
                # A protocol of asyncio's documents its own methods.
                if not inspect.getdoc(value) and not hasattr(getattr(item, "__base__", None), path.rsplit(".")[-1]):
                    undocumented.append(path)
    assert not undocumented


def test_both_modules_have_the_same_names() -> None:
    # A union of types, and a class with the methods of asyncio.Server.
    shared = {*hybridrelay.__all__} & {*sync.__all__} - {"Incoming", "Server"}
    # Those of httpx, which begin with an `a` where they are awaited.
    awaited = {"aclose", "aread", "aiter_bytes", "aiter_lines", "aiter_text"}
    missing = [
        f"{name}.{member}"
        for name in sorted(shared)
        if inspect.isclass(getattr(hybridrelay, name))
        for member in vars(getattr(hybridrelay, name))
        if not member.startswith("_")
        and not hasattr(getattr(sync, name), member[1:] if member in awaited else member)
        and (name, member) != ("Connection", "into_transport")
    ]
    assert not missing
