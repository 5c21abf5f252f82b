"""What values, objects and classes are made of, as far as it says what they do."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import operator
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    WrapperDescriptorType,
)
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo, ModelPrivateAttr

from .code_facts import CodeFacts, facts_of, library_of
from .values import state_of

if TYPE_CHECKING:
    from pydantic._internal._decorators import DecoratorInfos

BUILT_IN = BuiltinFunctionType | MethodDescriptorType | WrapperDescriptorType
SECRET: tuple[type, ...] = (Secret, SecretBytes, SecretStr)
_CODE = (
    *(FunctionType, classmethod, staticmethod, property, functools.cached_property),
    *(functools.partialmethod, functools.singledispatchmethod),
)
_MADE = ("_tuplegetter", "getset_descriptor", "member_descriptor")
"""The types of the members that a class is given for its fields."""
_OF_PATTERNS = ("__match_args__", "__slots__")
_UNDEFINED: object = ModelPrivateAttr().default
_OF_A_FIELD = (
    *("alias", "validation_alias", "serialization_alias", "title", "description", "examples"),
    *("discriminator", "json_schema_extra", "exclude", "frozen", "validate_default"),
)
_DESCRIBED = frozenset(
    {"model_config", "model_fields", "model_computed_fields", "_field_defaults", "_abc_impl"}
)

Parts: TypeAlias = Sequence[tuple[str, object]]
"""Labels and what stands there: ``[0]``, ``.name``."""


class MadeOf(NamedTuple):
    """The parts of an agent, by label; ``holds()`` while they are the same objects."""

    parts: Parts
    holds: Callable[[], bool]


@runtime_checkable
class Defined(Protocol):
    """An agent that says itself what it is."""

    @property
    def definition_digest(self) -> Callable[[], str]:
        """Gives a text that is another one whenever the agent would work differently."""


@runtime_checkable
class Described(Defined, Protocol):
    """An agent that also says what it is made of.

    Its parts count in place of its text, which may tell apart what only one process knows.
    """

    @property
    def definition_parts(self) -> Callable[[], MadeOf]:
        """Gives all the parts that count."""


def parts_of(value: object, owned: bool) -> Parts | None:
    """The parts of a value that is nothing else; one that can change has some when ``owned``."""
    match value:
        case MethodType():
            return [("", value.__func__), (".__self__", value.__self__)]
        case functools.partial() | functools.partialmethod():
            arguments = [*enumerate(value.args), *value.keywords.items()]
            return [("", value.func), *((f"({key})", one) for key, one in arguments)]
        case classmethod() | staticmethod():
            return [("", value.__func__)]
        case property():
            return [("", value.fget), ("=", value.fset), ("del", value.fdel)]
        case functools.cached_property():
            return [("", value.func)]
        case functools.singledispatchmethod():
            registry: Mapping[type, object] = value.dispatcher.registry
            return [pair for kind, one in registry.items() for pair in ((": ", kind), ("", one))]
        case operator.itemgetter() | operator.attrgetter() | operator.methodcaller():
            return [("", part) for part in value.__reduce__()]
        case tuple():
            return _items(value)
        case list() if owned and type(value) is list:
            return _items(value)
        case Mapping() if owned:
            return [*_items([*value]), *((f"[{key!r:.40}]", one) for key, one in value.items())]
    origin = typing.get_origin(value)
    if origin is not None:
        return [("", origin), *_items(typing.get_args(value))]
    if isinstance(value, BaseModel):
        if not owned and not type(value).model_config.get("frozen"):
            return None
        return [(f".{name}", one) for name, one in state_of(value).items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if not owned and not inspect.getattr_static(value, "__dataclass_params__").frozen:
            return None
        return [(f".{one.name}", getattr(value, one.name)) for one in dataclasses.fields(value)]
    wrapped: object = inspect.getattr_static(value, "__wrapped__", None)  # by functools
    return None if wrapped is None else [("", wrapped)]


def _items(values: Iterable[object]) -> Parts:
    return [(f"[{number}]", one) for number, one in enumerate(values)]


def hint_facts(hint: str) -> CodeFacts:
    """What is known of an annotation that is a text, as of code; nothing, if it is none."""
    try:
        code = compile(hint, "<annotation>", "eval")
    except SyntaxError:
        code = compile("None", "<annotation>", "eval")
    return facts_of(code)


def content_of(cell: CellType, key: str, default: object) -> object:
    """What a variable of a closure holds, or ``default`` when it holds nothing yet."""
    try:
        content: object = cell.cell_contents
    except ValueError:
        return default
    return content


def is_simple_object(value: object) -> bool:
    """Whether all that tells ``value`` from others of its class stands in its ``__dict__``."""
    kind = type(value)
    slots = any(vars(base).get("__slots__") for base in kind.__mro__)
    return kind.__new__ is object.__new__ and not slots and hasattr(value, "__dict__")


def rebound_attributes(kind: type, entries: Iterable[str]) -> set[str]:
    """The attributes that the methods ``entries``, and those that they use, assign."""
    methods: dict[str, list[FunctionType]] = {}
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, FunctionType):
                methods.setdefault(name, []).append(member)
    found: set[str] = set()
    left = list(entries)
    while left:
        for method in methods.pop(left.pop(), ()):
            facts = facts_of(method.__code__)
            found |= facts.set_attributes
            left += facts.attributes
    return found


def declared_in(kind: type) -> Iterator[tuple[str, object]]:
    """What models, dataclasses and enums declare beside their members and annotations."""
    if issubclass(kind, BaseModel):
        yield "model_config", kind.model_config
        yield from _fields_of(kind.model_fields)
        for name, private in kind.__private_attributes__.items():
            default = "no default" if private.default is _UNDEFINED else (private.default,)
            yield name, (default, private.default_factory)
        yield from _rules_of(kind.__pydantic_decorators__)
    elif issubclass(kind, Enum):
        yield from ((member.name, member.value) for member in kind)
    elif dataclasses.is_dataclass(kind):
        yield "dataclass", repr(inspect.getattr_static(kind, "__dataclass_params__"))
        for each in dataclasses.fields(kind):
            factory: object = each.default_factory
            made = None if factory is dataclasses.MISSING else factory
            yield each.name, (each.init, each.kw_only, each.compare, made)
        if is_pydantic_dataclass(kind):
            yield from _fields_of(kind.__pydantic_fields__)
            yield from _rules_of(kind.__pydantic_decorators__)


def _fields_of(fields: Mapping[str, FieldInfo]) -> Iterator[tuple[str, object]]:
    for name, one in fields.items():
        default = "no default" if one.default is _UNDEFINED else (one.default,)
        yield name, (one.annotation, default, one.default_factory, *one.metadata)
        yield f"{name}: told", [getattr(one, told) for told in _OF_A_FIELD]


def _rules_of(rules: DecoratorInfos) -> Iterator[tuple[str, object]]:
    """How the functions that check a model's values, or write them, are called."""
    yield from ((name, repr(one.info)) for name, one in rules.field_validators.items())
    yield from ((name, repr(one.info)) for name, one in rules.model_validators.items())
    yield from ((name, repr(one.info)) for name, one in rules.field_serializers.items())
    yield from ((name, repr(one.info)) for name, one in rules.model_serializers.items())


def is_written(kind: type, key: str, member: object) -> bool:
    """Whether a class's member is one that its author wrote, and not described elsewhere."""
    if isinstance(member, _CODE):
        made = isinstance(member, FunctionType) and (
            member.__code__.co_filename == "<string>" or library_of(member) is not None
        )
        return not (made and "__dataclass_params__" in vars(kind))
    dunder = key.startswith("__") and key.endswith("__") and key not in _OF_PATTERNS
    if key in _DESCRIBED or dunder or type(member).__name__ in _MADE:
        return False
    return not issubclass(kind, Enum)
