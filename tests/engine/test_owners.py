"""Which process is which, and when it is certain that one is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from flujo_nb.engine.errors import LeaseLost, RunHeld
from flujo_nb.engine.store.owners import (
    is_dead,
    is_news,
    is_same,
    lease_lost,
    lock_holder,
    may_take,
    run_held,
    this_process,
)
from flujo_nb.engine.stores import Lease, Owner

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of processes")
ME = this_process("me")
FAR = replace(ME, boot_id="another")


@contextmanager
def child() -> Iterator[tuple[Owner, subprocess.Popen[bytes]]]:
    """A process that waits, as an owner."""
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as one:
        stat = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
        yield replace(ME, pid=one.pid, process_start=stat[19]), one
        if one.poll() is None:
            one.kill()


def test_this_process_lives() -> None:
    assert (ME.pid, ME.label, is_dead(ME)) == (os.getpid(), "me", False)
    assert this_process("me") == ME and is_same(ME, this_process("another label"))


@LINUX
def test_a_process_is_dead_from_the_moment_it_was_killed() -> None:
    with child() as (owner, one):
        assert not is_dead(owner)
        one.kill()
        os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)  # over, but not yet waited for
        assert is_dead(owner)
        one.wait()
        assert is_dead(owner)


@LINUX
def test_a_number_that_went_to_another_process_is_dead() -> None:
    assert is_dead(replace(ME, process_start="1"))
    assert not is_same(ME, replace(ME, process_start="1"))


@pytest.mark.parametrize("field", ["boot_id", "pid_namespace"])
@pytest.mark.parametrize("value", ["another", ""])
def test_of_processes_elsewhere_nothing_is_certain(field: str, value: str) -> None:
    gone = replace(ME, process_start="1")
    far = replace(gone, boot_id=value) if field == "boot_id" else replace(gone, pid_namespace=value)
    assert not is_dead(far)


def test_without_a_start_time_nothing_is_certain() -> None:
    assert not is_dead(replace(ME, process_start=""))


@LINUX
def test_names_of_processes_may_hold_anything(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/cat")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as one:
        stat = Path(f"/proc/{one.pid}/stat").read_text().rpartition(")")[2].split()
        owner = replace(ME, pid=one.pid, process_start=stat[19])
        assert not is_dead(owner)
        one.kill()
        one.wait()
        assert is_dead(owner)


@pytest.mark.parametrize(
    ("holder", "expires", "may"),
    [
        (None, 100.0, True),
        (replace(ME, process_start="1"), 100.0, True),
        (FAR, 100.0, False),
        (FAR, 10.0, True),
        (FAR, 9.0, True),
        (ME, 100.0, False),
        (ME, 9.0, False),
        (replace(ME, label="another"), 9.0, False),
    ],
)
def test_who_may_take_a_run(holder: Owner | None, expires: float, may: bool) -> None:
    if sys.platform == "linux" or holder is None or holder.process_start != "1":
        assert may_take(holder, expires, ME, now=10.0) is may


def test_news_are_answers_that_a_run_does_not_know() -> None:
    answers = {"a": b"1"}
    assert is_news("a", answers, {}) and is_news("a", answers, {"a": b"2"})
    assert not is_news("a", answers, {"a": b"1"}) and not is_news("b", answers, {"b": b"1"})


def test_errors_name_who_has_the_run() -> None:
    held, lost = run_held("r", ME), lease_lost(Lease("r", 1, ME), replace(FAR, label="far"))
    assert isinstance(held, RunHeld) and f"me, process {ME.pid} on {ME.host}" in str(held)
    assert isinstance(lost, LeaseLost) and f"far, process {ME.pid}" in str(lost)
    assert "given back" in str(lease_lost(Lease("r", 1, ME), None))


@LINUX
def test_who_locks_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    path.write_bytes(b"x")
    assert lock_holder([path, tmp_path / "none"]) == "another process"
    code = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-S", "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
        assert one.stdout is not None and one.stdout.readline() == b"locked\n"
        assert lock_holder([tmp_path / "none", path]).startswith(f"process {one.pid} (")
