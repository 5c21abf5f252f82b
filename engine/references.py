"""References of a context to state that is kept outside of it.

A context holds only where the state is: a provider and a key. While a step runs that takes the
context, its own copy of each reference gives the value too. That value is in no dump, no update
and no comparison; it ends with the step.
"""

from __future__ import annotations

import typing
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Generic, Protocol, Self, TypeAlias, TypeVar, cast

from pydantic import BaseModel

from .errors import ContextError
from .user_code import Raised, caught_inline
from .values import cloned, exactly_equal

T = TypeVar("T")


class ReferenceNotLoaded(ContextError):
    """A reference was asked for its value outside of a step that takes the context."""


class UnknownProvider(ContextError):
    """A reference names a provider that the run does not have."""


class ProviderFailed(ContextError):
    """A provider raised while it loaded or saved."""


class StateProvider(Protocol):
    """Keeps state under keys. Both calls may be synchronous or async."""

    def load(self, key: str) -> object | Awaitable[object]:
        """The value at ``key``."""

    def save(self, key: str, value: object) -> object | Awaitable[object]:
        """Keep ``value`` at ``key``. It may be called again with the same value."""


StateProviders: TypeAlias = Mapping[str, StateProvider]


class Loaded:
    """What a provider gave for one step; once the step has ended it gives nothing more."""

    __slots__ = ("ended", "value")

    def __init__(self, value: object) -> None:
        self.value = value
        self.ended = False


_UNREAD = object()


@dataclass(frozen=True, eq=False)
class _Place:
    """The fields of a reference; its own class, so that ``value`` can be set on a frozen one."""

    provider_id: str
    key: str


class ContextReference(_Place, Generic[T]):
    """A field of a context whose value a provider keeps: ``ContextReference("history", "ann")``.

    In a step that takes the context ``value`` is the step's own copy of what the provider gave
    (the very object, when that cannot be copied). What the step made of it, in place or by
    setting it, is saved when the step succeeds.
    """

    _loaded: Loaded | None = None
    _own: object = _UNREAD

    @property
    def value(self) -> T:
        """The state itself. Raises `ReferenceNotLoaded` outside of such a step."""
        loaded = self._open()
        if self._own is _UNREAD:
            copy = caught_inline(cloned, loaded.value)
            self._keep(loaded.value if isinstance(copy, Raised) else copy)
        return cast(T, self._own)

    @value.setter
    def value(self, value: T) -> None:
        self._open()
        self._keep(value)

    @property
    def is_changed(self) -> bool:
        """Whether the value may be another than the one that was loaded."""
        if self._loaded is None or self._own is _UNREAD:
            return False
        # One and the same object: it could not be copied, so there is no telling.
        return self._own is self._loaded.value or not exactly_equal(self._own, self._loaded.value)

    def bound(self, loaded: Loaded) -> Self:
        """This reference with a value."""
        bound = self.unbound()
        object.__setattr__(bound, "_loaded", loaded)
        return bound

    def unbound(self) -> Self:
        """This reference without a value."""
        return type(self)(self.provider_id, self.key)

    def _open(self) -> Loaded:
        if self._loaded is None or self._loaded.ended:
            raise ReferenceNotLoaded(
                f"the value of {self!r} can be read and set only while a step runs that takes the "
                "context as `context`"
            )
        return self._loaded

    def _keep(self, value: object) -> None:
        object.__setattr__(self, "_own", value)

    def __eq__(self, other: object) -> bool:
        """Whether both name the same place, and neither has a changed value."""
        if not isinstance(other, ContextReference):
            return NotImplemented
        same = (self.provider_id, self.key) == (other.provider_id, other.key)
        return same and not self.is_changed and not other.is_changed

    def __hash__(self) -> int:
        return hash((self.provider_id, self.key))

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        copied = self.unbound() if self._loaded is None else self.bound(self._loaded)
        copied._keep(self._own)
        return copied

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.provider_id, self.key)


def may_have_references(model: type[BaseModel]) -> bool:
    """Whether a field of ``model``, or of a model inside it, is declared as a reference."""
    return _declares(model, set())


def _declares(hint: object, seen: set[type]) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, UnionType, typing.Annotated):
        return any(_declares(part, seen) for part in typing.get_args(hint))
    found = origin if origin is not None else hint
    if not isinstance(found, type) or found in seen:
        return False
    seen.add(found)
    if issubclass(found, ContextReference):
        return True
    fields = found.model_fields.values() if issubclass(found, BaseModel) else ()
    return any(_declares(field.annotation, seen) for field in fields)


def references_in(context: BaseModel) -> Iterator[tuple[tuple[str, ...], ContextReference[object]]]:
    """The references of ``context`` and of the models inside it, with their paths."""
    for name in type(context).model_fields:
        value: object = vars(context).get(name)
        if isinstance(value, ContextReference):
            yield (name,), value
        elif isinstance(value, BaseModel):
            for path, reference in references_in(value):
                yield (name, *path), reference
