"""Values taken apart into JSON trees and blobs.

A tree is what JSON has itself; everything else is ``{"$": tag, …}``. Two passes: the first takes
plain texts and numbers as they are, and when the bytes then show that one of them may be none of
JSON's (NaN, a lone surrogate) or may be a secret, the second looks at each.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, Flag
from itertools import repeat
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import cast

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError, from_json, to_json

from ..errors import ValueNotSaved
from ..step_config import JSONValue
from ..user_code import Raised
from ..value_keys import MAX_DEPTH, class_name
from ..values import shown
from .codec_classes import named_tuple_fields, schema_digest, state
from .codec_forms import FORMS, Form, NoForm, flat, surrogates, wide_float
from .codec_tables import PLAIN, UserCodec, called, library_codec, user_codec_for
from .secrets import SHORTEST, SIGNS, SecretBook, looks_like
from .type_table import TypeTable, holds_data, is_named_tuple

INLINE = 1024
"""Binary data up to so many bytes stand in the tree; longer ones become a blob."""

LARGEST_BODY = 65_536
"""A tree whose JSON is longer becomes a blob itself."""

_SEARCHED = 65_536  # bytes; longer binary data are not searched for secrets
_LEVELS_IN_A_BODY = 40  # a level of values is up to 3 of JSON, whose readers stop at 200
_LONGEST_INT = 4300  # digits that readers of JSON take
_WIDEST_INT = 14_000  # bits, a little less

_SIGNS = "|".join(map(re.escape, ("NaN", "Infinity", *SIGNS)))
_SUSPECT_TEXT = re.compile(_SIGNS)
SUSPECT = re.compile(_SIGNS.encode())
"""In the JSON of every value that needs the second pass, when it could be written at all."""


class Suspicious(Exception):
    """The first pass met something that the second must look at."""


def json_of(tree: object, checked: bool) -> bytes:
    """The JSON of a tree. Raises `Suspicious` unless each part was ``checked``."""
    if checked:
        return to_json(tree)
    try:
        body = to_json(tree)
        if len(body) > _LONGEST_INT:
            from_json(body)  # integers of too many digits
    except (PydanticSerializationError, ValueError):
        raise Suspicious from None
    if SUSPECT.search(body):
        raise Suspicious
    return body


def digest_of(data: bytes) -> bytes:
    """The address of a blob."""
    return hashlib.blake2b(data, digest_size=32).digest()


class Writer:
    """Writes one value: of its ``tree`` are ``blobs``, ``secrets`` and ``is_plain``."""

    def __init__(
        self, where: str, types: TypeTable, secrets: SecretBook | None, careful: bool
    ) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self.secrets: dict[str, str | bytes] = {}
        self.is_plain = True
        self._types = types
        self._book = secrets
        self._careful = careful
        self._around: set[int] = set()
        self._trail: list[int | str | tuple[str]] = [(where,)]

    def tree(self, value: object) -> JSONValue:
        """The tree of ``value``. Raises `ValueNotSaved` and, unless careful, `Suspicious`."""
        kind = type(value)
        if kind in PLAIN:
            return self._leaf(kind, value) if self._careful else cast(JSONValue, value)
        around = self._around
        if id(value) in around:
            raise self.refused(value, "it holds itself")
        if len(around) >= MAX_DEPTH:
            raise self.refused(value, f"it stands deeper than {MAX_DEPTH} values in one another")
        around.add(id(value))
        if kind is list:
            tree = self._list(cast(list[object], value))
        elif kind is dict:
            tree = self._dict(cast(dict[object, object], value))
        else:
            self.is_plain = False
            form = FORMS.get(kind)
            tree = self._other(kind, value) if form is None else self._formed(form, value)
        around.discard(id(value))
        if around and len(around) % _LEVELS_IN_A_BODY == 0:
            return self.stored(self._json(tree))
        return tree

    def stored(self, body: bytes) -> JSONValue:
        """What stands for the JSON of a tree that is kept as a blob."""
        digest = digest_of(body)
        self.blobs[digest] = body
        return {"$": "blob", "blob": digest.hex(), "size": len(body)}

    def refused(self, value: object, reason: str) -> ValueNotSaved:
        """The error that says where ``value`` stands and why it cannot be saved."""
        labels = [
            f"[{one}]" if isinstance(one, int) else f"[{one!r}]" if isinstance(one, str) else one[0]
            for one in self._trail
        ]
        where = "".join("[…]" if looks_like(label) else label for label in labels)
        told = "what was raised is withheld, it holds a secret" if looks_like(reason) else reason
        return ValueNotSaved(where, type(value).__qualname__, told)

    def _leaf(self, kind: type, value: object) -> JSONValue:
        if isinstance(value, str):
            if len(value) >= SHORTEST and (found := looks_like(value)) is not None:
                raise self.refused(value, f"looks like a secret: {found}")
            try:
                value.encode()
            except UnicodeEncodeError:
                return self._tagged("str", surrogates(value))
        elif isinstance(value, float) and not math.isfinite(value):
            return self._tagged("float", wide_float(value))
        elif isinstance(value, int) and value.bit_length() > _WIDEST_INT:
            return self._tagged("int", f"{value:x}")
        return cast(JSONValue, value)

    def _tagged(self, tag: str, content: JSONValue) -> JSONValue:
        self.is_plain = False
        return {"$": tag, "v": content}

    def _list(self, value: Sequence[object]) -> JSONValue:
        if not self._careful and set(map(type, value)) <= PLAIN:
            return cast(JSONValue, value)
        return self._labelled(value, range(len(value)))

    def _labelled(
        self, parts: Iterable[object], labels: Iterable[int | str | tuple[str]]
    ) -> list[JSONValue]:
        """The trees of the parts of a value; a label says where in it a part stands."""
        trees: list[JSONValue] = []
        trail = self._trail
        for label, part in zip(labels, parts, strict=True):
            trail.append(label)
            trees.append(self.tree(part))
            trail.pop()
        return trees

    def _dict(self, value: dict[object, object]) -> JSONValue:
        if not all(type(key) is str and key[:1] != "$" for key in value) or (
            self._careful and not all(self._leaf(str, key) is key for key in value)
        ):
            self.is_plain = False
            return {"$": "dict", "v": self._pairs(flat(value), 0)}
        if not self._careful and set(map(type, value.values())) <= PLAIN:
            return cast(JSONValue, value)
        table = cast(dict[str, object], value)
        return self._named(table, table)

    def _named(
        self, parts: Mapping[str, object], labels: Iterable[int | str | tuple[str]]
    ) -> dict[str, JSONValue]:
        return dict(zip(parts, self._labelled(parts.values(), labels), strict=True))

    def _fields(self, parts: Mapping[str, object]) -> dict[str, JSONValue]:
        return self._named(parts, ((f".{name}",) for name in parts))

    def _formed(self, form: Form, value: object) -> JSONValue:
        try:
            content = form.apart(value)
        except NoForm as why:
            raise self.refused(value, str(why)) from None
        if type(content) is not list:
            return {"$": form.tag, "v": self.tree(content)}
        if form.pairs is not None:
            return {"$": form.tag, "v": self._pairs(content, form.pairs)}
        if not form.members:
            return {"$": form.tag, "v": self._list(content)}
        members = self._labelled(content, repeat(("{…}",), len(content)))
        return {"$": form.tag, "v": sorted(members, key=self._json)}

    def _json(self, tree: object) -> bytes:
        return json_of(tree, self._careful)

    def _pairs(self, parts: list[object], start: int) -> JSONValue:
        """The trees of keys and values that alternate from ``start``."""
        labels: list[tuple[str]] = [("",)] * start
        for key in parts[start::2]:
            labels += [(f" key {shown(key, 40)}",), (f"[{shown(key, 40)}]",)]
        return self._labelled(parts, labels)

    def _other(self, kind: type, value: object) -> JSONValue:
        """The tree of a value whose type has no form."""
        if kind is bytes or kind is bytearray:
            data = bytes(cast(bytes, value))
            if len(data) <= _SEARCHED:
                self._check_texts(value, data.decode("latin-1"))
            return {"$": kind.__name__, **self._payload(data)}
        name = class_name(kind)
        user = user_codec_for(kind)
        if user is not None:
            return self._by_user(user, name, value)
        if isinstance(value, SecretStr | SecretBytes):
            return self._secret(value)
        if holds_data(kind):
            return self._of_class(kind, name, value)
        return self._of_library(kind, value)

    def _payload(self, data: bytes) -> dict[str, JSONValue]:
        if len(data) <= INLINE:
            return {"v": base64.b64encode(data).decode()}
        digest = digest_of(data)
        self.blobs[digest] = data
        return {"blob": digest.hex(), "size": len(data)}

    def _secret(self, value: SecretStr | SecretBytes) -> JSONValue:
        kind = type(value)
        if kind not in (SecretStr, SecretBytes):
            raise self.refused(value, "it is a subclass of pydantic's secrets")
        if self._book is None:
            raise self.refused(value, "it is a secret, and nothing here keeps references to those")
        last = self._trail[-1]
        name = last[0].lstrip(".") if isinstance(last, tuple) else str(last)
        secret: str | bytes = value.get_secret_value()
        digest = self._book.digest(secret)
        self.secrets[digest] = secret
        return {"$": "secret", "type": kind.__name__, "name": name, "digest": digest}

    def _by_user(self, user: UserCodec, name: str, value: object) -> JSONValue:
        data = called(user.encode, value)
        if isinstance(data, Raised):
            kind = type(data.error).__name__
            raise self.refused(
                value, f"its codec raised {kind}: {shown(data.error)}"
            ) from data.error
        if data is value:
            raise self.refused(value, "its codec gave the value itself back")
        return {"$": "codec", "type": name, "v": self.tree(data)}

    def _of_class(self, kind: type, name: str, value: object) -> JSONValue:
        if not self._types.has(kind):
            raise self.refused(value, self._unknown(kind, name))
        if isinstance(value, Enum):
            if isinstance(value, Flag):
                return {"$": "flag", "type": name, "v": self.tree(value.value)}
            return {"$": "enum", "type": name, "v": value.name}
        if is_named_tuple(kind):
            return self._named_tuple(kind, name, cast(tuple[object, ...], value))
        try:
            held = state(value)
        except NoForm as why:
            raise self.refused(value, str(why)) from None
        tag = "model" if isinstance(value, BaseModel) else "dataclass"
        tree: dict[str, JSONValue] = {
            "$": tag,
            "type": name,
            "schema": schema_digest(kind),
            "v": self._fields(held.fields),
        }
        if held.given is not None:
            tree["set"] = cast(JSONValue, sorted(held.given))
        for key, more in (("extra", held.extra), ("private", held.private)):
            if more is not None:
                tree[key] = self._fields(more)
        return tree

    def _named_tuple(self, kind: type, name: str, value: tuple[object, ...]) -> JSONValue:
        fields = named_tuple_fields(kind)
        parts = self._labelled(value, ((f".{field}",) for field in fields))
        return {"$": "namedtuple", "type": name, "fields": cast(JSONValue, fields), "v": parts}

    def _unknown(self, kind: type, name: str) -> str:
        if self._types.find(name) is not None:
            return "its class was defined anew since; run the step again"
        if "<locals>" in name:
            return (
                f"its class {name} is local to a function, so no other process finds it: define "
                "it outside, or annotate the step with it"
            )
        return f"its class {name} is found neither in its module nor in a step's annotations"

    def _of_library(self, kind: type, value: object) -> JSONValue:
        library = str(kind.__module__).partition(".")[0]
        try:
            codec = library_codec(library)
        except ImportError as error:
            raise self.refused(value, f"saving it needs {error.name}: install it") from error
        if codec is None:
            raise self.refused(value, _why_not(kind, value))
        packed = called(codec.packed, value)
        if isinstance(packed, Raised):
            known = isinstance(packed.error, NoForm)
            why = str(packed.error) if known else f"{type(packed.error).__name__}: {packed.error}"
            raise self.refused(value, why) from packed.error
        self._check_texts(value, "\n".join(packed.texts))
        about = self._fields(packed.about)
        payload = self._payload(packed.payload)
        return {"$": "data", "of": library, "kind": packed.kind, "about": about, **payload}

    def _check_texts(self, value: object, text: str) -> None:
        if _SUSPECT_TEXT.search(text) and (found := looks_like(text)) is not None:
            raise self.refused(value, f"holds what looks like a secret: {found}")


def _why_not(kind: type, value: object) -> str:
    if isinstance(value, FunctionType | MethodType | BuiltinFunctionType | type):
        return "code is not data; return what the next step needs of it"
    if isinstance(value, ModuleType):
        return "a module is not data"
    for base in (*FORMS, *PLAIN, list, dict, bytes, bytearray):
        if base is not type(None) and isinstance(value, base):
            return f"{kind.__qualname__} extends {base.__name__}, and only {base.__name__} is saved"
    return "no codec knows it: return plain data of it, or register flujo_nb.codec for its class"
