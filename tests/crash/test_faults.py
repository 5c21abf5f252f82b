"""File systems that refuse: a full disk and input/output errors at the store's writes and syncs.

What could not be written is not acknowledged, the error says where and why, the store stays
readable, and a run goes on once the fault is gone. ``make kill`` does all shapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from random import Random

import pytest

from tests.crash.faults import Fault, faults_of, met
from tests.crash.flows import STORE_FAILED
from tests.crash.kills import Lane, fast_folder
from tests.crash.shapes import SHAPES
from tests.crash.strace import options

WHOLE = ("sequence", "fallback", "once")
SAMPLED = tuple(name for name in SHAPES if name not in WHOLE)
SAMPLE = 8
SEED = 4
SHOWN = 5


@pytest.fixture(scope="module")
def lane() -> Iterator[Lane]:
    with fast_folder() as folder, closing(Lane(folder)) as one:
        yield one


def wrong_after(lane: Lane, shape: str, faults: Sequence[Fault]) -> str:
    """What is wrong after the faults, as text: empty, if all is well."""
    every = list(met(lane, shape, faults))
    ended = sum(one.ended_run for one in every)
    print(f"{shape}: {len(faults)} faults, of which {ended} ended the run")
    assert ended > len(faults) / 3, "the faults are not where the store writes"
    found = [f"{one.fault}: {'; '.join(one.found)}" for one in every if one.found]
    return "\n".join([f"{len(found)} of {len(faults)}", *found[:SHOWN]]) if found else ""


@pytest.mark.parametrize("shape", WHOLE)
def test_a_fault_at_any_write_or_sync_loses_nothing(lane: Lane, shape: str) -> None:
    wrong = wrong_after(lane, shape, faults_of(lane, shape))
    assert not wrong, wrong


@pytest.mark.parametrize("shape", SAMPLED)
def test_a_fault_at_some_write_or_sync_loses_nothing(lane: Lane, shape: str) -> None:
    faults = Random(f"{shape}{SEED}").sample(faults_of(lane, shape), SAMPLE)
    wrong = wrong_after(lane, shape, faults)
    assert not wrong, wrong


def test_a_full_disk_is_said_to_be_full(lane: Lane) -> None:
    place = lane.place()
    inject = "error=ENOSPC:when=20+"
    strace = options(place.store, place.folder / "log", ("pwrite64",), inject)
    ended = lane.dies.run(place.argv("sequence"), place.folder / "out", strace=strace)
    assert ended.code == STORE_FAILED, ended
    said = json.loads(ended.out)
    assert said["error"] == "StoreFailed" and str(place.store) in said["message"]
    assert "full" in said["message"], said
