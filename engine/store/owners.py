"""Which process is which: who executes a run, whether that process still lives, who locks a file.

A process is dead when its number is free, or has gone to another process, on the same running
system and in the same namespace of process numbers. Of a process elsewhere nothing is known: its
lease says how long to wait for it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import LeaseLost, RunHeld
from ..stores import Lease, Owner

_PROC = Path("/proc")
_STATE, _START = 0, 19  # fields of /proc/<pid>/stat, counted from the one after the name
_OVER = ("Z", "X")  # dead, though nobody has asked yet how it ended


def this_process(label: str = "") -> Owner:
    """The process that calls, as an owner of runs.

    ``label`` is for humans. Where the system does not tell its boot id and its namespaces, those
    are empty, and nobody takes the process for dead before its leases expire.
    """
    pid = os.getpid()
    stat = _stat(pid)
    return Owner(
        host=platform.node(),
        boot_id=_boot_id(),
        pid_namespace=_pid_namespace(),
        pid=pid,
        process_start=stat[_START] if stat else "",
        label=label,
    )


def is_dead(owner: Owner) -> bool:
    """Whether it is certain that ``owner`` has ended."""
    here = owner.boot_id == _boot_id() and owner.pid_namespace == _pid_namespace()
    if not (here and owner.boot_id and owner.pid_namespace and owner.process_start):
        return False
    stat = _stat(owner.pid)
    return stat is None or stat[_STATE] in _OVER or stat[_START] != owner.process_start


def is_same(one: Owner, other: Owner) -> bool:
    """Whether two owners are one process, whatever their labels."""
    return (one.host, one.boot_id, one.pid_namespace, one.pid, one.process_start) == (
        other.host,
        other.boot_id,
        other.pid_namespace,
        other.pid,
        other.process_start,
    )


def may_take(holder: Owner | None, expires: float, taker: Owner, now: float) -> bool:
    """Whether ``taker`` may have a run from ``holder``, whose lease ends at ``expires``.

    The times are in seconds since 1970. A process never takes a run from itself: one run has one
    execution, whoever asks twice.
    """
    if holder is None or is_dead(holder):
        return True
    return expires <= now and not is_same(holder, taker)


def lease_lost(lease: Lease, taker: Owner | None) -> LeaseLost:
    """The error of somebody who writes with ``lease`` to what ``taker`` has now."""
    by = f"{taker} took it" if taker is not None else "it was given back or deleted"
    return LeaseLost(f"Run {lease.run_id!r} is no longer that of {lease.owner}: {by}.")


def run_held(run_id: str, holder: Owner | None) -> RunHeld:
    """The error of somebody who wants a run that ``holder`` has."""
    return RunHeld(f"Run {run_id!r} is being executed by {holder}. Wait for it, or end it there.")


def is_news(pause: str, answers: Mapping[str, bytes], known: Mapping[str, bytes]) -> bool:
    """Whether a pause has an answer that its run does not know of."""
    return pause in answers and answers[pause] != known.get(pause)


def lock_holder(files: Iterable[Path]) -> str:
    """Who has locked one of ``files`` for writing, in words; "another process" if nobody knows."""
    try:
        inodes = {str(file.stat().st_ino) for file in files if file.exists()}
        locks = (_PROC / "locks").read_text(encoding="ascii")
    except OSError:
        return "another process"
    for line in locks.splitlines():
        match line.split():
            case [_, "POSIX", _, "WRITE", pid, place, *_] if place.split(":")[-1] in inodes:
                return f"process {pid}{_command(pid)}"
    return "another process"


def _command(pid: str) -> str:
    try:
        return f" ({(_PROC / pid / 'comm').read_text(encoding='utf-8', errors='replace').strip()})"
    except OSError:
        return ""


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name, which may hold blanks and brackets itself."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return ""
