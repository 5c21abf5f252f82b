"""What a step is, as a digest: its options, and the user's code and constants that it uses.

From the step's functions the digest goes on through whatever their code loads. Functions and
classes of the user's own modules count by what they do, all others by the version of their
library, constants by value. What can change in place (a list, a client, a table) counts by its
type only, and is named as untracked.

The digest is the same in every process. Steps that differ in what is untracked are told apart by
`Definition.state`: data count as they were when they were first seen, anything else counts by its
identity, so that in another process it is another.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Self, TypeAlias, cast

from .code_facts import CodeFacts, facts_of, library_of
from .definition_parts import (
    BUILT_IN,
    SECRET,
    Defined,
    Described,
    content_of,
    declared_in,
    hint_facts,
    is_simple_object,
    is_written,
    parts_of,
    rebound_attributes,
)
from .identities import MAX_CONSTANT, as_first_seen, first_held, held, own_name
from .step_kinds import UNDEFINING
from .steps import AnyStep, Node, is_node, name_of
from .value_keys import NotKeyable, class_name, encoded, is_plain

_MISSING = object()
_ENTRIES = ("__call__", "process", "run", "stream", "validate")

_Look: TypeAlias = Callable[[str, object], object]
_Watch: TypeAlias = tuple[_Look, str, Callable[[], object]]
"""How to look a name up, the name, and what it stood for."""
_Variable: TypeAlias = tuple[int, str]
"""The id of a namespace or of a closure's cell, and the name."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a step is, as far as it can be known.

    ``digest`` and ``state`` together tell it from every other step of this process. ``tracked``
    names the functions, classes and constants that count by value, ``untracked`` the rest.
    ``facts`` are what stands where, by label; what has no label is a function or class whose own
    facts follow.
    """

    digest: str
    state: str
    tracked: tuple[str, ...]
    untracked: tuple[str, ...]
    facts: tuple[tuple[str, object], ...] = field(repr=False)
    watches: tuple[_Watch, ...] = field(repr=False)
    checks: tuple[Callable[[], bool], ...] = field(repr=False)

    def holds(self) -> bool:
        """Whether every name still stands for what it stood for when the definition was taken."""
        for look, name, kept in self.watches:  # on the way of every hit
            if look(name, _MISSING) is not kept():
                return False
        for check in self.checks:  # noqa: SIM110  # the same
            if not check():
                return False
        return True


def definition_of(node: Node) -> Definition:
    """Take the definition of ``node``, with all that it runs inside."""
    return definition_of_parts([(name_of(node), node)])


def definition_of_parts(parts: Iterable[tuple[str, object]], with_state: bool = True) -> Definition:
    """Take the definition of what is made of ``parts``, each under its name, and owns them.

    Without ``with_state`` its ``state`` says nothing, and nothing untracked is looked into.
    """
    named = list(parts)
    declared = _Survey().over(named)
    if declared.assigned & declared.read:  # what one function reads, another one keeps
        declared = _Survey(assigned=declared.assigned).over(named)
    state = _Survey(deep=True, assigned=declared.assigned)
    for name, value in declared.left if with_state else ():
        state.take(name, value)
    state.finish()
    state.hash.update(encoded((declared.notes, state.notes)))
    return Definition(
        declared.hash.hexdigest(),
        state.hash.hexdigest(),
        tuple(declared.tracked),
        tuple(declared.untracked),
        tuple(declared.facts),
        (*declared.watches, *state.watches),
        (*declared.checks, *state.checks),
    )


class _Survey:
    """One walk over what a definition is made of; its order is the same in every process.

    A shallow survey leaves aside what can change in place, and a deep one takes it. ``assigned``
    are the variables that functions on the way assign, ``read`` those that they only read;
    one that is known beforehand to be assigned is so for all of them.
    """

    def __init__(self, deep: bool = False, assigned: Iterable[_Variable] = ()) -> None:
        self.hash = blake2b(digest_size=32)
        self.tracked: dict[str, None] = {}
        self.untracked: dict[str, None] = {}
        self.facts: list[tuple[str, object]] = []
        self.left: list[tuple[str, object]] = []
        self.notes: list[bytes] = []
        self.watches: list[_Watch] = []
        self.checks: list[Callable[[], bool]] = []
        self.assigned = {*assigned}
        self.read: set[_Variable] = set()
        self._deep = deep
        self._numbers: dict[int, int] = {}
        self._taken: set[tuple[int, str]] = set()
        self._entries = {*_ENTRIES}
        self._waiting: deque[tuple[str, object]] = deque()

    def over(self, parts: Iterable[tuple[str, object]]) -> Self:
        """Describe ``parts``, each under its name."""
        for name, part in parts:
            self.hash.update(encoded(name))
            self.take(name, part, owned=True)
        self.finish()
        return self

    def finish(self) -> None:
        """Describe everything that was referred to."""
        while self._waiting:
            name, value = self._waiting.popleft()
            if isinstance(value, FunctionType):
                self._function(name, value)
            elif isinstance(value, type):
                self._class(name, value)
            elif is_node(value):
                self._node(name, value)

    def take(self, name: str, value: object, owned: bool = False) -> None:
        """Write what ``value`` is. What is ``owned`` by a step counts by its parts."""
        if is_plain(value) or (type(value) is frozenset and all(map(is_plain, value))):
            self._constant(name, value)
        elif isinstance(value, Enum):
            self._write("member", value.name)
            self.facts.append((name, value))
            self.take(name, type(value))
        elif isinstance(value, FunctionType | type) or is_node(value):
            self.facts.append((name, value))
            if self._is_new("reference", value):
                self._waiting.append((name, value))
        elif isinstance(value, ModuleType):
            self.facts.append((name, value))
            self._write("module", value.__name__, library_of(value))
        elif isinstance(value, BUILT_IN):
            self.facts.append((name, value))
            self._write("built-in", value.__qualname__)
            if isinstance(value, BuiltinFunctionType):
                self.take(name, value.__self__)
        elif type(value).__module__ == "typing" and typing.get_origin(value) is None:
            self._write("typing", repr(value))
            self.facts.append((name, repr(value)))
        elif isinstance(value, Defined) and hasattr(type(value), "definition_digest"):
            self._agent(name, value)
        else:
            self._compound(name, value, owned)

    def _compound(self, name: str, value: object, owned: bool) -> None:
        if isinstance(value, MethodType):
            self._entries.add(value.__name__)
            owned = True
        parts = None if isinstance(value, SECRET) else parts_of(value, owned)
        if parts is not None:
            self._write("parts", len(parts))
            self.take(name, type(value))
            for label, part in parts:
                self._write(label)
                self.take(f"{name}{label}", part, owned)
        elif owned and is_simple_object(value) and not isinstance(value, SECRET):
            self._object(name, value)
        else:
            self._write("by type")
            self.take(name, type(value))
            self._leave(name, value)

    def _leave(self, name: str, value: object) -> None:
        """Let a part count by its name only; in a deep survey, by what it was or which it is."""
        if not self._deep:
            self.untracked[_told(name, value)] = None
            self.left.append((name, value))
            return
        try:
            self._write("data", as_first_seen(value))
        except NotKeyable:
            items = parts_of(value, owned=True) if type(value) in (list, dict) else None
            if items is None or len(items) > MAX_CONSTANT:
                self._write("identity", own_name(value))
            elif self._is_new("items", value):
                for label, item in items:
                    self.take(f"{name}{label}", item)

    def _leave_rebound(self, name: str, key: str, value: object, owner: object) -> None:
        """Let ``key``, which the code of ``owner`` assigns, count as what it held at first."""
        self.untracked[_told(name, value)] = None
        self.notes.append(first_held(owner, key, value))

    def _write(self, *parts: object) -> None:
        self.hash.update(encoded(parts))

    def _is_new(self, what: str, value: object) -> bool:
        """Write the number of ``value``, and tell whether it got that just now."""
        count = len(self._numbers)
        number = self._numbers.setdefault(id(value), count)
        self._write(what, number)
        return number == count

    def _watch(self, look: _Look, key: str, value: object) -> None:
        """Note that ``look(key)`` gives ``value``."""
        self.watches.append((look, key, held(value)))

    def _constant(self, name: str, value: object) -> None:
        try:
            code = encoded(value)
        except NotKeyable:  # a date in a zone that has no name
            code = None
        if code is None or len(code) > MAX_CONSTANT:
            self._write("by type", class_name(type(value)))
            self._leave(name, value)
        else:
            self.facts.append((name, value))
            self.hash.update(code)

    def _agent(self, name: str, value: Defined) -> None:
        self.tracked[name] = None
        if isinstance(value, Described):
            made_of = value.definition_parts()
            self._write("agent", class_name(type(value)), len(made_of.parts))
            for label, part in made_of.parts:
                self._write(label)
                self.take(f"{name}{label}", part, owned=True)
            self.checks.append(made_of.holds)
            return
        digest = value.definition_digest()
        self._write("agent", class_name(type(value)), digest)
        self.facts.append((f"{name}.definition_digest()", digest))
        self.checks.append(lambda: value.definition_digest() == digest)

    def _node(self, name: str, node: Node) -> None:
        self.take(name, type(node))
        for one in dataclasses.fields(node):
            if one.name == "agent":  # as it is called: an adapted one knows its definition
                self.take(name, cast(AnyStep, node).work, owned=True)
            elif one.init and one.metadata != UNDEFINING:
                self._write(one.name)
                self.take(f"{name}.{one.name}", getattr(node, one.name), owned=True)

    def _function(self, name: str, function: FunctionType) -> None:
        code, facts, library = function.__code__, facts_of(function.__code__), library_of(function)
        self._watch(functools.partial(getattr, function), "__code__", code)
        if library is not None:
            self._write("function", library, function.__module__, function.__qualname__)
        else:
            self.tracked[name] = None
            self.facts.append(("", function))
            self._write("function", facts.digest)
            self._hints(name, function)
            self._globals(function, facts)
            for own in sorted(vars(function).keys() - {"__wrapped__"}):
                self.untracked[_told(f"{name}.{own}", vars(function)[own])] = None
        defaults = enumerate(function.__defaults__ or ())
        for key, default in (*defaults, *sorted((function.__kwdefaults__ or {}).items())):
            self._write("default", key)
            self.take(f"{name}({key})", default)
        for key, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            look = functools.partial(content_of, cell)
            if key in facts.rebound:
                self.assigned.add((id(cell), key))
            if (id(cell), key) in self.assigned:
                self._leave_rebound(key, key, look(key, _MISSING), function)
            else:
                self.read.add((id(cell), key))
                self._variable(key, look, facts)

    def _globals(self, function: FunctionType, facts: CodeFacts) -> None:
        variables = cast(Mapping[str, object], function.__globals__)
        kept = facts.rebound.difference(function.__code__.co_freevars)
        self.assigned.update((id(variables), key) for key in kept)
        used = {(id(variables), key) for key in facts.global_names} - self.assigned
        self.read |= used
        absent = {key for _, key in used} - variables.keys()  # most are built-ins
        # Asked of the variables, because that goes through the absent: in a notebook they are few.
        self.checks.append(functools.partial(variables.keys().isdisjoint, absent))
        self._write("built-ins", sorted(absent), "imports", facts.imports)
        for key in facts.global_names:
            if key not in absent:
                self._global(key, variables, facts)

    def _global(self, key: str, variables: Mapping[str, object], facts: CodeFacts) -> None:
        """Take what a variable of a module stands for, unless functions assign it."""
        if (id(variables), key) in self.assigned:
            self.untracked[_told(key, variables.get(key, _MISSING))] = None
        else:
            self.read.add((id(variables), key))
            self._variable(key, variables.get, facts)

    def _variable(self, key: str, look: _Look, facts: CodeFacts) -> None:
        """Take what a name outside of a function stands for."""
        self._write("variable", key)
        value = look(key, _MISSING)
        self._watch(look, key, value)
        if isinstance(value, ModuleType) and library_of(value) is None:
            self._module(key, value, facts)
        elif value is not _MISSING:
            count = len(self.left)
            self.take(key, value)
            if len(self.left) == count:
                self.tracked[key] = None

    def _module(self, name: str, module: ModuleType, facts: CodeFacts) -> None:
        """Take what a function uses of a module of the user's own."""
        self._write("own module")
        members = vars(module)
        for key in sorted(facts.attributes & members.keys()):
            self._write(key)
            if (id(module), key) not in self._taken:
                self._taken.add((id(module), key))
                self._global(key, members, facts)

    def _object(self, name: str, value: object) -> None:
        """Take an agent or validator: its class, and its attributes."""
        self._write("object")
        self.take(name, type(value))
        rebound, attributes = rebound_attributes(type(value), self._entries), vars(value)
        for key in sorted(attributes):
            if key not in rebound:
                self._write(key)  # one that a method assigns may come into being by running it
            if key in rebound:
                self._leave_rebound(f"{name}.{key}", key, attributes[key], value)
            else:
                self._watch(attributes.get, key, attributes[key])
                self.take(f"{name}.{key}", attributes[key])

    def _class(self, name: str, kind: type) -> None:
        library = library_of(kind)
        if library is not None:
            self._write("class", library, class_name(kind))
            return
        name = kind.__name__
        self.tracked[name] = None
        self.facts.append(("", kind))
        self._write("class", kind.__qualname__)
        made_by = [type(kind)] if library_of(type(kind)) is None else []
        for base in (*made_by, *kind.__bases__):
            self.take(base.__name__, base)
        self._hints(name, kind)
        for label, part in declared_in(kind):
            self._write(label)
            self.take(f"{name}.{label}", part, owned=True)
        for key, member in sorted(vars(kind).items()):
            if is_written(kind, key, member):
                self._write(key)
                self._watch(vars(kind).get, key, member)
                self.take(f"{name}.{key}", member)

    def _hints(self, name: str, value: FunctionType | type) -> None:
        count = len(self.facts)
        for key, hint in inspect.get_annotations(value).items():
            self._write(key)
            self.take(f"{name}: {key}", hint, owned=True)
            if isinstance(hint, str) and isinstance(value, FunctionType):
                facts, variables = hint_facts(hint), value.__globals__
                for used in facts.global_names:
                    if used in variables:
                        self._global(used, variables, facts)
        del self.facts[count:]  # they are read off the function or class itself


def _told(name: str, value: object) -> str:
    return name if value is _MISSING else f"{name} ({type(value).__qualname__})"
