"""The only place that makes HTML: whatever is not `Html` already is escaped."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from html import escape

from flujo_nb.widgets.previews import veiled


class Html(str):
    """Text that is markup."""

    __slots__ = ()


NOTHING = Html()
_VOID = frozenset({"img"})
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def tag(name: str, *content: str, style: str = "", **attributes: str) -> Html:
    """An element. ``content`` is cleaned unless it is `Html`; values of attributes always are.

    ``style`` is a literal of our own, never data. A trailing underscore of an attribute's name is
    dropped (``open_``).
    """
    given = {"style": style, **attributes} if style else attributes
    opening = "".join(f' {key.rstrip("_")}="{clean(value)}"' for key, value in given.items())
    closing = "" if name in _VOID else f"</{name}>"
    return Html(f"<{name}{opening}>{joined(content)}{closing}")


def image(svg: Html, alt: str, style: str) -> Html:
    """A picture that is a part of the page; ``alt`` says in words what is in it."""
    source = b64encode(svg.encode()).decode()
    told = f'alt="{clean(alt)}" style="{style}"'
    return Html(f'<img src="data:image/svg+xml;base64,{source}" {told}>')


def page(title: str, style: Html, *body: str) -> str:
    """A whole page, which may load nothing and execute nothing; ``style`` is ours, never data."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{clean(policy)}">'
    )
    told = tag("head", Html(head), tag("title", title), tag("style", style))
    return f"<!doctype html>\n{tag('html', told, tag('body', *body), lang='en')}\n"


def joined(parts: Iterable[str], between: Html = NOTHING) -> Html:
    """``parts``, each escaped unless it is `Html`, with ``between`` between them."""
    return Html(between.join(part if isinstance(part, Html) else clean(part) for part in parts))


def clean(text: str) -> Html:
    """``text`` escaped, without control characters and secrets."""
    return Html(escape(safe(text), quote=True))


def safe(text: str) -> str:
    """``text`` without control characters and secrets; one may have stood inside the other."""
    return veiled(without_controls(text))


def plain(text: str) -> str:
    """``text`` without colours and other control characters."""
    return without_controls(_ANSI.sub("", text))


def without_controls(text: str) -> str:
    """``text`` without what steers a terminal or turns reading order; tabs and line ends stay."""
    return _SURROGATE.sub("\ufffd", _STEERING.sub("", text))
