"""The user's context: its base model, and the updates that steps make to it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class PipelineContext(BaseModel):
    """The context of a run that declares no model of its own; any other model will do as well."""

    model_config = ConfigDict(extra="forbid")

    initial_prompt: str = ""


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
