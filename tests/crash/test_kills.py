"""Processes that die at a write or sync of the store, and runs that go on from there.

Three shapes at every point, the others at some; ``make kill`` does all at every point.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.kills import Kill, Lane, Place, fast_folder
from tests.crash.shapes import SHAPES
from tests.crash.strace import CALLS, KILLED, ROOT, options, strace_here

WHOLE = ("sequence", "hitl", "context")
SAMPLED = tuple(name for name in SHAPES if name not in WHOLE)
SAMPLE = 20
SEED = 4
SHOWN = 5


@pytest.fixture(scope="module")
def lane() -> Iterator[Lane]:
    with fast_folder() as folder, closing(Lane(folder)) as one:
        yield one


def wrong(kills: list[Kill]) -> str:
    found = [
        f"{' '.join(map(str, one.point))}: {'; '.join(one.found)}" for one in kills if one.found
    ]
    return "\n".join(found[:SHOWN])


@pytest.mark.parametrize("shape", WHOLE)
def test_killed_at_every_point_a_run_ends_as_if_it_had_not_been(
    lane: Lane, shape: str, record_property: Callable[[str, object], None]
) -> None:
    kills = list(lane.every(shape, ("run", "answer") if shape == "hitl" else ("run",)))
    record_property("kills", len(kills))
    assert not wrong(kills), wrong(kills)
    assert len(kills) > 30


@pytest.mark.parametrize("shape", SAMPLED)
def test_killed_at_some_point_a_run_ends_as_if_it_had_not_been(
    lane: Lane, shape: str, record_property: Callable[[str, object], None]
) -> None:
    kills = list(lane.sample(shape, SAMPLE, SEED))
    record_property("kills", len(kills))
    assert not wrong(kills), wrong(kills)
    assert len(kills) > SAMPLE / 2


@pytest.mark.parametrize("fault", ["late", "torn"])
def test_a_broken_store_is_noticed(tmp_path: Path, fault: str) -> None:
    with closing(Lane(tmp_path, "--broken", fault)) as broken:
        kills = broken.every("sequence", ("run",))
        assert any(kill.found for kill in kills), f"{fault}: nothing was found wrong"


def test_all_there_is_works_with_a_new_interpreter_each_time_too(tmp_path: Path) -> None:
    place = Place(tmp_path.resolve())
    place.store.parent.mkdir(mode=0o700)
    program = [sys.executable, "-m", "tests.crash.flows", *place.argv("hitl")]
    strace = [
        strace_here(),
        "-f",
        *options(place.store, tmp_path / "log", CALLS, "signal=KILL:when=20"),
    ]
    dead = subprocess.run([*strace, *program], cwd=ROOT, capture_output=True, text=True)
    assert dead.returncode == KILLED, dead.stderr
    ends = [
        json.loads(subprocess.run([*program, *more], cwd=ROOT, capture_output=True).stdout)
        for more in ((), ("--answer",), ())
    ]
    assert [end["status"] for end in ends] == ["paused", "completed", "completed"]
    assert ends[1]["output"] == ends[2]["output"] == 42
