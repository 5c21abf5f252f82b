"""Saved values as plain data, to be looked at where their classes may be unknown.

Nothing is imported, no class is looked up, and no blob is read to show a value; what looks like a
secret is not shown.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from .engine.step_config import JSONValue
from .engine.store.codec_forms import READERS
from .engine.store.secrets import looks_like
from .engine.user_code import Raised, caught_inline
from .html import without_controls
from .run_export import json_text
from .widgets.previews import clipped, short, withheld

PREVIEW = 72
"""How many characters of a value a line shows."""

_ITEMS = 12  # more of a container than is ever shown
_DEPTH = 6
_SEARCHED = 20_000


class Told:
    """Stands for a value of a class that is not looked up; the text is all that is shown."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def shown(tree: JSONValue, limit: int = PREVIEW) -> str:
    """A saved value in one line."""
    return one_line(short(plain_of(tree), limit), limit)


def one_line(text: str, limit: int = PREVIEW) -> str:
    """``text`` in one line, without what steers a terminal and without secrets."""
    kind = looks_like(text[:_SEARCHED])
    if kind is not None:
        return withheld(kind)
    return clipped(" ".join(without_controls(text[: 4 * limit]).split()), limit)


def plain_of(tree: JSONValue, depth: int = _DEPTH) -> object:
    """A saved value made of Python's own types and `Told`; only the beginning of long ones."""
    match tree:
        case str():
            kind = looks_like(tree[:_SEARCHED])
            return tree if kind is None else Told(withheld(kind))
        case list() | Mapping() if depth <= 0:
            return Told("…")
        case list():
            return [*(plain_of(one, depth - 1) for one in tree[:_ITEMS]), *tree[_ITEMS:]]
        case Mapping():
            tag = tree.get("$")
            if isinstance(tag, str):
                return _tagged(tag, tree, depth)
            items = list(tree.items())
            return {
                **{key: plain_of(one, depth - 1) for key, one in items[:_ITEMS]},
                **dict(items[_ITEMS:]),
            }
    return tree


def blobs_in(bodies: Iterable[bytes], read: Callable[[bytes], bytes]) -> list[bytes]:
    """The digests of the blobs that bodies refer to, and of those that these refer to.

    ``read`` gives the bytes of a digest.
    """
    found: dict[bytes, None] = {}
    for body in bodies:
        waiting = [body]
        while waiting:
            text = json_text(waiting.pop())
            for digest, holds_json in _references(None if text is None else json.loads(text)):
                if digest not in found:
                    found[digest] = None
                    waiting += [read(digest)] if holds_json else []
    return list(found)


def _references(tree: JSONValue) -> Iterator[tuple[bytes, bool]]:
    """The digests in a tree, and whether the blob is JSON itself."""
    waiting = [tree]
    while waiting:
        match waiting.pop():
            case list(items):
                waiting += items
            case {"$": str(tag), "blob": str(digest)}:
                yield bytes.fromhex(digest), tag == "blob"
            case Mapping() as table:
                waiting += table.values()


def _tagged(tag: str, tree: Mapping[str, JSONValue], depth: int) -> object:
    """A value that JSON has no form for."""
    match tag, tree:
        case (("bytes" | "bytearray" | "blob"), {"size": int(size)}):
            return Told(f"«{'value of ' if tag == 'blob' else ''}{size:,} bytes»")
        case (("bytes" | "bytearray"), {"v": str(code)}):
            data = caught_inline(base64.b64decode, code)
            return Told(f"«{tag}»") if isinstance(data, Raised) else data
        case (("model" | "dataclass"), {"type": str(name), "v": Mapping() as fields}):
            return _of_class(name, fields, depth)
        case "namedtuple", {"type": str(name), "fields": list(names), "v": list(parts)}:
            return _of_class(name, dict(zip(map(str, names), parts, strict=False)), depth)
        case "enum", {"type": str(name), "v": str(member)}:
            return Told(f"{_last(name)}.{member}")
        case (("flag" | "codec"), {"type": str(name), "v": content}):
            return Told(f"{_last(name)}({shown(content)})")
        case "secret", {"name": str(name)}:
            return Told(f"«the secret {name}»")
        case "data", {"of": str(library), "kind": str(kind)}:
            return Told(f"«{library} {kind}»")
    return _by_form(tag, tree.get("v"), depth)


def _by_form(tag: str, content: JSONValue, depth: int) -> object:
    """A value of one of Python's own types; its tag and content where it is damaged."""
    if tag in READERS and not (isinstance(content, list) and len(content) > _ITEMS):
        made = caught_inline(READERS[tag], plain_of(content, depth - 1))
        if not isinstance(made, Raised):
            return made
    return Told(f"{tag}({shown(content)})")


def _of_class(name: str, fields: Mapping[str, JSONValue], depth: int) -> Told:
    if depth <= 0:
        return Told(f"{_last(name)}(…)")
    parts = [f"{key}={short(plain_of(one, depth - 1))}" for key, one in fields.items()]
    more = ["…"] if len(parts) > _ITEMS else []
    return Told(f"{_last(name)}({', '.join([*parts[:_ITEMS], *more])})")


def _last(name: str) -> str:
    return name.rpartition(".")[2]
