"""The codec of stored values: data in, data out, and never anything else.

What it writes, it has read back and compared, so that a value either comes back equal and of the
same type all the way down, or is refused by name. Values that stand twice in one come back as two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from pydantic_core import from_json

from ..errors import ValueNotRead, ValueNotSaved
from ..step_config import JSONValue
from .codec_comparing import Comparison
from .codec_reading import Reader
from .codec_tables import PLAIN
from .codec_writing import LARGEST_BODY, Suspicious, Writer, json_of
from .secrets import SecretBook
from .type_table import TypeTable

SAMPLED_ABOVE = 1_000_000
"""Bytes of values whose long containers are compared in samples, not item by item."""

_TEXT = frozenset({str})
_TAG = b'"$'  # a key that begins so is written another way
_NO_BLOBS: Mapping[bytes, bytes] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as bytes: JSON, and the blobs that it refers to by their digests (32 bytes).

    ``digest`` (16 bytes) is that of the body, which names its blobs; so it is that of the value.
    """

    body: bytes
    blobs: Mapping[bytes, bytes]
    digest: bytes

    @property
    def size(self) -> int:
        """How many bytes the value takes, blobs included."""
        return len(self.body) + sum(map(len, self.blobs.values()))


class Codec:
    """Encodes values and decodes them, for one store.

    ``types`` are the classes that values may be of; ``secrets`` keeps references to secrets, and
    without it values that hold one are refused.
    """

    def __init__(self, types: TypeTable, secrets: SecretBook | None = None) -> None:
        self._types = types
        self._secrets = secrets

    def encode(self, value: object, where: str = "output") -> Encoded:
        """The bytes of ``value``: the same for every value that is exactly equal.

        ``where`` is what errors call it. Raises `ValueNotSaved` for what cannot be encoded or
        does not come back equal.
        """
        kind = type(value)
        if kind in PLAIN:
            flat = True
        elif kind is dict:
            table = cast(dict[object, object], value)
            flat = set(map(type, table.values())) <= PLAIN and set(map(type, table)) <= _TEXT
        else:
            flat = kind is list and set(map(type, cast(list[object], value))) <= PLAIN
        if flat:
            try:
                body = json_of(value, checked=False)
            except Suspicious:
                return self._encoded(value, where, careful=True)
            if len(body) <= LARGEST_BODY and _TAG not in body:
                return Encoded(body, _NO_BLOBS, hashlib.blake2b(body, digest_size=16).digest())
        try:
            return self._encoded(value, where, careful=False)
        except Suspicious:
            return self._encoded(value, where, careful=True)

    def _encoded(self, value: object, where: str, careful: bool) -> Encoded:
        writer = Writer(where, self._types, self._secrets, careful)
        try:
            body = json_of(writer.tree(value), careful)
            if len(body) > LARGEST_BODY:
                body = json_of(writer.stored(body), checked=True)
            encoded = Encoded(body, writer.blobs, hashlib.blake2b(body, digest_size=16).digest())
            if not writer.is_plain:
                self._verify(value, encoded, where, writer.secrets)
        except RecursionError:
            raise ValueNotSaved(
                where, type(value).__qualname__, "it is too deep for what is left of the stack"
            ) from None
        return encoded

    def _verify(
        self, value: object, encoded: Encoded, where: str, secrets: Mapping[str, str | bytes]
    ) -> None:
        """Refuse ``value`` unless what was encoded comes back as it."""
        try:
            reader = Reader(self._types, secrets.get, encoded.blobs.__getitem__)
            again = reader.value(from_json(encoded.body))
        except ValueNotRead as error:
            kind = type(value).__qualname__
            raise ValueNotSaved(where, kind, f"it cannot be read back: {error}") from error
        Comparison(where, sampled=encoded.size > SAMPLED_ABOVE).check(value, again)

    def decode(self, tree: JSONValue, blob: Callable[[bytes], bytes]) -> object:
        """The value of ``tree``, which JSON gave of a body; ``blob`` gives bytes by digest.

        Raises `ValueNotRead`: `TypeNotDefined` for a class that this process does not know, and
        `SecretNeeded` for a secret that it has not.
        """
        if type(tree) in PLAIN:
            return tree
        find = _none if self._secrets is None else self._secrets.find
        return Reader(self._types, find, blob).value(tree)


def _none(_: str) -> None:
    """No secret is known."""
