"""Frozen dataclasses at nearly the price of plain classes.

``object.__setattr__`` for each field makes a frozen dataclass of ten fields cost as much as
13 awaits, which is most of what a whole step may cost. A *draft* is a private subclass with the
same slots, an ordinary ``__setattr__`` and a positional ``__init__`` whose last line turns the
object into the frozen class. (In a process with an audit hook that last line raises an event, and
costs what the hook does with it.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TypeVar

T = TypeVar("T")


def draft_of(cls: type[T], given: Sequence[str] | None = None) -> Callable[..., T]:
    """A positional constructor for the frozen, slotted dataclass ``cls``.

    Without ``given`` it takes every field in the order of ``dataclasses.fields`` and fills no
    defaults. With ``given`` it takes an object of ``cls`` first, then those fields in that order;
    the others are copied from that object. Annotate the variable that keeps the constructor, so
    that its calls are checked.
    """
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a dataclass
    parameters = names if given is None else ["source", *given]
    lines = [f"def __init__(self, {', '.join(parameters)}):"]
    for name in names:
        copied = given is not None and name not in given
        lines.append(f"    self.{name} = {f'source.{name}' if copied else name}")
    lines.append("    self.__class__ = frozen")
    scope: dict[str, type[T]] = {"frozen": cls}
    exec("\n".join(lines), scope)  # noqa: S102  # names of fields, as dataclasses themselves do
    body = {
        "__slots__": (),
        "__init__": scope["__init__"],
        # Both share one C slot: with only one of them restored every assignment stays slow.
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    draft: type[T] = type(f"{cls.__name__}Draft", (cls,), body)
    return draft
