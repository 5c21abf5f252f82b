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
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib import import_module, metadata
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import cast

from .value_keys import encoded

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
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
        hashed.update(encoded((*head, one.co_exceptiontable)))
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
    """Each instruction: what it does, to which name, and both as bytes."""
    held: tuple[str, str, bytes] | None = None
    for one in dis.get_instructions(code):
        if one.opname == "STORE_NAME" and one.argval in _LABELS:
            held = None  # nor the constant that was loaded for it
            continue
        if held is not None:
            yield held
        name, told = "", cast(object, one.argrepr)
        if one.opcode in dis.hasconst:
            # Python 3.11 does not show the names of keywords that a call passes.
            told = code.co_consts[one.arg or 0] if one.opname == "KW_NAMES" else one.argval
            if isinstance(told, CodeType):
                told = None  # it has its own turn
        elif isinstance(one.argval, str):
            name = one.argval
        held = (one.opname, name, encoded((one.opname, told)))
    if held is not None:
        yield held


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
