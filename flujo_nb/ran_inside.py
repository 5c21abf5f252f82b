"""What a frame that went on with another one ran, and what it kept of that."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from flujo_nb.engine.errors import ValueGone
from flujo_nb.engine.hooks import FrameFinished, FrameRestored, Hook
from flujo_nb.engine.journal import Journal
from flujo_nb.engine.outcomes import Aborted, AbortReason, FrameOutcome
from flujo_nb.engine.path import FramePath

MakeAgain: TypeAlias = Callable[[Sequence[str]], Awaitable[Journal]]
"""Gives a journal in which the frames at these paths have not ended, so that they run again."""

_NAMES = 6


class RanInside:
    """Hears of the frames inside the one at ``frame``; those at ``patched`` are changed."""

    def __init__(self, frame: FramePath, patched: Iterable[FramePath]) -> None:
        self._above = f"{frame}/"
        self._patched = [str(path).removeprefix(self._above) for path in patched]
        self._kept: dict[str, None] = {}
        self._ran: dict[str, None] = {}
        self.hooks = (Hook(self._hear, (FrameFinished, FrameRestored)),)

    def _hear(self, event: FrameFinished | FrameRestored) -> None:
        path = str(event.path)
        if not path.startswith(self._above):
            return
        name, outcome = path.removeprefix(self._above), event.outcome
        if isinstance(event, FrameRestored):
            self._kept[name] = None
        elif not (isinstance(outcome, Aborted) and outcome.reason is AbortReason.HELD):
            self._ran[name] = None

    @property
    def note(self) -> str | None:
        """What a card says of it: the outermost frames that ran as a whole, or are kept so.

        One whose output is patched is neither.
        """
        given = [one for one in self._patched if one in self._kept]
        kept = [one for one in self._kept if one not in self._ran and one not in given]
        around = {above for one in (*kept, *given) for above in _above(one)}
        whole = dict.fromkeys(one for one in self._ran if one not in around)
        ran = [one for one in whole if not any(above in whole for above in _above(one))]
        told = [
            f"{_named(names)} {verb}"
            for names, verb in ((kept, "kept"), (given, "patched"), (ran, "ran"))
            if names
        ]
        return f"inside: {'; '.join(told)}" if told else None


def gone_in(outcome: FrameOutcome) -> Sequence[str]:
    """Where the values were made that a frame needs, and that are gone."""
    match outcome:
        case Aborted(error=ValueGone(paths=paths)):
            return paths
    return ()


def _above(path: str) -> Iterable[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more
