"""Kill every flow shape at every point, and have every write and sync of it fail.

``python -m tests.crash.kill_all [SHAPE …] [--lanes N] [--no-faults]`` is what ``make kill`` runs: N
shapes are worked on at a time. It says how many kills and faults that was, and ends with 1 when
anything was found wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tests.crash.faults import Met, faults_of, met
from tests.crash.kills import Kill, Lane, fast_folder, phases_of
from tests.crash.shapes import SHAPES

SHOWN = 5


class Line(NamedTuple):
    """What the table says of a shape."""

    shape: str
    kills: Sequence[Kill]
    faults: Sequence[Met]
    seconds: float

    @property
    def wrong(self) -> list[str]:
        """What was found, each with where it happened."""
        kills = [(" ".join(map(str, kill.point)), kill.found) for kill in self.kills]
        faults = [(str(one.fault), one.found) for one in self.faults]
        return [f"{at}: {'; '.join(found)}" for at, found in (*kills, *faults) if found]

    def __str__(self) -> str:
        phases = Counter(kill.point.phase for kill in self.kills)
        told = ", ".join(f"{phase} {phases[phase]}" for phase in phases_of(self.shape))
        counts = f"{len(self.kills):6} {len(self.faults):6} {len(self.wrong):6}"
        return f"{self.shape:12} {counts} {self.seconds:8.1f}  {told}"


def lines_of(shapes: Sequence[str], lanes: int, folder: Path, faults: bool) -> Sequence[Line]:
    """All kills, and ``faults``, of these shapes; each shape's line is printed as it is done."""
    free: SimpleQueue[Lane] = SimpleQueue()
    made = [Lane(folder / str(number)) for number in range(lanes)]
    for lane in made:
        free.put(lane)

    def work(shape: str) -> Line:
        lane = free.get()
        began = time.monotonic()
        kills = list(lane.every(shape))
        met_faults = list(met(lane, shape, faults_of(lane, shape))) if faults else []
        line = Line(shape, kills, met_faults, time.monotonic() - began)
        free.put(lane)
        print(line, flush=True)
        for told in line.wrong[:SHOWN]:
            print(f"    {told}", flush=True)
        return line

    with ThreadPoolExecutor(lanes) as pool:
        lines = list(pool.map(work, shapes))
    for lane in made:
        lane.close()
    return lines


def main(argv: Sequence[str]) -> int:
    """Carry out one command line; the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.kill_all")
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--no-faults", dest="faults", action="store_false")
    given = parser.parse_args(argv)
    began = time.monotonic()
    heads = f"{'kills':>6} {'faults':>6} {'wrong':>6} {'seconds':>8}"
    print(f"{'shape':12} {heads}  kills in each phase")
    with fast_folder() as folder:
        lines = lines_of(given.shapes or list(SHAPES), given.lanes, folder, given.faults)
    kills = [kill for line in lines for kill in line.kills]
    faults = sum(len(line.faults) for line in lines)
    wrong = sum(len(line.wrong) for line in lines)
    calls = Counter(kill.point.call for kill in kills)
    told = ", ".join(f"{call} {count}" for call, count in calls.most_common())
    print(
        f"{len(lines)} shapes, {len(kills)} kills ({told}), {faults} faults, {wrong} with "
        f"something wrong, {time.monotonic() - began:.0f} s"
    )
    return 1 if wrong or not kills else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
