"""What the context of a run shows when the run has ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .context import HumanAnswer
from .outcomes import Chunk, StepOutcome, Success
from .steps import name_of


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A `flujo_nb.engine.context.ShownRun`, read off how the run ended."""

    run_id: str
    status: str
    outcome: StepOutcome
    hitl_history: Sequence[HumanAnswer] = ()

    @property
    def step_outputs(self) -> Mapping[str, object]:
        """The newest output of each step that succeeded, by name."""
        return dict(outputs_in((self.outcome,)))


def outputs_in(outcomes: Sequence[StepOutcome]) -> Iterator[tuple[str, object]]:
    """The name and output of each step that succeeded, those inside a step before its own."""
    for outcome in outcomes:
        if isinstance(outcome, Chunk):
            continue
        yield from outputs_in(outcome.children)
        step = outcome.step
        if isinstance(outcome, Success) and step is not None and not step.is_sequence:
            yield name_of(step), outcome.output
