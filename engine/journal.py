"""What happened in a run, by path: how frames ended, what callables decided, what humans answered.

Running again with a run's journal *is* resuming it: a path with a final outcome returns that, and
the first one without really runs. This journal is kept in memory and by reference; it lives as
long as somebody holds a result of its run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .context import ContextUpdate
from .errors import AlreadyAnswered
from .outcomes import Failure, FrameOutcome, Success
from .path import FramePath, Segment
from .values import exactly_equal


@dataclass(frozen=True, slots=True)
class Decision:
    """What a user's callable decided, and what it changed in its context on the way."""

    value: object
    update: ContextUpdate | None = None


class Journal:
    """The entries of one run.

    A success is final. A failure is final once its parent went on past it (`go_past`); every
    other end leaves its path open, to be run again.
    """

    __slots__ = ("_answers", "_decisions", "_gone_past", "_outcomes", "running")

    def __init__(self) -> None:
        # By segments, because tuples are hashed in C.
        self._outcomes: dict[tuple[Segment, ...], FrameOutcome] = {}
        self._gone_past: set[FramePath] = set()
        self._decisions: dict[tuple[tuple[Segment, ...], str, int | None], Decision] = {}
        self._answers: dict[FramePath, object] = {}
        self.running = False

    def final_outcome(self, path: FramePath) -> Success | Failure | None:
        """How the frame at ``path`` ended, if that is final."""
        outcome = self._outcomes.get(path.segments)
        match outcome:
            case Success():
                return outcome
            case Failure() if path in self._gone_past:
                return outcome
        return None

    def finish(self, path: FramePath, outcome: FrameOutcome) -> None:
        """Note how the frame at ``path`` ended; an earlier end there is superseded."""
        self._outcomes[path.segments] = outcome

    def go_past(self, path: FramePath) -> None:
        """Note that the parent of the failed frame at ``path`` went on without it."""
        self._gone_past.add(path)

    def decision(self, path: FramePath, name: str, number: int | None = None) -> Decision | None:
        """What was decided under ``name`` (the ``number``-th time) in the frame at ``path``."""
        return self._decisions.get((path.segments, name, number))

    def decide(
        self, path: FramePath, name: str, decision: Decision, number: int | None = None
    ) -> None:
        """Note a decision of the frame at ``path``."""
        self._decisions[path.segments, name, number] = decision

    @property
    def answers(self) -> Mapping[FramePath, object]:
        """The answers to the run's pauses, by the path that paused."""
        return MappingProxyType(self._answers)

    def answer(self, path: FramePath, value: object) -> None:
        """Note the answer to the pause at ``path``.

        The first answer holds: the same again changes nothing, another is `AlreadyAnswered`.
        """
        if path not in self._answers:
            self._answers[path] = value
        elif not exactly_equal(self._answers[path], value):
            raise AlreadyAnswered(
                f"{path} was answered with {self._answers[path]!r:.80}, and a run keeps its "
                f"answers; found {value!r:.80}. To try another one, run again"
            )
