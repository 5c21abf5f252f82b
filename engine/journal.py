"""What happened in a run, by path: how frames ended, what callables decided, what humans answered.

Running again with a run's journal *is* resuming it: a path with a final outcome returns that, and
the first one without really runs. This journal is kept in memory and by reference; it lives as
long as somebody holds a result of its run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from .context import ContextUpdate, HumanAnswer
from .errors import AlreadyAnswered
from .outcomes import Failure, FrameOutcome, Paused, Success
from .path import FramePath, Segment
from .sealed import draft_of
from .step_config import JSONValue
from .usage import FREE, Usage
from .user_code import Raised
from .values import exactly_equal, own_copy, shown


@dataclass(frozen=True, slots=True)
class Decision:
    """What a user's callable decided, and what it changed in its context on the way."""

    value: object
    update: ContextUpdate | None = None


make_decision: Callable[[object, ContextUpdate | None], Decision] = draft_of(Decision)
"""`Decision` with its fields by position: the form for the hot path."""


@dataclass(frozen=True, slots=True)
class Patch:
    """What is changed at a frame: its ``data``, its ``context`` or its ``output``.

    The change is a JSON merge patch; ``before`` is how the frame had ended without it.
    """

    changes: Mapping[str, JSONValue]
    before: FrameOutcome | None = None


class Journal:
    """The entries of one run; ``running`` while somebody executes it.

    A success is final, unless something that was launched inside has not succeeded: then it is
    gone through again, down to that. A failure is final once its parent went on past it
    (`go_past`); every other end leaves its path open, to be run again. ``replaying`` says that
    nothing may run, ``gave_unsaved`` that values were asked for which are gone; ``patches`` are
    what is changed at frames, by the segments of their paths.
    """

    __slots__ = (
        "_answers",
        "_decisions",
        "_gone_past",
        "_open_behind",
        "_outcomes",
        "_spent",
        "_started",
        "gave_unsaved",
        "patches",
        "replaying",
        "running",
    )

    def __init__(self) -> None:
        # By segments, because tuples are hashed in C.
        self._outcomes: dict[tuple[Segment, ...], FrameOutcome] = {}
        self._gone_past: set[FramePath] = set()
        self._open_behind: set[tuple[Segment, ...]] = set()
        self._decisions: dict[tuple[tuple[Segment, ...], str, int | None], Decision] = {}
        self._answers: dict[FramePath, object] = {}
        self.running = False
        self.replaying = False
        self.gave_unsaved = False
        self.patches: dict[tuple[Segment, ...], Patch] = {}
        self._spent: dict[FramePath, Usage] = {}
        self._started: set[FramePath] = set()

    def final_outcome(self, path: FramePath) -> Success | Failure | None:
        """How the frame at ``path`` ended, if that is final."""
        outcome = self._outcomes.get(path.segments)
        if outcome is None:
            return None
        match outcome:
            case Success() if not self._has_open_behind(path.segments):
                return outcome
            case Failure() if path in self._gone_past:
                return outcome
        return None

    def patch_at(self, path: FramePath) -> Patch | None:
        """What is changed at the frame at ``path``."""
        return self.patches.get(path.segments)

    def spent_at(self, path: FramePath) -> Usage:
        """What has been spent of the budget that begins at ``path``."""
        return self._spent.get(path, FREE)

    def spend(self, path: FramePath, spent: Usage) -> None:
        """Note that ``spent``, in all, is gone of the budget that begins at ``path``."""
        self._spent[path] = spent

    def finish(self, path: FramePath, outcome: FrameOutcome) -> None:
        """Note how the frame at ``path`` ended; an earlier end there is superseded."""
        self._outcomes[path.segments] = outcome
        if self._started and isinstance(outcome, Success | Failure | Paused):
            self._started.discard(path)
        if self._open_behind and isinstance(outcome, Success):
            self._open_behind.discard(path.segments)

    def launch(self, path: FramePath) -> None:
        """Note that the frame at ``path`` works behind the run, which goes on without it."""
        self._open_behind.add(path.segments)

    def _has_open_behind(self, around: tuple[Segment, ...]) -> bool:
        return any(one[: len(around)] == around for one in self._open_behind)

    def outcome_at(self, path: FramePath) -> FrameOutcome | None:
        """How the frame at ``path`` ended the last time, if it did."""
        return self._outcomes.get(path.segments)

    def go_past(self, path: FramePath) -> None:
        """Note that the parent of the failed frame at ``path`` went on without it."""
        self._gone_past.add(path)

    def decision(self, path: FramePath, name: str, number: int | None = None) -> Decision | None:
        """What was decided under ``name`` (the ``number``-th time) in the frame at ``path``."""
        return self._decisions.get((path.segments, name, number))

    def decide(
        self, path: FramePath, name: str, decision: Decision, number: int | None = None
    ) -> Raised | None:
        """Note a decision of the frame at ``path``; `Raised` when it cannot be kept."""
        self._decisions[path.segments, name, number] = decision
        return None

    async def attempted(self, path: FramePath, used: Usage) -> None:
        """Note that an attempt of the frame at ``path`` failed and used something."""

    def carry(self, path: FramePath, used: Usage) -> None:
        """Note that attempts of the frame at ``path`` used that before, as `attempted` noted."""

    async def start(self, path: FramePath, once: bool, estimate: Usage = FREE) -> None:
        """Note that the frame at ``path`` begins, which may run ``once`` only or cost something."""
        if once:
            self._started.add(path)

    def is_in_doubt(self, path: FramePath) -> bool:
        """Whether the frame at ``path`` may run once only, and began without a known end."""
        return path in self._started

    @property
    def answers(self) -> Mapping[FramePath, object]:
        """The answers to the run's pauses, by the path that paused."""
        return MappingProxyType(self._answers)

    @property
    def hitl_history(self) -> Sequence[HumanAnswer]:
        """The answers, in the order in which they came."""
        return [HumanAnswer(str(path), value) for path, value in self._answers.items()]

    def reopen(self, path: FramePath) -> None:
        """Forget the answer at ``path``: the context refused it, and the question is open again."""
        self._answers.pop(path, None)

    def answer(self, path: FramePath, value: object) -> None:
        """Note the answer to the pause at ``path``.

        The first answer holds: the same again changes nothing, another is `AlreadyAnswered`.
        """
        if path not in self._answers:
            self._answers[path] = own_copy(value)
        elif not exactly_equal(self._answers[path], value):
            raise AlreadyAnswered(
                f"{path} was answered with {shown(self._answers[path])}, and a run keeps its "
                f"answers; found {shown(value)}. To try another one, run again"
            )
