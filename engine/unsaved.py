"""Values that were only in memory: what is recorded of them, and what stands for them when gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .errors import ValueGone
from .results import StepResult


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
    """Raise `ValueGone` when a step that is to run is given a value that was only in memory."""
    gone = unsaved_in(data)
    if gone is not None:
        raise ValueGone(f"{gone.path}: {gone.part}; it was only in memory", gone.path)


def unsaved_in(value: object) -> Unsaved | None:
    """A value that is gone, if ``value`` is one or holds one as containers of steps make them."""
    if isinstance(value, Unsaved):
        return value
    inside: Iterator[object] = iter(())
    if isinstance(value, Mapping):
        inside = iter(value.values())
    elif isinstance(value, list | tuple):
        inside = iter(value)
    for one in inside:
        part = one.output if isinstance(one, StepResult) else one
        if isinstance(part, Unsaved):
            return part
    return None


class Outputs(dict[str, object]):
    """The newest output of each step, by name; asking for one that is gone is `ValueGone`."""

    def __getitem__(self, name: str) -> object:
        value = super().__getitem__(name)
        check_is_there(value)
        return value

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]
        """As of a dict, and with the same check."""
        value = super().get(name, default)
        check_is_there(value)
        return value
