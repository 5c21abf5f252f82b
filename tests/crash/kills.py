"""Kills of one flow shape at every point, or at some, each followed by resuming to the end."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.crash.checks import RUN_ID, Evidence, Twin, evidence, problems
from tests.crash.shapes import SHAPES, Shape
from tests.crash.strace import CALLS, KILLED, Ended, Program, counted, options

MOST_RESUMES = 6
LAST = 400  # characters of what a process printed


class Point(NamedTuple):
    """Where a process dies: as it enters ``call`` for the ``number``-th time, in one thread.

    ``phase`` is what it does: ``run`` is a new run, ``aside`` one that commits on another thread
    (whose calls are counted), ``answer`` answers the run's questions, ``resume`` goes on with a run
    that was killed half-way.
    """

    phase: str
    call: str
    number: int


@dataclass(frozen=True)
class Kill:
    """A kill, and what was found wrong after it; ``resumes`` is how often the run was resumed."""

    point: Point
    found: Sequence[str]
    resumes: int


@dataclass(frozen=True)
class Place:
    """Where one run keeps its store and its side effects."""

    folder: Path

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.folder / "store" / "runs.db"

    @property
    def effects(self) -> Path:
        """The file of side effects."""
        return self.folder / "effects"

    @property
    def copy(self) -> Path:
        """The store's file as it was when the last `evidence` was taken."""
        return self.folder / "copy" / self.store.name

    def argv(self, shape: str, *more: str) -> list[str]:
        """The command line of the program that runs, or resumes, the run here."""
        places = ["--store", str(self.store), "--effects", str(self.effects)]
        return [shape, "--run-id", RUN_ID, *places, *more]

    def evidence(self) -> Evidence:
        """What there is here now."""
        return evidence(self.store, self.effects, self.copy.parent)


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: its syncs cost nothing, and strace sees them too."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="flujo-crash-", dir=memory if memory.is_dir() else None
    ) as folder:
        yield Path(folder)


class Lane:
    """Kills one process after the other, in a folder of its own.

    Runs are resumed by a program whose hashes have another seed than those of the one that died.
    ``more`` are further options of `tests.crash.flows`.
    """

    def __init__(self, folder: Path, *more: str) -> None:
        self._folder = folder.resolve() / "run"
        self._more = more
        self.dies, self.resumes = Program(1), Program(2)
        self._twins: dict[str, Twin] = {}
        self._halves: dict[str, Point] = {}

    def close(self) -> None:
        """Let its programs end."""
        self.dies.close()
        self.resumes.close()

    def place(self) -> Place:
        """An empty place; the one before it is no more."""
        shutil.rmtree(self._folder, ignore_errors=True)
        place = Place(self._folder)
        place.store.parent.mkdir(parents=True, mode=0o700)
        return place

    def twin(self, name: str) -> Twin:
        """A run that nobody kills."""
        if name not in self._twins:
            place = self.place()
            ended = self.finish(name, place)
            assert not ended.found, ended.found
            self._twins[name] = Twin(ended.result, place.evidence())
        return self._twins[name]

    def points(self, name: str, phases: Sequence[str]) -> list[Point]:
        """Where a process may die, as counted in one that does not."""
        found = []
        for phase in phases:
            place, log = self.begun(name, phase)
            argv = place.argv(name, *how_to(phase), *self._more)
            ended = self.dies.run(
                argv,
                place.folder / "out",
                strace=options(place.store, log),
                aside=phase == "aside",
            )
            assert ended.code == 0, ended.out
            threads = counted(log).values()
            found += [
                Point(phase, call, number)
                for call in CALLS
                for number in range(1, 1 + max((seen[call] for seen in threads), default=0))
            ]
        return found

    def sample(self, name: str, size: int, seed: int) -> Iterator[Kill]:
        """``size`` kills, at points chosen by ``seed``."""
        points = self.points(name, phases_of(name))
        for point in Random(f"{name}{seed}").sample(points, min(size, len(points))):
            kill = self.kill(name, point)
            if kill is not None:
                yield kill

    def every(self, name: str, phases: Sequence[str] | None = None) -> Iterator[Kill]:
        """A kill at every point: of each call and phase, until a run ends that was not killed."""
        for phase in phases or phases_of(name):
            made = {point.call for point in self.points(name, (phase,))}
            for call in (one for one in CALLS if one in made):
                for number in count(1):
                    kill = self.kill(name, Point(phase, call, number))
                    if kill is None:
                        break
                    yield kill

    def kill(self, name: str, point: Point) -> Kill | None:
        """One kill, and all that follows; ``None`` when the process ended before."""
        twin = self.twin(name)
        place, log = self.begun(name, point.phase)
        ended = self._die(name, place, log, point)
        if ended.code != KILLED:
            assert ended.code == 0, (name, point, ended)
            return None
        before = place.evidence()
        end = self.finish(name, place, before)
        end.found.extend(self._told_otherwise(name, place, end.result))
        after = place.evidence()
        crashes = 2 if point.phase == "resume" else 1
        found = problems(SHAPES[name], twin, before, after, end.result, crashes)
        return Kill(point, [*end.found, *found], end.resumes)

    def _told_otherwise(self, name: str, place: Place, result: Any) -> list[str]:
        """What a run that has ended tells of itself when it is asked again, if that is new."""
        if result is None:
            return []
        ended = self.resumes.run(place.argv(name, *self._more), place.folder / "out")
        if ended.code != 0:
            return [f"asking again ended with {ended.code}: …{ended.out[-LAST:]}"]
        again = json.loads(ended.out)
        return [
            f"the {part} is {again[part]} when asked again; it was {result[part]}"
            for part in result
            if again[part] != result[part]
        ]

    def begun(self, name: str, phase: str) -> tuple[Place, Path]:
        """A place where a run stands as its phase wants it."""
        half = self._half(name) if phase == "resume" else None
        place = self.place()
        log = place.folder / "strace"
        if phase == "answer":
            ended = self.resumes.run(place.argv(name), place.folder / "out")
            assert ended.code == 0, ended
        elif half is not None:
            ended = self._die(name, place, log, half)
            assert ended.code == KILLED, ended
        return place, log

    def _half(self, name: str) -> Point:
        """Where a process dies that has done half of its writes."""
        if name not in self._halves:
            writes = [one for one in self.points(name, ("run",)) if one.call == "pwrite64"]
            self._halves[name] = writes[len(writes) * 2 // 3]
        return self._halves[name]

    def _die(self, name: str, place: Place, log: Path, point: Point) -> Ended:
        argv = place.argv(name, *how_to(point.phase), *self._more)
        inject = f"signal=KILL:when={point.number}"
        strace = options(place.store, log, (point.call,), inject)
        out = place.folder / "out"
        return self.dies.run(argv, out, strace=strace, aside=point.phase == "aside")

    def finish(self, name: str, place: Place, before: Evidence | None = None) -> End:
        """Resume until the run has ended; questions are answered that nobody answered before."""
        found: list[str] = []
        how: tuple[str, ...] = ()
        result: Any = None
        for resumes in range(1, MOST_RESUMES + 1):
            argv = place.argv(name, *how, *self._more)
            ended = self.resumes.run(argv, place.folder / "out")
            if ended.code != 0:
                said = f"resuming ended with {ended.code}: …{ended.out[-LAST:]}"
                return End(None, [said], resumes)
            result = json.loads(ended.out)
            if result["status"] != "paused":
                return End(result, found, resumes)
            if before is not None:
                again = before.answers & {*result["paused"]}
                found += [f"{path} asks again after it was answered" for path in again]
            how = ("--answer",)
        return End(result, [*found, "the run does not come to its end"], MOST_RESUMES)


class End(NamedTuple):
    result: Any
    found: list[str]
    resumes: int


def how_to(phase: str) -> tuple[str, ...]:
    """The option that has a process do what a phase asks for."""
    return (f"--{phase}",) if phase in ("answer", "aside") else ()


def phases_of(name: str) -> Sequence[str]:
    """What the processes of a shape do when they die."""
    shape: Shape = SHAPES[name]
    asks = shape.answers and not shape.in_doubt
    more = [("aside", bool(shape.concurrent)), ("answer", bool(asks))]
    return ("run", *(phase for phase, is_so in more if is_so), "resume")
