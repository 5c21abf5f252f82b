"""Values made again of JSON trees and blobs.

Trees are data of unknown origin: every part is checked, and no name in them leads to anything but
a class that the table of types knows, a codec that is registered, or a tag of this module.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from enum import Enum, Flag
from typing import cast

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import from_json

from ..errors import SecretNeeded, TypeNotDefined, ValueNotRead
from ..user_code import Raised, caught_inline
from ..value_keys import MAX_DEPTH
from ..values import shown
from .codec_classes import State, made, named_tuple_fields
from .codec_forms import READERS, items_of, number_of, text_of
from .codec_tables import PLAIN, Packed, called, codec_of, user_codec
from .type_table import TypeTable, is_named_tuple

Tagged = Mapping[str, object]

_NO_FORM = (
    *(KeyError, TypeError, ValueError, IndexError, OverflowError, ArithmeticError),
    *(AttributeError, RecursionError),
)


class Reader:
    """Reads trees. ``secret`` gives the secret, ``blob`` the bytes of a digest."""

    def __init__(
        self,
        types: TypeTable,
        secret: Callable[[str], str | bytes | None],
        blob: Callable[[bytes], bytes],
    ) -> None:
        self._types = types
        self._secret_of = secret
        self._blob = blob
        self._depth = 0

    def value(self, tree: object) -> object:
        """The value of a tree. Raises `ValueNotRead`."""
        try:
            return self._value(tree)
        except _NO_FORM as error:
            raise ValueNotRead(
                f"the saved value is damaged, or of another version: {type(error).__name__}: "
                f"{error}"
            ) from error

    def _value(self, tree: object) -> object:
        kind = type(tree)
        if kind in PLAIN:
            return tree
        self._depth += 1
        if self._depth > 4 * MAX_DEPTH:
            raise ValueError("it is too deep")
        value: object = tree
        if kind is list:
            items = cast(list[object], tree)
            if not set(map(type, items)) <= PLAIN:
                value = list(map(self._value, items))
        elif kind is not dict:
            raise TypeError(f"{kind.__name__} is no part of a saved value")
        elif "$" in cast(Tagged, tree):
            value = self._tagged(cast(Tagged, tree))
        else:
            table = cast(Tagged, tree)
            if not set(map(type, table.values())) <= PLAIN:
                value = dict(zip(table, map(self._value, table.values()), strict=True))
        self._depth -= 1
        return value

    def _tagged(self, tree: Tagged) -> object:
        tag = text_of(tree["$"])
        make = _TAGS.get(tag)
        if make is not None:
            return make(self, tree)
        return READERS[tag](self._value(tree["v"]))

    def _body(self, tree: Tagged) -> object:
        return self._value(from_json(self._payload(tree)))

    def _payload(self, tree: Tagged) -> bytes:
        if "blob" not in tree:
            return base64.b64decode(text_of(tree["v"]), validate=True)
        data = self._blob(bytes.fromhex(text_of(tree["blob"])))
        if len(data) != number_of(tree["size"]):
            raise ValueError("a blob is not of the size that is recorded")
        return data

    def _class(self, tree: Tagged) -> type:
        name = text_of(tree["type"])
        found = self._types.find(name)
        if found is None:
            last = name.rpartition(".")[2]
            raise TypeNotDefined(
                f"the value is of the class {name}, which is not defined here: run the cell that "
                f"defines {last}, or import its module"
            )
        return found

    def _instance(self, tree: Tagged, base: type) -> object:
        kind = self._class(tree)
        if issubclass(kind, Enum) or is_named_tuple(kind) or not issubclass(kind, base):
            raise ValueNotRead(f"{kind.__qualname__} was another kind of class when it was saved")
        if base is object and issubclass(kind, BaseModel):
            raise ValueNotRead(f"{kind.__qualname__} was a dataclass when the value was saved")
        given = tree.get("set")
        held = State(
            self._named(tree["v"]),
            None if given is None else set(map(text_of, items_of(given))),
            self._named(tree["extra"]) if "extra" in tree else None,
            self._named(tree["private"]) if "private" in tree else None,
        )
        return made(kind, text_of(tree["schema"]), held)

    def _named(self, tree: object) -> dict[str, object]:
        if type(tree) is not dict:
            raise TypeError("fields were expected")
        return dict(zip(tree, map(self._value, tree.values()), strict=True))

    def _enum(self, tree: Tagged) -> object:
        kind = self._class(tree)
        name = text_of(tree["v"])
        if not issubclass(kind, Enum) or name not in kind.__members__:
            raise ValueNotRead(f"{kind.__qualname__} has no member {name!r} any more")
        return kind.__members__[name]

    def _flag(self, tree: Tagged) -> object:
        kind = self._class(tree)
        if not issubclass(kind, Flag):
            raise ValueNotRead(f"{kind.__qualname__} was a flag when the value was saved")
        member = caught_inline(kind, number_of(self._value(tree["v"])))
        if isinstance(member, Raised):
            raise ValueNotRead(f"{kind.__qualname__}: {shown(member.error)}") from member.error
        return member

    def _named_tuple(self, tree: Tagged) -> object:
        kind = self._class(tree)
        then = [text_of(name) for name in items_of(tree["fields"])]
        if not is_named_tuple(kind) or named_tuple_fields(kind) != then:
            raise ValueNotRead(
                f"{kind.__qualname__} was a named tuple of {', '.join(then)} when the value was "
                "saved, and is not any more: run the step again"
            )
        parts = [self._value(part) for part in items_of(tree["v"], len(then))]
        return tuple.__new__(kind, parts)

    def _secret(self, tree: Tagged) -> object:
        name, digest = text_of(tree["name"]), text_of(tree["digest"])
        found = self._secret_of(digest)
        if found is None:
            raise SecretNeeded(
                f"the secret {name!r} is not saved, and neither the resources of the run nor the "
                "environment have it: supply it there"
            )
        if tree["type"] == "SecretBytes":
            return SecretBytes(found.encode() if isinstance(found, str) else found)
        return SecretStr(found.decode() if isinstance(found, bytes) else found)

    def _by_user(self, tree: Tagged) -> object:
        name = text_of(tree["type"])
        user = user_codec(name)
        if user is None:
            raise ValueNotRead(
                f"the value was saved by the codec of {name}, which is not registered here: run "
                "the cell that calls flujo_nb.codec for it"
            )
        value = called(user.decode, self._value(tree["v"]))
        if isinstance(value, Raised):
            told = f"{type(value.error).__name__}: {shown(value.error)}"
            raise ValueNotRead(f"the codec of {name} raised {told}") from value.error
        return value

    def _of_library(self, tree: Tagged) -> object:
        library, kind = text_of(tree["of"]), text_of(tree["kind"])
        packed = Packed(kind, self._named(tree["about"]), self._payload(tree))
        value = called(codec_of(library).unpacked, packed)
        if isinstance(value, Raised):
            told = f"{type(value.error).__name__}: {shown(value.error, 200)}"
            raise ValueNotRead(f"a value of {library} ({kind}): {told}") from value.error
        return value


# Not kept by each reader, which would then hold itself, and its blobs until a garbage collection.
_TAGS: dict[str, Callable[[Reader, Tagged], object]] = {
    "blob": Reader._body,
    "bytes": Reader._payload,
    "bytearray": lambda reader, tree: bytearray(reader._payload(tree)),
    "model": lambda reader, tree: reader._instance(tree, BaseModel),
    "dataclass": lambda reader, tree: reader._instance(tree, object),
    "enum": Reader._enum,
    "flag": Reader._flag,
    "namedtuple": Reader._named_tuple,
    "secret": Reader._secret,
    "codec": Reader._by_user,
    "data": Reader._of_library,
}
