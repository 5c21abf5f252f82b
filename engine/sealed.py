"""Frozen dataclasses at nearly the price of plain classes.

``object.__setattr__`` for each field makes a frozen dataclass of ten fields cost as much as
13 awaits, which is most of what a whole step may cost. A *draft* is an object of a private subclass
with the same slots and an ordinary ``__setattr__``; a function fills it by position and turns it
into the frozen class. (It is no ``__init__``, because calling a class costs an await more than
calling a function. In a process with an audit hook the turning raises an event, and costs what the
hook does with it.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TypeVar, cast

T = TypeVar("T")


def draft_of(cls: type[T], given: Sequence[str] | None = None) -> Callable[..., T]:
    """A positional constructor for the frozen, slotted dataclass ``cls``.

    Without ``given`` it takes every field in the order of ``dataclasses.fields`` and fills no
    defaults. With ``given`` it takes an object of ``cls`` first, then those fields in that order;
    the others are copied from that object. Slots that are no fields begin as ``None``.
    Annotate the variable that keeps the constructor, so that its calls are checked.
    """
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # a dataclass
    slots = [slot for base in cls.__mro__ for slot in vars(base).get("__slots__", ())]
    parameters = names if given is None else ["source", *given]
    lines = [f"def make({', '.join(parameters)}):", "    self = new(draft)"]
    for name in names:
        copied = given is not None and name not in given
        lines.append(f"    self.{name} = {f'source.{name}' if copied else name}")
    lines += [f"    self.{slot} = None" for slot in slots if slot not in names]
    lines += ["    self.__class__ = frozen", "    return self"]
    body = {
        "__slots__": (),
        # Both share one C slot: with only one of them restored every assignment stays slow.
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    draft: type[T] = type(f"{cls.__name__}Draft", (cls,), body)
    scope: dict[str, object] = {"frozen": cls, "draft": draft, "new": object.__new__}
    exec("\n".join(lines), scope)  # noqa: S102  # names of fields, as dataclasses themselves do
    return cast(Callable[..., T], scope["make"])
