"""Processes that want one run at the same time: one has it, and whoever lost it cannot write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from flujo_nb.engine.store.sqlite import SqliteStore
from tests.crash.checks import close_now
from tests.crash.racers import Command
from tests.crash.strace import ROOT

ROUNDS = 200
BEGINNINGS = 50
AHEAD_S = 0.003
LIMIT_S = 20


class Racer:
    """A process of `tests.crash.racers`."""

    def __init__(self, folder: Path, lease_s: float = 60.0, kind: str = "sound") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.racers", str(folder), str(lease_s), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def told(self) -> Any:
        """What it says next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"a racer has ended: {self.process.poll()}"
        return json.loads(line)

    def tell(self, command: Command) -> None:
        """Have it carry out a command."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(command)}\n")
        self.process.stdin.flush()

    def asked(self, command: Command) -> Any:
        """What comes of a command."""
        self.tell(command)
        return self.told()

    def __enter__(self) -> Self:
        self.name = self.told()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.communicate()


@contextmanager
def racers(count: int, folder: Path, lease_s: float = 60.0, kind: str = "sound") -> Iterator[Any]:
    """As many processes, on one store."""
    with ExitStack() as stack:
        made = [Racer(folder, lease_s, kind) for _ in range(count)]
        yield [stack.enter_context(one) for one in made]


def together(racing: Sequence[Racer], commands: Sequence[Command]) -> list[Any]:
    """What comes of commands that processes carry out at the same moment."""
    at = time.monotonic() + AHEAD_S
    for racer, command in zip(racing, commands, strict=True):
        racer.tell({**command, "at": at})
    return [racer.told() for racer in racing]


def effects(folder: Path, run_id: str) -> list[tuple[str, int]]:
    """Which steps of a run ran, in which process, in order."""
    lines = (line.split() for line in (folder / "effects").read_text().splitlines())
    return [(path, int(pid)) for run, path, pid in lines if run == run_id]


def status(folder: Path, run_id: str) -> str:
    """How a run stands in the store."""
    reader = SqliteStore(folder / "runs.db")
    try:
        return reader.run(run_id).status
    finally:
        close_now(reader)


def seen(folder: Path, step: str, pid: int) -> None:
    """Wait until a process has begun a step."""
    end = time.monotonic() + LIMIT_S
    while f" {step} {pid}" not in (folder / "effects").read_text():
        assert time.monotonic() < end, f"{step} did not begin in process {pid}"
        time.sleep(0.005)


def test_eight_processes_that_resume_one_run_execute_it_once(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    with racers(8, tmp_path) as racing:
        for number in range(ROUNDS):
            run = f"r{number}"
            failed = racing[number % 8].asked({"flow": "resumed", "run_id": run, "fails": True})
            assert failed.get("status") == "failed", failed
            before = len(effects(tmp_path, run))
            ends = together(racing, [{"flow": "resumed", "run_id": run}] * 8)
            ran = effects(tmp_path, run)[before:]
            assert [path for path, _ in ran] == ["shaky", "b", "c"], (run, ran, ends)
            assert len({pid for _, pid in ran}) == 1, (run, ran)
            for end in ends:
                held = end.get("error") == "RunHeld"
                assert held or end == {"status": "completed", "output": 5}, (run, end)
                outcomes[end.get("error", "completed")] += 1
    assert outcomes["completed"] >= ROUNDS
    assert outcomes["RunHeld"] > 0, f"nobody ever met another: {outcomes}"
    print(f"{ROUNDS} rounds of eight: {dict(outcomes)}")


def test_eight_processes_that_begin_one_run_execute_it_once(tmp_path: Path) -> None:
    with racers(8, tmp_path) as racing:
        for number in range(BEGINNINGS):
            run = f"r{number}"
            ends = together(racing, [{"flow": "resumed", "run_id": run}] * 8)
            ran = effects(tmp_path, run)
            assert [path for path, _ in ran] == ["a", "shaky", "b", "c"], (run, ran, ends)
            assert len({pid for _, pid in ran}) == 1, (run, ran)
            for end in ends:
                held = end.get("error") == "RunHeld"
                assert held or end == {"status": "completed", "output": 5}, (run, end)


class Woken(NamedTuple):
    """What comes of two processes of which the first sleeps longer than its lease lasts."""

    first: Any
    second: Any
    taker: int
    ran: list[str]
    rows: list[Any]
    rows_after: list[Any]


def stopped_and_woken(folder: Path, *, at_rest: bool, kind: str = "sound") -> Woken:
    """Wake the first while the second executes the run, or after that gave it back."""
    command: Command = {"flow": "stopped", "run_id": "one"}
    (folder / "effects").touch()
    with racers(2, folder, 0.3, kind) as (first, second):
        first.tell(command)
        seen(folder, "held", first.process.pid)
        os.kill(first.process.pid, signal.SIGSTOP)
        time.sleep(0.5)
        (folder / "held").touch()
        second.tell(command)
        seen(folder, "kept", second.process.pid)
        if at_rest:
            (folder / "kept").touch()
            said = second.told()
        before = rows(folder, "one")
        os.kill(first.process.pid, signal.SIGCONT)
        if kind != "sound":
            (folder / "kept").touch()
        woken = first.told()
        after = rows(folder, "one")
        if not at_rest:
            (folder / "kept").touch()
            said = second.told()
        names = {first.process.pid: "first", second.process.pid: "second"}
    ran = [f"{path} {names[pid]}" for path, pid in effects(folder, "one")]
    return Woken(woken, said, second.process.pid, ran, before, after)


ONCE_EACH = ["a first", "held first", "held second", "kept second", "b second"]


@pytest.mark.parametrize("number", range(5))
def test_an_owner_that_wakes_after_another_took_its_run_cannot_write(
    tmp_path: Path, number: int
) -> None:
    woken = stopped_and_woken(tmp_path, at_rest=False)
    assert woken.first.get("error") == "LeaseLost", woken.first
    assert f"process {woken.taker} " in woken.first["message"], woken.first
    assert woken.second == {"status": "completed", "output": 5}
    assert woken.ran == ONCE_EACH
    assert woken.rows == woken.rows_after


def test_an_owner_that_wakes_after_another_ended_its_run_cannot_write(tmp_path: Path) -> None:
    woken = stopped_and_woken(tmp_path, at_rest=True)
    assert woken.first.get("error") == "LeaseLost", woken.first
    assert woken.second == {"status": "completed", "output": 5}
    assert woken.ran == ONCE_EACH
    assert woken.rows == woken.rows_after


def rows(folder: Path, run_id: str) -> list[Any]:
    """What a run consists of."""
    reader = SqliteStore(folder / "runs.db")
    try:
        return list(reader.rows(run_id))
    finally:
        close_now(reader)


def test_a_store_without_a_fence_is_noticed(tmp_path: Path) -> None:
    woken = stopped_and_woken(tmp_path, at_rest=True, kind="unfenced")
    assert woken.ran != ONCE_EACH
    assert woken.rows != woken.rows_after


def test_two_answers_at_once_always_take_the_run_to_its_end(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    asked = {"l": 30, "r": 12}
    with racers(2, tmp_path) as racing:
        for number in range(ROUNDS):
            run = f"r{number}"
            paused = racing[number % 2].asked({"flow": "asking", "run_id": run})
            assert paused.get("status") == "paused", paused
            answers: list[Command] = [
                {
                    "flow": "asking",
                    "run_id": run,
                    "pause": f"fan/:{side}/ask_{side}",
                    "answer": answer,
                }
                for side, answer in asked.items()
            ]
            ends = together(racing, answers)
            assert status(tmp_path, run) == "completed", (run, ends)
            assert [path for path, _ in effects(tmp_path, run)] == ["z"], (run, ends)
            assert any(end.get("output") == 43 for end in ends), (run, ends)
            outcomes[" and ".join(sorted(end.get("error") or end["status"] for end in ends))] += 1
    print(f"{ROUNDS} rounds of two answers: {dict(outcomes)}")
