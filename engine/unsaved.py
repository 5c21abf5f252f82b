"""Values that were only in memory: what is recorded of them, and what stands for them when gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .errors import ValueGone
from .results import PipelineResult, StepResult


@dataclass(frozen=True, slots=True)
class LivePart:
    """A part of a frame that is only in memory: where, of what type, and why it is not saved."""

    where: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where} ({self.kind}) is not saved: {self.reason}"


@dataclass(frozen=True, slots=True)
class Unsaved:
    """Stands for an output that was only in memory, and is gone; ``path`` is where it was made."""

    path: str
    part: LivePart


def check_is_there(data: object) -> None:
    """Raise `ValueGone` when a step that is to run is given values that were only in memory."""
    gone = list(_all_gone(data))
    if gone:
        told = f"{gone[0].path or 'the run'}: {gone[0].part}; it was only in memory"
        raise ValueGone(told, *dict.fromkeys(one.path for one in gone))


def unsaved_in(value: object) -> Unsaved | None:
    """A value that is gone, if ``value`` is one or holds one as containers of steps make them."""
    return next(_all_gone(value), None)


def _all_gone(value: object) -> Iterator[Unsaved]:
    inside: Iterator[object] = iter(())
    if isinstance(value, Mapping):
        inside = iter(value.values())
    elif isinstance(value, list | tuple):
        inside = iter(value)
    for one in (value, *inside):
        part = one.output if isinstance(one, StepResult | PipelineResult) else one
        if isinstance(part, Unsaved):
            yield part


class Outputs(dict[str, object]):
    """The newest output of each step, by name; asking for one that is gone is `ValueGone`."""

    def __getitem__(self, name: str) -> object:
        value = super().__getitem__(name)
        check_is_there(value)
        return value

    def get(self, name: str, default: object = None) -> object:
        """As of a dict, and with the same check."""
        value = super().get(name, default)
        check_is_there(value)
        return value
