"""Runs of `tests.crash.flows` that die, or get errors, at a chosen call on the store's files.

strace stops the process as it enters the n-th such call of a thread: one that is killed there has
not made the call, so the state after a call is met where the next one would begin. It counts for
each thread and each name of a call. Only calls on the store's own files count.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
WRITES = ("pwrite64", "write", "ftruncate", "link", "linkat", "unlink")
SYNCS = ("fdatasync", "fsync")
CALLS = (*WRITES, *SYNCS)
KILLED = -9
_CALL = re.compile(r"^(?:(\d+) +)?(\w+)\(", re.MULTILINE)


class Ended(NamedTuple):
    """How a process ended: its exit code (negative for a signal) and what it printed."""

    code: int
    out: str


class Program:
    """A process that forks one for each command line of `tests.crash.flows`.

    ``seed`` is that of its hashes: what one process wrote another with another seed reads.
    """

    def __init__(self, seed: int, module: str = "tests.crash.flows") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        )

    def run(
        self, argv: Sequence[str], out: Path, *, strace: Sequence[str] = (), aside: bool = False
    ) -> Ended:
        """Run one command line, under strace with the options given, if any are.

        All threads are traced, or with ``aside`` only the second, which has to exist by then.
        """
        pid = self._tell(json.dumps({"argv": list(argv), "out": str(out)}))["pid"]
        which = ["-p", str(_second_thread(pid))] if aside else ["-f", "-p", str(pid)]
        tracer = _attached([*which, *strace]) if strace else None
        code = self._tell("go")["code"]
        if tracer is not None:
            tracer.communicate()
        return Ended(code, out.read_text())

    def _tell(self, line: str) -> dict[str, int]:
        told, said = self._process.stdin, self._process.stdout
        assert told is not None and said is not None
        told.write(f"{line}\n")
        told.flush()
        answer = said.readline()
        assert answer, "the program that forks the others has ended"
        heard: dict[str, int] = json.loads(answer)
        return heard

    def close(self) -> None:
        """Let it end."""
        self._process.communicate()


def strace_here() -> str:
    """The program, which has to be there: no test is skipped."""
    found = shutil.which("strace")
    assert found, "the crash tests need strace: apt install strace"
    return found


def _second_thread(pid: int) -> int:
    end = time.monotonic() + 10
    while len(threads := sorted(int(one.name) for one in Path(f"/proc/{pid}/task").iterdir())) < 2:
        assert time.monotonic() < end, f"process {pid} has no second thread"
        time.sleep(0.001)
    return threads[1]


def _attached(options: Sequence[str]) -> subprocess.Popen[str]:
    tracer = subprocess.Popen([strace_here(), *options], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    first = tracer.stderr.readline()
    assert "attached" in first, f"strace cannot attach: {first}{tracer.stderr.read()}"
    return tracer


def options(store: Path, log: Path, calls: Sequence[str] = CALLS, inject: str = "") -> list[str]:
    """The options of strace for ``calls`` on the files of ``store``, written to ``log``.

    ``inject`` is what to do at which of them: ``signal=KILL:when=3``, ``error=EIO:when=2+``.
    """
    names = [store.parent, *(f"{store}{end}" for end in ("", "-wal", "-shm", "-journal"))]
    files = [part for name in names for part in ("-P", str(name))]
    what = ["-e", f"inject={','.join(calls)}:{inject}"] if inject else []
    return ["-o", str(log), *files, "-e", f"trace={','.join(calls)}", *what]


def counted(log: Path) -> dict[str, Counter[str]]:
    """The calls that strace wrote to ``log``: for each thread, how often by name."""
    found: dict[str, Counter[str]] = {}
    for thread, call in _CALL.findall(log.read_text()):
        found.setdefault(thread, Counter())[call] += 1
    return found
