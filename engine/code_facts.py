"""What code does, which names it uses, and where it comes from: read off its instructions.

Not off its source: that may have been edited since it was loaded, a lambda's cannot be told from
its neighbours', and a class of a notebook has none. Instructions are what runs, and neither
comments nor docstrings nor places are among them.
"""

from __future__ import annotations

import dis
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module, metadata
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import NamedTuple, cast

from .value_keys import encoded

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_IDLE = frozenset({"CACHE", "EXTENDED_ARG", "NOP"})
_LEADING = frozenset({"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"})
_ENDING = frozenset({"RAISE_VARARGS", "RERAISE", "RETURN_CONST", "RETURN_VALUE"})
_KEEPING = {
    "JUMP_IF_FALSE_OR_POP": "POP_JUMP_IF_FALSE",
    "JUMP_IF_TRUE_OR_POP": "POP_JUMP_IF_TRUE",
}
"""The jumps that keep the value they asked, and those that do not."""
_JUMPING = frozenset({*dis.hasjrel, *dis.hasjabs})
_LABELS = frozenset({"__doc__", "__firstlineno__", "__module__", "__qualname__"})
_KIND = (
    inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ITERABLE_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What is known of a function's code, the functions and classes inside included.

    ``rebound`` are the variables outside (globals, a closure's) that it assigns itself;
    ``attributes`` every attribute that it reads, ``set_attributes`` those that it assigns.
    """

    digest: bytes
    global_names: tuple[str, ...]
    rebound: frozenset[str]
    attributes: frozenset[str]
    set_attributes: frozenset[str]
    imports: tuple[str, ...]


@lru_cache(maxsize=4096)
def facts_of(code: CodeType) -> CodeFacts:
    """Read ``code``."""
    names: dict[str, set[str]] = {}
    hashed = blake2b(digest_size=32)
    for one in _codes_in(code):
        arguments = one.co_varnames[: one.co_argcount + one.co_kwonlyargcount]
        head = (one.co_argcount, one.co_posonlyargcount, one.co_flags & _KIND, arguments)
        hashed.update(encoded(head))
        for use, name, told in _instructions(one):
            if name:
                names.setdefault(use, set()).add(name)
            hashed.update(told)

    def used(*uses: str) -> frozenset[str]:
        return frozenset().union(*(names.get(use, ()) for use in uses))

    return CodeFacts(
        hashed.digest(),
        tuple(sorted(used(*_LOADS) - _LABELS - {"__name__"})),
        used("STORE_GLOBAL", "DELETE_GLOBAL") | (used("STORE_DEREF") & {*code.co_freevars}),
        used("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"),
        used("STORE_ATTR", "DELETE_ATTR"),
        tuple(sorted(used("IMPORT_NAME"))),
    )


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes_in(constant)


def _instructions(code: CodeType) -> Iterator[tuple[str, str, bytes]]:
    """Each instruction that control can reach: what it does, to which name, and both as bytes.

    The bytes also tell where control goes on, and they come in the order in which it gets there,
    not in that of their places: how a statement is broken into lines moves jumps about.
    """
    flow = _Flow(code)
    reached: dict[int, _After] = {}
    waiting = [flow.landing(0)]
    while waiting:
        place = waiting.pop()
        if place not in reached:
            reached[place] = after = flow.after(place)
            waiting += reversed(after.ways)
    numbers = {place: number for number, place in enumerate(reached)}
    for place, after in reached.items():
        one = flow.listed[place]
        name, told = "", cast(object, one.argrepr)
        if one.opcode in dis.hasconst:
            # Python 3.11 does not show the names of keywords that a call passes.
            told = code.co_consts[one.arg or 0] if one.opname == "KW_NAMES" else one.argval
            if isinstance(told, CodeType):
                told = None  # it has its own turn
        elif one.opcode in _JUMPING:
            told = None  # a place
        elif isinstance(one.argval, str):
            name = one.argval
        ways = tuple(numbers[way] - numbers[place] for way in after.ways)
        yield one.opname, name, encoded((after.does, told, ways, after.handled))


class _After(NamedTuple):
    """What an instruction does, and the places where control may go after it.

    ``handled`` is how the last of those, if it handles exceptions, finds the stack.
    """

    does: str
    ways: Sequence[int]
    handled: tuple[int, bool] | None


class _Flow:
    """How control goes through the instructions of a code, each known by its place in the list.

    Those that only lead on are left out, and so are those that only label what is there.
    """

    def __init__(self, code: CodeType) -> None:
        self.listed = list(dis.get_instructions(code))
        self._places = {one.offset: place for place, one in enumerate(self.listed)}
        self._handlers = list(_handlers(code))
        self._idle = {place for place, one in enumerate(self.listed) if one.opname in _IDLE}
        for place, one in enumerate(self.listed):
            if one.opname == "STORE_NAME" and one.argval in _LABELS:
                self._idle |= {place - 1, place}  # what was loaded for it, too

    def landing(self, place: int) -> int:
        """Where control that comes to ``place`` finds something to do."""
        passed: set[int] = set()
        while place not in passed:  # a loop may do nothing at all
            passed.add(place)
            one = self.listed[place]
            if one.opname in _LEADING:
                place = self._places[one.argval]
            elif place in self._idle:
                place += 1
        return place

    def after(self, place: int) -> _After:
        """What the instruction at ``place`` does, and what comes after it."""
        one = self.listed[place]
        does, ways = _does(one), []
        if does not in _ENDING and one.opname not in _LEADING:
            ways.append(self.landing(place + 1))
        if one.opcode in _JUMPING:
            does, target = self._threaded(does, self._target(place))
            ways.append(target)
        for start, end, handler, *handled in self._handlers:
            if start <= one.offset < end:
                ways.append(self.landing(self._places[handler]))
                return _After(does, ways, (handled[0], bool(handled[1])))
        return _After(does, ways, None)

    def _target(self, place: int) -> int:
        return self.landing(self._places[self.listed[place].argval])

    def _threaded(self, does: str, target: int) -> tuple[str, int]:
        """A jump that keeps its value, and where it ends: another one may ask the same again."""
        while does in _KEEPING:
            there = _does(self.listed[target])
            if there not in (*_KEEPING, *_KEEPING.values()):
                break
            is_same = ("TRUE" in does) == ("TRUE" in there)
            if there != does:
                does = _KEEPING[does]
            target = self._target(target) if is_same else self.landing(target + 1)
        return does, target


def _does(one: dis.Instruction) -> str:
    return one.opname.replace("_FORWARD_", "_").replace("_BACKWARD_", "_")


def _handlers(code: CodeType) -> Iterator[tuple[int, int, int, int, int]]:
    """Where exceptions are handled: from, to, the handler's place, the stack's depth and state."""
    left = iter(code.co_exceptiontable)

    def number(byte: int) -> int:
        value = byte & 63
        while byte & 64:
            byte = next(left)
            value = value << 6 | byte & 63
        return value

    for byte in left:
        start, length, handler, stack = (number(byte), *(number(next(left)) for _ in range(3)))
        yield 2 * start, 2 * (start + length), 2 * handler, stack >> 1, stack & 1


_STANDARD_LIBRARY = {PurePath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
_INSTALLED = {"site-packages", "dist-packages"}
_OWN = __name__.partition(".")[0]


def library_of(value: FunctionType | type | ModuleType) -> str | None:
    """The library that ``value`` comes from, with its version; ``None`` for the user's own."""
    if isinstance(value, FunctionType):
        place = value.__globals__  # a decorator may have copied the name of another module
    else:
        module = value if isinstance(value, ModuleType) else inspect.getmodule(value)
        place = {} if module is None else vars(module)
    name = place.get("__name__", "__main__")
    return None if name == "__main__" else _library(name.partition(".")[0], place.get("__file__"))


@lru_cache(maxsize=4096)
def _library(package: str, file: str | None) -> str | None:
    place = None if file is None else PurePath(file)
    if package == _OWN or (place is not None and _INSTALLED & {*place.parts}):
        return f"{package} {_version_of(package)}"
    if place is None:
        standard = package in sys.stdlib_module_names
    else:
        standard = any(place.is_relative_to(folder) for folder in _STANDARD_LIBRARY)
    return f"{package} {sys.version_info[0]}.{sys.version_info[1]}" if standard else None


def _version_of(package: str) -> str:
    """The version that a package says it has, or else that of the distribution of its name."""
    try:
        return str(vars(import_module(package))["__version__"])
    except (ImportError, KeyError):
        pass
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
