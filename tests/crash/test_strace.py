"""What the harness builds on: strace stops a process before the call that it was told, not after.

And it counts for each thread.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.strace import KILLED, counted, options, strace_here

WRITES = """
import os, sys, threading
def write(text):
    for _ in range(5):
        os.write(wanted, text)
        os.write(other, text)
wanted, other = (os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for name in sys.argv[1:])
write(b"m")
thread = threading.Thread(target=write, args=(b"t",))
thread.start()
thread.join()
"""


def traced(folder: Path, inject: str = "") -> tuple[int, str, str]:
    """How a program ends that writes to two files, and what it wrote to either."""
    wanted, other = folder.resolve() / "wanted", folder / "other"
    strace = [strace_here(), "-f", *options(wanted, folder / "log", ("write",), inject)]
    program = [sys.executable, "-c", WRITES, str(wanted), str(other)]
    done = subprocess.run([*strace, *program], stderr=subprocess.DEVNULL)
    return done.returncode, wanted.read_text(), other.read_text()


def test_calls_on_the_files_of_a_store_are_counted_for_each_thread(tmp_path: Path) -> None:
    assert traced(tmp_path) == (0, "mmmmmttttt", "mmmmmttttt")
    assert [dict(calls) for calls in counted(tmp_path / "log").values()] == [{"write": 5}] * 2


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_process_dies_before_the_call_that_was_named(tmp_path: Path, number: int) -> None:
    code, wanted, other = traced(tmp_path, f"signal=KILL:when={number}")
    assert (code, wanted, other) == (KILLED, "m" * (number - 1), "m" * (number - 1))


def test_no_process_dies_when_no_thread_comes_so_far(tmp_path: Path) -> None:
    assert traced(tmp_path, "signal=KILL:when=6")[0] == 0


def test_a_call_that_fails_is_not_made(tmp_path: Path) -> None:
    code, wanted, other = traced(tmp_path, "error=ENOSPC:when=3")
    assert (code, wanted, other) == (1, "mm", "mm")
