"""Ratios of processor time, taken in one process, interleaved; and the table of what came out."""

from __future__ import annotations

import asyncio
import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time

PASSES = 15
"""How often each work is measured. Ratios are taken within a pass; the median of them counts."""


class WrongResult(Exception):
    """What was measured did not do its work."""


def expect(what: str, found: object, wanted: object) -> None:
    """Raise `WrongResult` when ``found`` is not what the work gives."""
    if found != wanted:
        raise WrongResult(f"{what}: found {found!r:.200}, wanted {wanted!r:.200}")


class Work(ABC):
    """Something to measure, with a name; it takes ``steps`` steps (or bare awaits) each time."""

    def __init__(self, name: str, steps: int) -> None:
        self.name = name
        self.steps = steps

    @abstractmethod
    async def run(self) -> None:
        """Do it once, and keep what came out. This is measured."""

    @abstractmethod
    def check(self) -> None:
        """Raise `WrongResult` unless the last ``run`` did all of its work; forget what came out."""


class Costs:
    """Seconds per step of several works, from passes over all of them.

    ``clock`` counts processor time, unless the work is too short for the resolution of that.
    Unless it ``collects``, no garbage is collected while a work runs: a full collection goes
    through all that is alive, which grows with what is kept, whoever keeps it.
    """

    def __init__(
        self,
        works: Sequence[Work],
        passes: int = PASSES,
        clock: Callable[[], float] = process_time,
        collects: bool = True,
    ) -> None:
        self._clock = clock
        self._collects = collects
        self._seconds: dict[str, list[float]] = {work.name: [] for work in works}
        with asyncio.Runner() as runner:
            for work in works:
                runner.run(self._measured(work))  # not counted: here plans are made
            for _ in range(passes):
                for work in works:
                    self._seconds[work.name].append(runner.run(self._measured(work)))

    async def _measured(self, work: Work) -> float:
        gc.collect()
        if not self._collects:
            gc.disable()
        try:
            started = self._clock()
            await work.run()
            seconds = self._clock() - started
        finally:
            gc.enable()
        work.check()
        return seconds / work.steps

    def ratio(self, name: str, base: str) -> float:
        """How many times ``base``'s cost the work called ``name`` costs."""
        pairs = zip(self._seconds[name], self._seconds[base], strict=True)
        return median(own / other for own, other in pairs)


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``goal`` is the most that ``value`` shall be, if there is a goal."""

    what: str
    measure: str
    value: float
    goal: float | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met."""
        return None if self.goal is None else self.value <= self.goal


def table(figures: Iterable[Figure]) -> str:
    """The figures, aligned."""
    verdicts = {True: "yes", False: "NO", None: ""}
    rows = [("what", "measure", "figure", "goal", "holds")]
    rows += [
        (
            figure.what,
            figure.measure,
            f"{figure.value:.2f}",
            "" if figure.goal is None else f"<= {figure.goal:g}",
            verdicts[figure.holds],
        )
        for figure in figures
    ]
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{what:<{wide[0]}}  {measure:<{wide[1]}}  {value:>{wide[2]}}  {goal:>{wide[3]}}  {holds}"
        for what, measure, value, goal, holds in rows
    )
