"""What cells of a notebook define, and the definitions of steps made of it."""

from __future__ import annotations

from typing import Any

from flujo_nb.engine.digests import Definition, definition_of
from flujo_nb.engine.steps import Step

HEAD = """
import dataclasses, enum, functools, json, math
from typing import Annotated
from pydantic import BaseModel, Field, PrivateAttr
from pydantic import field_serializer, field_validator, model_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass
"""


def cell(source: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a cell with ``source`` defines, or defines anew among ``names``."""
    names = {"__name__": "__main__"} if names is None else names
    exec(compile(HEAD + source, "a cell", "exec"), names)  # noqa: S102  # as a kernel does
    return names


def taken(function: Any, **options: Any) -> Definition:
    return definition_of(Step.from_callable(function, **{"name": "work", **options}))


def digest(source: str) -> str:
    return taken(cell(source)["work"]).digest


def both(definition: Definition) -> tuple[str, str]:
    return definition.digest, definition.state
