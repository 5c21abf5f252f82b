"""File systems that refuse a run's writes and syncs, and what is wrong after that."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from tests.crash.checks import problems
from tests.crash.flows import STORE_FAILED
from tests.crash.kills import LAST, Lane, Place, Point, how_to
from tests.crash.shapes import SHAPES
from tests.crash.strace import Ended, options

KINDS = (("ENOSPC", ""), ("EIO", ""), ("EIO", "+"))


class Fault(NamedTuple):
    """An error at a call: once, or from then on (``lasting`` is ``+``)."""

    point: Point
    error: str
    lasting: str

    def __str__(self) -> str:
        where = f"{self.point.phase} {self.point.call}"
        return f"{where} {self.error} at {self.point.number}{self.lasting}"


class Met(NamedTuple):
    """What came of a fault: whether it ended the run, and what was found wrong."""

    fault: Fault
    ended_run: bool
    found: list[str]


def faults_of(lane: Lane, shape: str) -> list[Fault]:
    """Every write and sync of a run, and of answering it, with what may happen there."""
    asks = SHAPES[shape].answers and not SHAPES[shape].in_doubt
    points = lane.points(shape, ("run", "answer") if asks else ("run",))
    return [Fault(point, *kind) for point in points for kind in KINDS]


def met(lane: Lane, shape: str, faults: Iterable[Fault]) -> Iterator[Met]:
    """Runs that meet one fault each, and are resumed without it."""
    for fault in faults:
        twin = lane.twin(shape)
        point = fault.point
        place, log = lane.begun(shape, point.phase)
        inject = f"error={fault.error}:when={point.number}{fault.lasting}"
        strace = options(place.store, log, (point.call,), inject)
        argv = place.argv(shape, *how_to(point.phase))
        ended = lane.dies.run(argv, place.folder / "out", strace=strace)
        before = place.evidence()
        found = [*_wrong_end(ended, place), *_damage(place)]
        end = lane.finish(shape, place, before)
        wrong = problems(SHAPES[shape], twin, before, place.evidence(), end.result)
        yield Met(fault, ended.code == STORE_FAILED, [*found, *end.found, *wrong])


def _wrong_end(ended: Ended, place: Place) -> list[str]:
    """What is wrong with how the process ended: it is to name the file and the cause."""
    if ended.code == STORE_FAILED:
        *logged, last = ended.out.splitlines()  # what fails in the background is logged
        if any("Traceback" in line or "never retrieved" in line for line in logged):
            return [f"it says more than the error: …{ended.out[-LAST:]}"]
        said = json.loads(last)
        text: str = said["message"]
        causes = ("full", "I/O", "Input/output", "No space")
        if said["error"] != "StoreFailed" or str(place.store.parent) not in text:
            return [f"the error is {said}"]
        return [] if any(cause in text for cause in causes) else [f"no cause is named: {text}"]
    if ended.code == 0 and json.loads(ended.out)["status"] in ("completed", "paused"):
        return []  # such as a log that cannot be made shorter: nothing is lost
    return [f"ended with {ended.code}: …{ended.out[-LAST:]}"]


def _damage(place: Place) -> Sequence[str]:
    """What sqlite finds wrong with the file, as it was left."""
    if not place.copy.exists():
        return ()
    with closing(sqlite3.connect(place.copy)) as connection:
        checked = connection.execute("PRAGMA integrity_check").fetchall()
    return () if checked == [("ok",)] else [f"the store is damaged: {checked}"]
