"""What declarations of steps are checked for; each check names the step and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TypeVar

from .errors import ConfigurationError
from .path import BranchKey
from .steps import AnyStep, Step, is_node

EnumT = TypeVar("EnumT", bound=Enum)


def check_count(step: AnyStep, name: str, count: object) -> None:
    """A whole number, 1 or more."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise _refusal(step, f"{name} is a whole number, 1 or more; found {count!r}")


def check_one_of(step: AnyStep, name: str, given: object, known: Sequence[str]) -> None:
    """One of a few words."""
    if given not in known:
        raise _refusal(step, f"{name} is one of {', '.join(known)}; found {given!r}")


def member_of(step: AnyStep, name: str, given: EnumT | str, members: type[EnumT]) -> EnumT:
    """A member of ``members``, which may be given by its value."""
    for member in members:
        if given is member or given == member.value:
            return member
    known = ", ".join(str(member.value) for member in members)
    raise _refusal(step, f"{name} is one of {known}; found {given!r}")


def check_functions(step: AnyStep, needed: str | None = None, **functions: object) -> None:
    """Functions, or nothing for those that are not ``needed``."""
    for name, given in functions.items():
        if (given is not None or name == needed) and not callable(given):
            raise _refusal(step, f"{name} is a function; found {given!r:.60}")


def check_branches(step: AnyStep, branches: object, *, of_names: bool) -> None:
    """A mapping from names (or from what a condition can give) to steps and pipelines."""
    if not isinstance(branches, Mapping):
        raise _refusal(step, f"branches are a dict; found {branches!r:.60}")
    if not branches:
        raise _refusal(step, "it has no branches")
    for key in branches:
        if not isinstance(key, str if of_names else BranchKey):
            wanted = "text" if of_names else "text, a number, a bool or None"
            raise _refusal(step, f"the keys of branches are {wanted}; found {key!r:.60}")


def check_inner(step: AnyStep, inner: Sequence[object]) -> None:
    """Steps and pipelines."""
    for node in inner:
        if not is_node(node):
            found = f"{type(node).__name__}: {node!r:.60}"
            raise _refusal(step, f"a container runs steps and pipelines; found {found}")


def check_step(step: AnyStep, name: str, given: object) -> None:
    """A single step."""
    if not isinstance(given, Step):
        raise _refusal(step, f"{name} is a step; found {type(given).__name__}: {given!r:.60}")


def _refusal(step: AnyStep, what: str) -> ConfigurationError:
    return ConfigurationError(f"{type(step).__name__} {step.name!r}: {what}")
