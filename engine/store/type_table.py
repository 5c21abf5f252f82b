"""The classes that saved values may be of, by name.

A name is looked up in the notebook's namespace, in modules that are imported already, and among
the annotations of the steps in use. Nothing is ever imported because data names it, and only
classes that hold data are found: pydantic models, dataclasses, enums and named tuples.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import ModuleType
from typing import TypeGuard

from pydantic import BaseModel

from ..signatures import underlying
from ..step_kinds import HumanInTheLoopStep, ImportStep
from ..steps import Node, Step
from ..user_code import Raised, caught_inline
from ..value_keys import class_name


def is_named_tuple(kind: type) -> TypeGuard[type[tuple[object, ...]]]:
    """Whether ``kind`` is a class that ``NamedTuple`` or ``namedtuple`` made."""
    return kind.__bases__ == (tuple,) and "_fields" in vars(kind)


def holds_data(kind: type) -> bool:
    """Whether values of ``kind`` are saved by their fields, or as a member of an enum."""
    if issubclass(kind, BaseModel | Enum):
        return True
    return is_named_tuple(kind) or dataclasses.is_dataclass(kind)


class TypeTable:
    """The classes that this process knows.

    ``namespace`` gives what the user's cells have defined, each time anew: of two classes of one
    name, the one there is current.
    """

    def __init__(self, namespace: Callable[[], Mapping[str, object]] | None = None) -> None:
        self._namespace = namespace
        self._told: dict[int, object] = {}
        self._annotated: dict[str, type] = {}
        self._seen: set[int] = set()
        self._kept: list[object] = []  # what _seen has ids of

    def add(self, hint: object) -> None:
        """Know the classes in an annotation: in unions, generics and fields too."""
        self._told[id(hint)] = hint

    def add_node(self, node: Node) -> None:
        """Know the classes that a step's functions are annotated with, and those inside it."""
        nodes = [node]
        while nodes:
            one = nodes.pop()
            nodes.extend(one.inner)
            if isinstance(one, HumanInTheLoopStep):
                self.add(one.input_schema)
            if isinstance(one, ImportStep):
                self.add(one.context_model)
            work = one.work if isinstance(one, Step) else None
            for each in (work, *one.deciders):
                self.add(each)

    def find(self, name: str) -> type | None:
        """The class of that module and qualified name, if this process has it."""
        for known in self._named(name):
            return known
        return None

    def has(self, kind: type) -> bool:
        """Whether ``kind`` is what its name stands for here."""
        return self.find(class_name(kind)) is kind

    def _named(self, name: str) -> Iterable[type]:
        if self._namespace is not None:
            space = self._namespace()
            main = f"{space.get('__name__', '__main__')}."
            if name.startswith(main):
                yield from _inside(space, name.removeprefix(main), name)
        module = name
        while "." in module:
            module = module.rpartition(".")[0]
            imported = sys.modules.get(module)
            if isinstance(imported, ModuleType):
                yield from _inside(vars(imported), name[len(module) + 1 :], name)
        self._take_in()
        if name in self._annotated:
            yield self._annotated[name]

    def _take_in(self) -> None:
        """Look into what was added since the last time."""
        told, self._told = self._told, {}
        for hint in told.values():
            self._walk(hint)

    def _walk(self, hint: object) -> None:
        todo = [hint]
        while todo:
            one = todo.pop()
            if isinstance(one, type) and holds_data(one):
                self._annotated[class_name(one)] = one
            if id(one) in self._seen:
                continue
            self._seen.add(id(one))
            self._kept.append(one)
            todo.extend(typing.get_args(one))
            origin = typing.get_origin(one)
            if isinstance(one, typing.TypeVar):
                todo.extend((one.__bound__, *one.__constraints__))
            elif isinstance(one, typing.NewType):
                todo.append(one.__supertype__)
            elif origin is not None:
                todo.append(origin)
            elif isinstance(one, type):
                todo.extend(_annotations(one))
            elif callable(one):
                todo.extend(_annotations(underlying(one)))


def _annotations(of: object) -> Iterable[object]:
    """The types of the fields of a class, of the parameters and result of a function."""
    if isinstance(of, type) and issubclass(of, BaseModel):
        return [field.annotation for field in of.model_fields.values()]
    if isinstance(of, type) and not (holds_data(of) or typing.is_typeddict(of)):
        return ()
    hints = caught_inline(typing.get_type_hints, of)
    return () if isinstance(hints, Raised) else hints.values()


def _inside(space: Mapping[str, object], qualname: str, name: str) -> Iterable[type]:
    """The class that ``qualname`` leads to, when it agrees that ``name`` is its own."""
    found = space.get(qualname)
    if found is None and "." in qualname:
        first, *rest = qualname.split(".")
        found = space.get(first)
        for part in rest:
            found = vars(found).get(part) if isinstance(found, type) else None
    if isinstance(found, type) and holds_data(found) and class_name(found) == name:
        yield found
