"""A graph as a picture: an SVG with a background of its own, so that it suits any theme.

Boxes stand below each other, branches side by side. Widths of texts are guessed from above: the
fonts of the reader are not known. What does not fit is cut.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from flujo_nb.engine.outcomes import RunStatus

from ..html import Html, joined, safe, tag
from .graph import Box, Branch, Form, Graph

_FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_INK, _QUIET, _EDGE = "#1f2733", "#5f6b7a", "#8b96a5"
_PAPER, _BORDER, _FILL, _BAND = "#ffffff", "#b9c2ce", "#fbfcfd", "#f1f4f8"
_COLOURS = {
    RunStatus.COMPLETED: ("#2e9e5b", "#eef8f2"),
    RunStatus.FAILED: ("#d64545", "#fdf0f0"),
    RunStatus.PAUSED: ("#c98a00", "#fdf6e6"),
    RunStatus.INTERRUPTED: ("#8a8f98", "#f3f4f6"),
    RunStatus.ABORTED: ("#b0569c", "#f9eff7"),
    RunStatus.RUNNING: ("#3f7fd6", "#eef4fc"),
}
"""The border of a step that ended so, and what is behind its name."""

_NAME, _SMALL = 13, 11
_WIDEST = 230
_NARROWEST = 84
_PAD = 14
_TALL, _LOW = 46, 32
_GAP = 28
_MARGIN = 18
_LANES = 24
_LABEL = 20
_LABEL_WIDEST = 130
_BACK = 26
_TURN = 14
_ROUND = 8


@dataclass(frozen=True, slots=True)
class _Block:
    """A part of the picture. Arrows come to it from above, and leave it below, at ``axis``."""

    width: float
    height: float
    axis: float
    drawn: Html


def svg_of(graph: Graph) -> Html:
    """The picture of a graph."""
    flow = _sequence(graph.boxes)
    width, height = flow.width + 2 * _MARGIN, flow.height + 2 * _MARGIN
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}"}
    paper = _rect(0.5, 0.5, width - 1, height - 1, fill=_PAPER, stroke="#e2e7ed", rx="8")
    text = {"font-family": _FONT, "text-anchor": "middle"}
    content = tag("g", _moved(flow, _MARGIN, _MARGIN), **text)
    box = f"0 0 {width:.0f} {height:.0f}"
    return tag("svg", paper, content, xmlns="http://www.w3.org/2000/svg", viewBox=box, **size)


# Blocks


def _sequence(boxes: Sequence[Box]) -> _Block:
    """Boxes below each other, with arrows between them."""
    blocks = [_block(box) for box in boxes]
    axis = max(block.axis for block in blocks)
    width = axis + max(block.width - block.axis for block in blocks)
    drawn: list[Html] = []
    y = 0.0
    for number, block in enumerate(blocks):
        if number:
            drawn.append(_arrow(axis, y, y + _GAP))
            y += _GAP
        drawn.append(_moved(block, axis - block.axis, y))
        y += block.height
    return _Block(width, y, axis, joined(drawn))


def _block(box: Box) -> _Block:
    match box.form:
        case Form.STEP:
            return _step(box)
        case Form.MORE:
            return _more(box)
        case Form.FALLBACK:
            return _with_fallback(box)
        case Form.FORK:
            return _framed(box, _fork(box.branches))
    body = _sequence(box.branches[0].boxes)
    return _framed(box, _looped(body) if box.form is Form.LOOP else _led_through(body))


def _step(box: Box) -> _Block:
    width, height = _size(box)
    border, fill = _colours(box, _FILL)
    round_ = height / 2 if box.asks else 7
    frame = _rect(
        0, 0, width, height, fill=fill, stroke=border, rx=f"{round_:g}", bold=box.status is not None
    )
    return _Block(width, height, width / 2, joined((frame, _title(box, width, height))))


def _more(box: Box) -> _Block:
    width = _measure(box.name, _SMALL) + 2 * _PAD
    frame = _rect(0, 0, width, 24, fill=_BAND, stroke="none", rx="12")
    return _Block(width, 24, width / 2, joined((frame, _text(box.name, width / 2, 16, _SMALL))))


def _framed(box: Box, inside: _Block) -> _Block:
    """What is inside a step, in a frame under its name. It begins at the band with the name."""
    title, band = _size(box)
    left = max(inside.axis + _PAD, title / 2)
    right = max(inside.width - inside.axis + _PAD, title / 2)
    width, height = left + right, band + inside.height
    border, fill = _colours(box, _BAND)
    shapes = (
        _rect(0, 0, width, height, fill=_PAPER, stroke="none", rx="9"),
        _path(f"M0 {band}V9Q0 0 9 0H{width - 9:g}Q{width:g} 0 {width:g} 9V{band}Z", fill=fill),
        _rect(0, 0, width, height, fill="none", stroke=border, rx="9", bold=box.status is not None),
        tag("g", _title(box, width, band), transform=f"translate({left - width / 2:g} 0)"),
        _moved(inside, left - inside.axis, band),
    )
    return _Block(width, height, left, joined(shapes))


def _led_through(body: _Block) -> _Block:
    """Something with an arrow into it from above, and a line out of it below."""
    height = body.height + 2 * _TURN + 8
    lines = (
        _arrow(body.axis, 0, _TURN + 4),
        _moved(body, 0, _TURN + 4),
        _line(body.axis, body.height + _TURN + 4, body.axis, height),
    )
    return _Block(body.width, height, body.axis, joined(lines))


def _looped(body: _Block) -> _Block:
    """Something with an arrow that leads from its end back to its beginning."""
    top, axis, right = _TURN * 2.0, body.axis, body.width + _BACK - 8
    end = top + body.height
    height = end + 2 * _TURN
    back = f"M{axis:g} {end + _TURN}H{right - 8:g}q8 0 8 -8V{_TURN + 8}q0 -8 -8 -8H{axis + 7:g}"
    lines = (
        _arrow(axis, 0, top),
        _path(back, stroke=_EDGE),
        _path(f"M{axis + 1:g} {_TURN}l8 -4v8z", fill=_EDGE),
        _moved(body, 0, top),
        _line(axis, end, axis, height),
    )
    return _Block(body.width + _BACK, height, axis, joined(lines))


def _fork(branches: Sequence[Branch]) -> _Block:
    """Branches side by side, between a line that parts and one that joins."""
    lanes = [_lane(branch) for branch in branches]
    tallest = max(lane.height for lane in lanes)
    starts = [sum(lane.width + _LANES for lane in lanes[:n]) for n in range(len(lanes))]
    axes = [start + lane.axis for start, lane in zip(starts, lanes, strict=True)]
    width = starts[-1] + lanes[-1].width
    axis = (axes[0] + axes[-1]) / 2
    joint = _TURN + tallest + _TURN
    drawn = [_line(axis, 0, axis, _TURN), _line(axis, joint, axis, joint + _TURN)]
    for start, lane, at in zip(starts, lanes, axes, strict=True):
        end = _TURN + lane.height
        turn = min(_ROUND, abs(at - axis)) * (1 if at > axis else -1)  # to the right, to the left
        parts = f"M{axis:g} {_TURN}H{at - turn:g}q{turn:g} 0 {turn:g} {_ROUND}"
        joins = f"M{at:g} {end:g}V{joint - _ROUND:g}q0 {_ROUND} {-turn:g} {_ROUND}H{axis:g}"
        drawn += [
            _path(parts, stroke=_EDGE),
            _path(joins, stroke=_EDGE),
            _moved(lane, start, _TURN),
        ]
    return _Block(width, joint + _TURN, axis, joined(drawn))


def _lane(branch: Branch) -> _Block:
    """A branch, under an arrow with its label."""
    flow = _sequence(branch.boxes)
    label = _fitting(branch.label, _SMALL, _LABEL_WIDEST)
    wide = _measure(label, _SMALL) + 10
    left = max(flow.axis, wide / 2)
    width = left + max(flow.width - flow.axis, wide / 2)
    top = 8 + (_LABEL if branch.label else 0) + 16
    drawn = [_arrow(left, _ROUND, top), _moved(flow, left - flow.axis, top)]
    if branch.label:
        drawn.insert(1, _tagged(label, left, 8 + _LABEL / 2, wide))
    return _Block(width, top + flow.height, left, joined(drawn))


def _with_fallback(box: Box) -> _Block:
    """A step, and to its right what works in its place when it fails."""
    step, branch = _step(box), box.branches[0]
    other = _sequence(branch.boxes)
    wide = _measure(branch.label, _SMALL) + 10
    left = max(step.width + wide + 24, step.axis + other.axis + _LANES)
    left = max(left - other.axis, step.width + _LANES)
    axis, middle, top = left + other.axis, step.height / 2, step.height + 6
    end = top + other.height + _TURN
    way = f"M{step.width:g} {middle:g}H{axis - 8:g}q8 0 8 8V{top - 6:g}"
    back = f"M{axis:g} {end - _TURN:g}V{end - 8:g}q0 8 -8 8H{step.axis:g}"
    drawn = (
        _path(way, stroke=_EDGE, dashed=True),
        _tip(axis, top),
        _path(back, stroke=_EDGE, dashed=True),
        _line(step.axis, step.height, step.axis, end),
        _tagged(branch.label, step.width + 10 + wide / 2, middle, wide),
        step.drawn,
        _moved(other, left, top),
    )
    return _Block(left + other.width, end, step.axis, joined(drawn))


# Texts


def _size(box: Box) -> tuple[float, int]:
    """How wide and tall a step is drawn."""
    widest = max(_measure(box.name, _NAME, bold=True), _measure(box.told, _SMALL))
    width = min(max(widest, _NARROWEST - 2 * _PAD), _WIDEST - 2 * _PAD) + 2 * _PAD
    return width, _TALL if box.told else _LOW


def _title(box: Box, width: float, height: float) -> Html:
    """The name, and what is told below it."""
    room = width - 2 * _PAD
    name = _text(_fitting(box.name, _NAME, room, bold=True), width / 2, 20.5, _NAME, bold=True)
    if not box.told:
        return name
    told = _text(_fitting(box.told, _SMALL, room), width / 2, height - 11, _SMALL)
    return joined((name, told))


def _clean(text: str) -> str:
    """``text`` without secrets, and without the characters that XML cannot hold."""
    return safe(text).replace("\ufffe", "").replace("\uffff", "")


def _text(text: str, x: float, y: float, size: int, *, bold: bool = False) -> Html:
    shown = {"font-size": f"{size}", "fill": _INK if bold else _QUIET}
    if bold:
        shown["font-weight"] = "600"
    return tag("text", _clean(text), x=f"{x:g}", y=f"{y:g}", **shown)


def _tagged(label: str, x: float, y: float, width: float) -> Html:
    """A label on a line."""
    behind = _rect(x - width / 2, y - 8, width, 16, fill=_PAPER, stroke="none", rx="4")
    return joined((behind, _text(label, x, y + 4, _SMALL)))


def _fitting(text: str, size: int, room: float, *, bold: bool = False) -> str:
    """``text`` as far as it fits."""
    text = _clean(text)
    if _measure(text, size, bold=bold) <= room:
        return text
    while text and _measure(f"{text}…", size, bold=bold) > room:
        text = text[:-1]
    return f"{text}…"


def _measure(text: str, size: int, *, bold: bool = False) -> float:
    """How wide ``text`` may be: in the widest of the usual fonts."""
    return sum(map(_em, text)) * size * (1.12 if bold else 1)


_WIDTHS = {
    **dict.fromkeys("iljI.,:;'|! ", 0.38),
    **dict.fromkeys('frt()[]-/\\"`', 0.47),
    **dict.fromkeys("mwMW@%", 1.03),
    **dict.fromkeys("abcdeghknopqsuvxyz0123456789_*?${}·", 0.66),
    "…": 1.0,
}


def _em(char: str) -> float:
    """The width of a character, as a part of the font's size."""
    known = _WIDTHS.get(char)
    if known is not None:
        return known
    if char.isascii():
        return 0.86
    return 1.35 if unicodedata.east_asian_width(char) in "WF" else 1.05


# Shapes


def _rect(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str,
    stroke: str,
    rx: str,
    bold: bool = False,
) -> Html:
    at = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}"}
    line = {"stroke-width": "1.8" if bold else "1"}
    return tag("rect", **at, fill=fill, stroke=stroke, rx=rx, **line)


def _colours(box: Box, fill: str) -> tuple[str, str]:
    return (_BORDER, fill) if box.status is None else _COLOURS[box.status]


def _path(way: str, *, fill: str = "none", stroke: str = "none", dashed: bool = False) -> Html:
    line = {"stroke-width": "1.4", **({"stroke-dasharray": "4 3"} if dashed else {})}
    return tag("path", d=way, fill=fill, stroke=stroke, **line)


def _line(x: float, y: float, to_x: float, to_y: float) -> Html:
    return _path(f"M{x:g} {y:g}L{to_x:g} {to_y:g}", stroke=_EDGE)


def _arrow(x: float, y: float, to_y: float) -> Html:
    return joined((_line(x, y, x, to_y - 6), _tip(x, to_y)))


def _tip(x: float, y: float) -> Html:
    return _path(f"M{x:g} {y:g}l-4 -8h8z", fill=_EDGE)


def _moved(block: _Block, x: float, y: float) -> Html:
    return tag("g", block.drawn, transform=f"translate({x:g} {y:g})")
