"""How the difference of two frames is shown: as aligned text, and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from ..display import View, rows_html
from ..html import Html, joined, tag
from .diff_lines import Line, Mark
from .frame_diff import FrameDiff

_GONE = "background:rgba(214,69,69,.15)"
_NEW = "background:rgba(46,158,91,.17)"
_BACKGROUNDS = {Mark.GONE: _GONE, Mark.NEW: _NEW}
_MARK = "text-align:center;vertical-align:top;padding:1px 6px;font-family:monospace"
_WHERE = "text-align:left;vertical-align:top;padding:1px 14px 1px 4px;white-space:nowrap"
_CHANGE = "text-align:left;vertical-align:top;padding:1px 4px;overflow-wrap:anywhere"
_CODE = "margin:0;white-space:pre-wrap"


def diff_view(diff: FrameDiff, following: Sequence[str]) -> View:
    """Two frames side by side, with the commands that may follow."""
    same = ", ".join(one.name for one in diff.sections if one.is_same)
    title = f"{diff.left} → {diff.right}"
    if not diff.differing:
        title = f"nothing differs between {diff.left} and {diff.right}: {same} are the same"
        same = ""
    rows = [(one.name, one.told, one.lines) for one in diff.differing]
    if same:
        rows.append(("the same", same, ()))
    return View(_text(title, rows, following), _html(title, rows, following))


_Row = tuple[str, str, Sequence[Line]]


def _text(title: str, rows: Sequence[_Row], following: Sequence[str]) -> str:
    width = max(len(name) for name, *_ in (*rows, ("next",)))
    lines = [title]
    for name, told, inside in rows:
        lines.append(f"  {name:<{width}}  {told}".rstrip())
        column = max((len(line.where) for line in inside), default=0)
        lines += [
            f"    {line.mark} {line.where:<{column}}  {line.told}".rstrip() for line in inside
        ]
    lines.append(f"  {'next':<{width}}  {' · '.join(following)}")
    return "\n".join(lines)


def _html(title: str, rows: Sequence[_Row], following: Sequence[str]) -> Html:
    shown = [(name, _value(told, inside)) for name, told, inside in rows]
    return rows_html(title, shown, following)


def _value(told: str, lines: Sequence[Line]) -> str:
    if not lines:
        return told
    body = tag("tbody", *map(_line, lines))
    table = tag("table", body, style="border-collapse:collapse;margin:2px 0 6px 0")
    return joined((tag("div", told), table)) if told else table


def _line(line: Line) -> Html:
    background = _BACKGROUNDS.get(line.mark, "")
    told: tuple[str, ...] = (line.text,)
    if line.new is not None:
        told = (tag("span", line.text, style=_GONE), " → ", tag("span", line.new, style=_NEW))
    elif line.is_code:
        told = (tag("pre", line.text, style=_CODE),)
    cells = ((_MARK, (line.mark.value,)), (_WHERE, (line.where,)), (_CHANGE, told))
    return tag("tr", *(tag("td", *parts, style=f"{style};{background}") for style, parts in cells))
