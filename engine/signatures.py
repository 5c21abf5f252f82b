"""What a function that is used as a step asks for, worked out once."""

from __future__ import annotations

import functools
import inspect
import numbers
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from .errors import StepSignatureError
from .usage import Metered

INJECTED = ("context", "resources", "feedback", "frame")
"""The parameter names that the engine fills, wherever they stand."""

AGENT_INJECTED = (*INJECTED, "meter", "temperature", "top_k", "top_p")
"""What an agent's ``run`` is given by name: also where it says what it used, and its options."""

CheckedType = tuple[type, ...] | None
"""The classes that a value must be an instance of; ``None`` for what is not checked."""


class CallKind(Enum):
    """How a function gives its result."""

    SYNC = "sync"
    ASYNC = "async"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class CallShape:
    """How to call a step's function.

    ``data`` is ``""`` when the input goes first, names the parameter that gets it otherwise, and
    is ``None`` when the function takes none.
    """

    kind: CallKind
    data: str | None
    injected: tuple[str, ...]
    input_type: CheckedType
    output_type: CheckedType


def agent_shape(run: Callable[..., object], name: str) -> CallShape:
    """The shape of an agent's ``run`` (or ``stream``)."""
    return call_shape(run, name, AGENT_INJECTED)


def call_shape(
    function: Callable[..., object], name: str, injectable: tuple[str, ...] = INJECTED
) -> CallShape:
    """Work out the shape of ``function``, which a step called ``name`` is made of.

    Raises `StepSignatureError` when a parameter without default is neither the input nor one of
    ``injectable``, and for synchronous generator functions.
    """
    plain = underlying(function)
    if inspect.isgeneratorfunction(plain):
        raise StepSignatureError(
            f"step {name!r} is a generator function, which a step cannot be: return a list, "
            "or make it `async def` to stream"
        )
    kind = CallKind.SYNC
    if inspect.isasyncgenfunction(plain):
        kind = CallKind.STREAM
    elif inspect.iscoroutinefunction(plain):
        kind = CallKind.ASYNC
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins tell no signature
        return CallShape(kind, "", (), None, None)
    hints = _hints(plain)
    returned = function if inspect.isclass(function) else hints.get("return", object)
    data = _data_parameter(parameters, name, injectable)
    return CallShape(
        kind=kind,
        data=None if data is None else "" if data is parameters[0] else data.name,
        injected=tuple(p.name for p in parameters if _is_injected(p, injectable)),
        input_type=_classes(hints.get(data.name, object)) if data is not None else None,
        output_type=_classes(returned) if kind is not CallKind.STREAM else None,
    )


def underlying(function: Callable[..., object]) -> Callable[..., object]:
    """The function whose annotations a callable has: itself, its ``__call__`` or ``__init__``."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        init: Callable[..., object] = function.__init__
        return init
    if inspect.isroutine(function):
        return function
    call: Callable[..., object] = type(function).__call__
    return call


def _is_injected(parameter: inspect.Parameter, injectable: tuple[str, ...]) -> bool:
    keyword = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    return keyword and parameter.name in injectable


def _data_parameter(
    parameters: list[inspect.Parameter], name: str, injectable: tuple[str, ...]
) -> inspect.Parameter | None:
    """The one parameter that gets the input: the first that the engine does not fill."""
    own = [p for p in parameters if not _is_injected(p, injectable) and p.kind is not p.VAR_KEYWORD]
    positional = [p for p in own if p.kind is not p.KEYWORD_ONLY]
    data = positional[0] if positional else next((p for p in own if p.default is p.empty), None)
    for other in own:
        if other is data or other.default is not other.empty or other.kind is other.VAR_POSITIONAL:
            continue
        raise StepSignatureError(
            f"step {name!r} asks for {other.name!r}, which no step gets. A step takes its input "
            f"first{f' (here {data.name!r})' if data else ''}, and by name any of: "
            f"{', '.join(injectable)}"
        )
    return data


def _hints(function: Callable[..., object]) -> dict[str, object]:
    try:
        return dict(typing.get_type_hints(function))
    except (NameError, TypeError, AttributeError, SyntaxError):
        return {}  # an annotation that does not resolve checks nothing


def _classes(hint: object) -> CheckedType:
    """The classes that ``hint`` allows, or ``None`` when it says more than classes can."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        options = [_classes(option) for option in typing.get_args(hint)]
        known = [option for option in options if option is not None]
        return tuple(c for option in known for c in option) if len(known) == len(options) else None
    if origin is typing.Annotated:
        return _classes(typing.get_args(hint)[0])
    found = origin if origin is not None else hint
    if found is Metered:  # an output with its price: nothing is said about the output
        return None
    if not isinstance(found, type) or found is object or not _can_be_checked(found):
        return None
    return _NUMBERS.get(found, (found,))


# As type checkers have it, an int may stand for a float; numpy's numbers are none of these classes.
_NUMBERS: dict[type, tuple[type, ...]] = {
    int: (int, numbers.Integral),
    float: (float, int, numbers.Real),
    complex: (complex, float, int, numbers.Complex),
}


def _can_be_checked(found: type) -> bool:
    protocol = vars(found).get("_is_protocol", False)
    return not (protocol or typing.is_typeddict(found) or found.__module__ == "typing")


def may_flow(given: CheckedType, wanted: CheckedType) -> bool:
    """Whether a value declared as ``given`` can be one that is declared as ``wanted``."""
    if given is None or wanted is None:
        return True
    return any(_may_be(g, w) for g in given for w in wanted)


def _may_be(given: type, wanted: type) -> bool:
    if given in _ABSTRACT or wanted in _ABSTRACT:
        return issubclass(given, wanted)
    related = issubclass(given, wanted) or issubclass(wanted, given)
    return related or inspect.isabstract(given) or inspect.isabstract(wanted)


def type_names(classes: tuple[type, ...]) -> str:
    """``int | str`` for people."""
    named = [c for c in classes if c not in _ABSTRACT] or classes
    return " | ".join("None" if c is type(None) else c.__name__ for c in named)


_ABSTRACT = frozenset({numbers.Integral, numbers.Real, numbers.Complex})


def positional_count(function: Callable[..., object]) -> int:
    """How many positional arguments ``function`` takes; one, when it tells no signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return 99
    return sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)
