"""Values written and read again, and what a value is, told so that equal tellings mean equality."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import from_json

from flujo_nb.engine.store.codec import Codec, Encoded
from flujo_nb.engine.store.type_table import TypeTable

TABLES = (dict, OrderedDict, Counter, defaultdict, MappingProxyType)
SEQUENCES = (list, tuple, deque)


def plain_codec() -> Codec:
    """A codec that knows the classes of imported modules, and no secrets."""
    return Codec(TypeTable())


def read(codec: Codec, encoded: Encoded) -> Any:
    """What was encoded, by way of text, as another process reads it."""
    json.loads(encoded.body)
    return codec.decode(from_json(bytes(encoded.body)), dict(encoded.blobs).__getitem__)


def again(value: object, codec: Codec | None = None) -> Any:
    """The value, written and read."""
    codec = codec or plain_codec()
    return read(codec, codec.encode(value))


def given(data: bytes) -> Callable[[bytes], bytes]:
    """A store that has those bytes for every digest."""
    return lambda digest: data


def told(value: object) -> object:
    """Type and content of a value, all the way down; order too, but for sets."""
    kind = type(value)
    if kind in SEQUENCES:
        longest = value.maxlen if isinstance(value, deque) else None
        return kind, longest, [told(item) for item in value]  # type: ignore[attr-defined]
    if kind in TABLES and isinstance(value, Mapping):
        factory = value.default_factory if isinstance(value, defaultdict) else None
        return kind, factory, [(told(key), told(item)) for key, item in value.items()]
    if isinstance(value, set | frozenset):
        return kind, sorted((told(item) for item in value), key=repr)
    if isinstance(value, BaseModel):
        parts = (value.__dict__, value.__pydantic_extra__, value.__pydantic_private__)
        return kind, sorted(value.model_fields_set), *(told(part) for part in parts)
    if isinstance(value, Enum):
        return kind, value.name
    if isinstance(value, tuple):
        return kind, [told(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return kind, [(name, told(getattr(value, name, "nothing"))) for name in names]
    if isinstance(value, SecretStr | SecretBytes):
        return kind, value.get_secret_value()
    if isinstance(value, re.Pattern):
        return kind, value.pattern, value.flags
    if isinstance(value, int):
        return kind, hex(value)
    if isinstance(value, Fraction):
        return kind, hex(value.numerator), hex(value.denominator)
    if isinstance(value, slice):
        return kind, told([value.start, value.stop, value.step])
    return kind, repr(value)
