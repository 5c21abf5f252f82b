"""What is held against a run that was killed: its store, its side effects, its end, its twin."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flujo_nb.engine.errors import NoSuchRun
from flujo_nb.engine.store.sqlite import SqliteStore
from flujo_nb.engine.stores import Row, RowKind
from tests.crash.shapes import Shape

RUN_ID = "killed"


@dataclass(frozen=True)
class Evidence:
    """What there was at one moment: the store's rows and answers, and the side effects in order."""

    rows: Sequence[Row]
    answers: frozenset[str]
    effects: Sequence[str]

    @property
    def finished(self) -> Mapping[str, Row]:
        """The newest end of each frame that ended, by path."""
        return {row.path: row for row in self.rows if row.kind == RowKind.FINISHED}

    @property
    def succeeded(self) -> frozenset[str]:
        """The paths of the frames that are recorded with their value."""
        return frozenset(path for path, row in self.finished.items() if row.status == "success")

    @property
    def runs(self) -> Counter[str]:
        """How often each step ran."""
        return Counter(self.effects)


@dataclass(frozen=True)
class Twin:
    """A run of the same shape that nobody killed: what it printed last, and all it left behind."""

    result: Any
    evidence: Evidence


def evidence(store: Path, effects: Path, copy: Path) -> Evidence:
    """What there is now. The store is read in ``copy``, so that looking at it repairs nothing."""
    lines = effects.read_text().splitlines() if effects.exists() else []
    rows, answers = _stored(store, copy)
    return Evidence(rows, answers, lines)


def _stored(store: Path, copy: Path) -> tuple[Sequence[Row], frozenset[str]]:
    if not store.exists():
        return (), frozenset()
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(mode=0o700)
    for end in ("", "-wal", "-journal"):
        if Path(f"{store}{end}").exists():
            shutil.copy2(f"{store}{end}", copy / f"{store.name}{end}")
    reader = SqliteStore(copy / store.name)
    try:
        return reader.rows(RUN_ID), frozenset(reader.answers(RUN_ID))
    except NoSuchRun:
        return (), frozenset()
    finally:
        close_now(reader)


def close_now(reader: SqliteStore) -> None:
    """Close a store where no event loop runs."""
    with suppress(StopIteration):
        reader.aclose().send(None)


def told(row: Row) -> tuple[object, ...]:
    """What a row says, without what may differ from run to run."""
    digests = [digest and digest.hex()[:8] for digest in (row.definition, row.input)]
    return (row.path, row.name, row.status, *digests)


def problems(
    shape: Shape, twin: Twin, before: Evidence, after: Evidence, result: Any, crashes: int = 1
) -> list[str]:
    """What is wrong with a run that was killed ``crashes`` times, and then went on to its end."""
    return [
        *_not_durable(shape, twin, before),
        *_run_again(shape, before, after),
        *_run_too_often(shape, twin, after, crashes),
        *_lost(before, after),
        *_unlike(twin, after),
        *_other_end(twin.result, result, shape.uncertain * crashes),
    ]


def _not_durable(shape: Shape, twin: Twin, before: Evidence) -> list[str]:
    """What had to be recorded at the kill, and was not.

    A step that has begun says that all is durable that it depends on: to those after it, that is
    the acknowledgement.
    """
    return [
        f"{path} was not recorded when {later} began"
        for later in before.runs
        for path in _needed(shape, twin, later)
        if path not in before.finished
    ]


def _needed(shape: Shape, twin: Twin, later: str) -> Sequence[str]:
    """What is recorded, in the twin, before the step at ``later`` begins."""
    ran = list(twin.evidence.effects)
    if later not in ran:
        return ()
    begun = ran.index(later)
    return [
        path
        for path in twin.evidence.finished
        if not within(later, path)
        and not any(within(path, one) or within(later, one) for one in shape.behind)
        and not _side_by_side(shape, path, later)
        and any(within(one, path) for one in ran)
        and max(at for at, one in enumerate(ran) if within(one, path)) < begun
    ]


def _side_by_side(shape: Shape, one: str, other: str) -> bool:
    """Whether nothing says which of two frames ends before the other begins."""
    shared = 0
    ours, theirs = one.split("/"), other.split("/")
    while shared < min(len(ours), len(theirs)) and ours[shared] == theirs[shared]:
        shared += 1
    return "/".join(ours[:shared]) in shape.concurrent


def _run_again(shape: Shape, before: Evidence, after: Evidence) -> list[str]:
    """What was recorded with its value and ran nevertheless."""
    return [
        f"{path} was recorded and ran again: {count} times, then {after.runs[path]}"
        for path, count in before.runs.items()
        if _is_recorded(shape, before, path) and after.runs[path] != count
    ]


def _is_recorded(shape: Shape, before: Evidence, path: str) -> bool:
    if path in before.succeeded:
        return True
    if any(within(path, one) for one in shape.behind):
        return False  # it may still have been at work when all around it had ended
    return any(within(path, one) for one in before.succeeded)


def _run_too_often(shape: Shape, twin: Twin, after: Evidence, crashes: int) -> list[str]:
    """Steps that ran more often than once, and once more for each crash; or not at all."""
    found = []
    for path in twin.evidence.runs.keys() | after.runs.keys():
        expected = twin.evidence.runs[path]
        in_doubt = path in shape.in_doubt
        most = expected if in_doubt else expected + crashes
        least = 0 if in_doubt else expected
        if not least <= after.runs[path] <= most:
            found.append(f"{path} ran {after.runs[path]} times; its twin's {expected}")
    return found


def _lost(before: Evidence, after: Evidence) -> list[str]:
    """Ends and answers that were there at the kill, and are not any more, or are others."""
    found = [
        f"{path}: the end that was recorded is gone or another"
        for path in before.succeeded
        if path not in after.finished or told(after.finished[path]) != told(before.finished[path])
    ]
    return [*found, *(f"the answer at {path} is gone" for path in before.answers - after.answers)]


def _unlike(twin: Twin, after: Evidence) -> list[str]:
    """Where the history in the store is another than the twin's."""
    found = []
    for path in twin.evidence.finished.keys() | after.finished.keys():
        ours, theirs = after.finished.get(path), twin.evidence.finished.get(path)
        if ours is None or theirs is None or told(ours) != told(theirs):
            ends = [row and told(row) for row in (ours, theirs)]
            found.append(f"{path} ended as {ends[0]}; its twin as {ends[1]}")
    return found


def _other_end(theirs: Any, ours: Any, uncertain: int) -> list[str]:
    """Where the result is another than the twin's; it may have spent ``uncertain`` tokens more."""
    if ours is None:
        return []  # why there is none was said already
    found = []
    for name, wanted in theirs.items():
        more = uncertain if name == "tokens" else 0
        if ours[name] != wanted and not (more and wanted < ours[name] <= wanted + more):
            found.append(f"the {name} is {ours[name]}; its twin's {wanted}")
    return found


def within(path: str, around: str) -> bool:
    """Whether the frame at ``path`` is, or runs in, the one at ``around``."""
    return around in ("", path) or path.startswith(f"{around}/")
