"""The user's context: its base model, and the updates that steps make to it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from .errors import ContextViewError

ContextT = TypeVar("ContextT", bound=BaseModel)


class ShownRun(Protocol):
    """What a `PipelineContext` shows of the run that it belongs to."""

    @property
    def run_id(self) -> str:
        """The run's identity."""

    @property
    def step_outputs(self) -> Mapping[str, object]:
        """The newest output of each step that has succeeded, by name."""

    @property
    def hitl_history(self) -> Sequence[HumanAnswer]:
        """What humans were asked, and what they said."""

    @property
    def status(self) -> str:
        """``running``, or how the run ended."""


@dataclass(frozen=True, slots=True)
class HumanAnswer:
    """An answer that a run was given; ``path`` is where it asked."""

    path: str
    human_response: object


SHOWN = frozenset({"run_id", "step_outputs", "hitl_history", "status"})
"""What a `PipelineContext` shows of its run, unless a model declares fields of these names."""


class PipelineContext(BaseModel):
    """The context of a run that declares no model of its own; any other model will do as well.

    It shows the run that it belongs to (`ShownRun`): ``context.step_outputs`` and the like are
    served, never stored, and nothing writes to them.
    """

    __slots__ = ("_flujo_shown",)
    model_config = ConfigDict(extra="forbid")

    initial_prompt: str = ""

    if TYPE_CHECKING:
        run_id: ClassVar[str]
        step_outputs: ClassVar[Mapping[str, object]]
        hitl_history: ClassVar[Sequence[HumanAnswer]]
        status: ClassVar[str]
    else:

        def __getattr__(self, name):
            if name not in SHOWN:
                return super().__getattr__(name)
            shown = shown_by(self)
            if shown is None:
                raise ContextViewError(
                    f"this {type(self).__name__} belongs to no run, so it has no {name!r} to show"
                )
            return getattr(shown, name)


def shown_by(context: BaseModel) -> ShownRun | None:
    """The run that ``context`` shows, if it shows one."""
    try:
        shown: ShownRun = object.__getattribute__(context, "_flujo_shown")
    except AttributeError:
        return None
    return shown


def show(context: ContextT, shown: ShownRun | None) -> ContextT:
    """Let ``context``, a copy of our own, show a run, if it is a `PipelineContext`."""
    if shown is not None and isinstance(context, PipelineContext):
        object.__setattr__(context, "_flujo_shown", shown)
    return context


ContextPath = tuple[Hashable, ...]
"""Where a value stands in a context: field names of models and keys of dicts, outermost first."""


@dataclass(frozen=True, slots=True)
class SetValue:
    """``path`` holds ``value``."""

    path: ContextPath
    value: object


@dataclass(frozen=True, slots=True)
class AppendValues:
    """The list at ``path`` grew by ``values`` at its end."""

    path: ContextPath
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class DeleteKey:
    """The dict that holds the last part of ``path`` lost that key."""

    path: ContextPath


ContextChange = SetValue | AppendValues | DeleteKey


@dataclass(frozen=True, slots=True)
class ContextUpdate:
    """What one frame changed in its context, as the list of paths that it wrote.

    The values are the update's own: nobody else holds a reference to what is mutable in them.
    """

    changes: tuple[ContextChange, ...]
