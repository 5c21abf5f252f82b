"""What an edit of a notebook is: the cells before it, and what in them is written otherwise."""

from __future__ import annotations

from typing import NamedTuple

SET_UP = """\
import contextlib, dataclasses, datetime, decimal, enum, functools, importlib, itertools, re
from pathlib import Path
from typing import Annotated, NamedTuple
from pydantic import BaseModel, Field, field_validator
from flujo_nb import AgentProcessors, CacheStep, HumanInTheLoopStep, ImportStep, MergeStrategy
from flujo_nb import OutputMapping, Pipeline, Step, StepConfig, UsageEstimate, ValidationResult
from flujo_nb import step
"""
AGENTS = """\
from pydantic_ai import Agent, Tool
from pydantic_ai.models.test import TestModel
"""
WORK = "%%flujo step work --no-run\n"
"""The first line of a cell that defines the step whose digest is looked at."""


class Edit(NamedTuple):
    """In ``cells``, which were run in this order, ``old`` becomes ``new``.

    Only the cells that were edited are run again, unless ``rest`` says that those below are too.
    """

    cells: tuple[str, ...]
    old: str
    new: str
    rest: bool

    @property
    def after(self) -> list[str]:
        """The cells that are run behind the edit."""
        edited = [cell.replace(self.old, self.new) for cell in self.cells]
        pairs = zip(self.cells, edited, strict=True)
        first, *others = (number for number, (one, now) in enumerate(pairs) if one != now)
        assert not others, "an edit is one in one cell"
        return edited[first:] if self.rest else edited[first : first + 1]


def edit(*cells: str, old: str, new: str, rest: bool = False) -> Edit:
    """An edit of one cell; see `Edit`."""
    return Edit(cells, old, new, rest)


def of_step(body: str, old: str, new: str) -> Edit:
    """An edit of the step's own cell."""
    return edit(WORK + body, old=old, new=new)


def beside(cell: str, body: str, old: str, new: str) -> Edit:
    """An edit in another cell than the step's."""
    return edit(cell, WORK + body, old=old, new=new)


def with_rest(*cells: str, old: str, new: str) -> Edit:
    """An edit of a cell behind which the cells below are run again."""
    return edit(*cells, old=old, new=new, rest=True)
