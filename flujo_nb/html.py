"""The only place that makes HTML: whatever is not `Html` already is escaped."""

from __future__ import annotations

import unicodedata
from html import escape

from flujo_nb.widgets.view_model import veiled


class Html(str):
    """Text that is markup."""

    __slots__ = ()


def tag(name: str, *content: str, style: str = "", **attributes: str) -> Html:
    """An element. ``content`` is escaped unless it is `Html`; attribute values always are.

    ``style`` is a literal of our own, never data. A trailing underscore of an attribute's name is
    dropped (``open_``).
    """
    given = {"style": style, **attributes} if style else attributes
    opening = "".join(
        f' {key.rstrip("_")}="{escape(value, quote=True)}"' for key, value in given.items()
    )
    inner = "".join(part if isinstance(part, Html) else clean(part) for part in content)
    return Html(f"<{name}{opening}>{inner}</{name}>")


def clean(text: str) -> Html:
    """``text`` escaped, without control characters and secrets."""
    return Html(escape(without_controls(veiled(text)), quote=True))


def without_controls(text: str) -> str:
    """``text`` without what steers a terminal or turns reading order; tabs and line ends stay."""
    return "".join("\ufffd" if _is_surrogate(c) else c for c in text if not _steers(c))


def _steers(char: str) -> bool:
    turns = "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"
    return turns or (unicodedata.category(char) == "Cc" and char not in "\n\t")


def _is_surrogate(char: str) -> bool:
    return "\ud800" <= char <= "\udfff"
