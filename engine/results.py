"""What a run returns, made for reading: the tree of step results and their totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from .journal import Journal
from .outcomes import FrameOutcome, OnChunk, RunStatus, Success, status_of
from .path import FramePath
from .step_config import JSONValue
from .steps import Node
from .usage import FREE, Quota, Usage


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step of a run as its caller reads it. Usage includes everything that ran inside.

    ``latency_s`` is in seconds, ``cost_usd`` in dollars; ``branch_context`` is the context as the
    step left it.
    """

    name: str
    path: FramePath = FramePath()
    output: object = None
    success: bool = True
    attempts: int = 1
    latency_s: float = 0.0
    token_counts: int = 0
    cost_usd: float = 0.0
    feedback: str | None = None
    step_history: Sequence[StepResult] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    branch_context: BaseModel | None = field(default=None, repr=False)

    @property
    def metadata_(self) -> Mapping[str, object]:
        """The same as ``metadata``."""
        return self.metadata


@dataclass(frozen=True, slots=True)
class Pause:
    """A question that a run waits for; ``path`` is where it asks, and its identity.

    ``schema`` is the JSON schema of an answer, ``None`` when any will do.
    """

    path: FramePath
    message: str
    schema: Mapping[str, JSONValue] | None = None
    step: Node | None = None


@dataclass(frozen=True, slots=True)
class BackgroundTask:
    """How a task stood when somebody asked; ``outcome`` is ``None`` while it works."""

    run_id: str
    path: FramePath
    name: str
    outcome: FrameOutcome | None = None

    @property
    def status(self) -> RunStatus:
        """How it stood."""
        return RunStatus.RUNNING if self.outcome is None else status_of(self.outcome)

    @property
    def is_open(self) -> bool:
        """Whether it has not succeeded, so that resuming the run launches it again."""
        return not isinstance(self.outcome, Success)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is asked for with; it holds for all of the run, however often it is resumed."""

    node: Node
    data: object
    run_id: str | None
    stream: bool
    on_chunk: OnChunk | None
    extensions: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Resumption:
    """What a run that paused, or left something in the background, goes on from."""

    request: RunRequest
    context: BaseModel
    journal: Journal
    quota: Quota


@dataclass(frozen=True, slots=True)
class AnswerRecorded:
    """An answer was taken by a run that is going on elsewhere, and will use it.

    ``owner`` is who executes it, when that is known.
    """

    run_id: str
    path: FramePath
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class HookError:
    """A hook raised; the run went on."""

    hook: str
    event: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """How a run ended. Totals count every attempt of every step, failed ones included.

    ``uncertain`` is what attempts that a crash cut off were expected to use; it counts in the
    budget and not in the totals, because nobody knows.

    ``paused`` are the questions that a paused run waits for, ``resumption`` what it goes on from;
    ``background`` tells how its steps in the background stood when it ended. ``restored`` says that
    the whole run was recorded before, and nothing ran; ``unvisited`` are recorded frames that the
    program did not come to any more, ``remade`` those that ran again because what they had given
    was only in memory, and gone.
    """

    run_id: str
    status: RunStatus
    output: object = None
    step_history: Sequence[StepResult] = field(default=(), repr=False)  # made when it is read
    total_cost_usd: float = 0.0
    total_tokens: int = 0
    final_pipeline_context: BaseModel | None = None
    paused: Sequence[Pause] = ()
    background: Sequence[BackgroundTask] = ()
    hook_errors: Sequence[HookError] = ()
    restored: bool = False
    unvisited: Sequence[str] = ()
    remade: Sequence[str] = ()
    uncertain: Usage = FREE
    resumption: Resumption | None = field(default=None, repr=False, compare=False)

    @property
    def success(self) -> bool:
        """Whether the run completed."""
        return self.status is RunStatus.COMPLETED

    @property
    def open_background(self) -> int:
        """How many steps in the background had not succeeded when the run ended."""
        return sum(task.is_open for task in self.background)
