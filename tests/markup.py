"""The tree of a piece of HTML, read strictly.

Only the part of HTML is taken that every reader takes alike: each element is closed, each value is
quoted, each sign of the language is escaped. Whatever else stands there, data has brought.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from html import unescape
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

_ENTITY = "&(?:lt|gt|amp|quot|nbsp|middot|#x27);"
_ATTRIBUTE = rf' ([a-z][a-z-]*)="((?:[^"<>&]|{_ENTITY})*)"'
_TOKEN = re.compile(
    rf"<([a-z][a-z0-9]*)((?:{_ATTRIBUTE})*)>|</([a-z0-9]+)>|(?:[^<>&\"']|{_ENTITY})+", re.ASCII
)
_VALUES = re.compile(_ATTRIBUTE, re.ASCII)
_DOCTYPE = "<!doctype html>\n"
_STYLE = re.compile(r"<style>[^<]*</style>")
_EMPTY = {"br", "hr", "img", "meta"}
_TEXTS = {"alt", "title", "aria-label"}
_OURS = {"style", "open", "src", "href", "class", "lang", *_TEXTS}
_OURS |= {"charset", "http-equiv", "content"}
_DRAWN = {
    "svg",
    "g",
    "path",
    "line",
    "polyline",
    "rect",
    "text",
    "tspan",
    "title",
    "defs",
    "marker",
}
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


class NotWellFormed(AssertionError):
    """A piece of HTML in which something stands that only data could have brought."""


def tree_of(page: str) -> Sequence[str]:
    """The tree of a page or a part of one: how its elements begin and end, in order.

    Attributes belong to it, but for the values of those that hold text.
    """
    rest = _STYLE.sub("", page.removeprefix(_DOCTYPE))
    tree, open_, at = list[str](), list[str](), 0
    while at < len(rest):
        token = _TOKEN.match(rest, at)
        if token is None:
            raise NotWellFormed(f"at {rest[max(at - 40, 0) : at]!r} stands {rest[at : at + 40]!r}")
        at = token.end()
        begun, attributes, *_, ended = token.groups()
        if begun is not None:
            tree += (begun, *_attributes(attributes))
            if begun not in _EMPTY:
                open_.append(begun)
        elif ended is not None:
            if not open_ or open_.pop() != ended:
                raise NotWellFormed(f"{ended} ends where it did not begin")
            tree.append("/")
    if open_:
        raise NotWellFormed(f"{open_[-1]} does not end")
    return tree


def _attributes(text: str) -> Iterator[str]:
    names = set[str]()
    for name, code in _VALUES.findall(text):
        value = unescape(code)
        if name not in _OURS or name in names:
            raise NotWellFormed(f"an element has the attribute {name}")
        names.add(name)
        if name == "src":
            yield from _picture(value)
        elif name == "href" and not value.startswith("#"):
            raise NotWellFormed(f"a link leads to {value!r}")
        else:
            yield f"{name}={'…' if name in _TEXTS else value}"


def _picture(source: str) -> Iterator[str]:
    """The tree of an SVG in a ``data:`` address."""
    head, _, data = source.partition(",")
    if not head.startswith("data:image/svg+xml"):
        raise NotWellFormed(f"a picture comes from {head!r}")
    code = base64.b64decode(data) if head.endswith(";base64") else unquote_to_bytes(data)
    yield from _drawn(ElementTree.fromstring(code))


def _drawn(element: ElementTree.Element) -> Iterator[str]:
    """Of a number only that it is one counts: boxes are as wide as what stands in them."""
    name = element.tag.rpartition("}")[2]
    if name not in _DRAWN:
        raise NotWellFormed(f"a picture has the element {name}")
    yield name
    for key, value in element.attrib.items():
        yield f"{key}={'…' if key in _TEXTS else _NUMBER.sub('0', value)}"
    for child in element:
        yield from _drawn(child)
    yield "/"
