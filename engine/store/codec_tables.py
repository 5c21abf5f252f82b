"""Who else knows how to save values: codecs that users registered, and adapters of libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple, Protocol, TypeVar, TypeVarTuple, cast

from ..errors import ConfigurationError, StepInterrupted, ValueNotRead
from ..user_code import Raised, caught_inline, run_inline
from ..value_keys import class_name
from .codec_forms import FORMS

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PLAIN = frozenset({type(None), bool, int, float, str})
"""What JSON has itself, besides lists and dicts."""


class Packed(NamedTuple):
    """A library's value as bytes: what it is, what is to be known of it, and its data.

    ``about`` holds values that are saved as any others are. ``texts`` are those in the payload,
    to be searched for secrets.
    """

    kind: str
    about: Mapping[str, object]
    payload: bytes
    texts: Iterable[str] = ()


class DataCodec(Protocol):
    """A module that saves the values of one library."""

    @property
    def packed(self) -> Callable[[object], Packed]:
        """Gives the bytes of a value. Raises `NoForm` for what has none."""

    @property
    def unpacked(self) -> Callable[[Packed], object]:
        """Gives the value back. Raises ``ValueError`` for what no value was packed into."""

    @property
    def difference(self) -> Callable[[object, object], str | None]:
        """Tells what differs between two values of one type; ``None`` when nothing does."""


CODECS: dict[str, str] = {}
"""The codec module (dotted name) of each library, by the name of its top-level package."""


def library_codec(library: str) -> DataCodec | None:
    """The codec of a library, imported on first use; ``None`` for a library without.

    Raises ``ImportError`` when the library is not installed.
    """
    module = CODECS.get(library)
    return None if module is None else cast(DataCodec, import_module(module))


def codec_of(library: str) -> DataCodec:
    """The codec of the library that a saved value names. Raises `ValueNotRead` without one."""
    try:
        found = library_codec(library)
    except ImportError as error:
        missing = error.name or library
        raise ValueNotRead(
            f"the value is of {library!r}, and {missing!r} is not installed here: install it"
        ) from error
    if found is None:
        raise ValueNotRead(f"the value is of {library!r}, which no codec here reads")
    return found


def called(function: Callable[[*Ts], T], *args: *Ts) -> T | Raised:
    """Call what a codec consists of; what it raises comes back as `Raised`.

    But for an interrupt, which is for the run: raises `StepInterrupted`.
    """
    result = caught_inline(run_inline, function, *args)
    if isinstance(result, Raised) and isinstance(result.error, StepInterrupted):
        raise result.error
    return result


@dataclass(frozen=True, slots=True)
class UserCodec:
    """A pair of functions that a user registered for a class."""

    kind: type
    encode: Callable[[object], object]
    decode: Callable[[object], object]


_USERS: dict[str, UserCodec] = {}


def codec(kind: type[T], *, encode: Callable[[T], object], decode: Callable[[object], T]) -> None:
    """Have values of exactly the class ``kind`` saved as what ``encode(value)`` gives.

    That is data which can be saved itself; ``decode(data)`` makes the value of it again, also in
    another process, which must have registered a codec under the class's name too. The value
    counts as saved when encoding what was decoded gives the same data. A class's name stands for
    what was registered last. Raises `ConfigurationError` for a type that has a form already.
    """
    if not isinstance(kind, type):
        raise ConfigurationError(f"a codec is for a class; found {kind!r:.60}")
    if kind in FORMS or kind in PLAIN or kind in (list, dict, bytes, bytearray):
        raise ConfigurationError(f"{kind.__name__} is saved already, without a codec")
    _USERS[class_name(kind)] = UserCodec(
        kind,
        cast("Callable[[object], object]", encode),
        cast("Callable[[object], object]", decode),
    )


def user_codec(name: str) -> UserCodec | None:
    """What was registered last for a class of that module and qualified name."""
    return _USERS.get(name)


def user_codec_for(kind: type) -> UserCodec | None:
    """What was registered for exactly this class."""
    found = _USERS.get(class_name(kind)) if _USERS else None
    return found if found is not None and found.kind is kind else None
