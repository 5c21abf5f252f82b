"""A graph as the source of a mermaid flowchart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flujo_nb.engine.outcomes import RunStatus

from ..html import safe
from .graph import Box, Form, Graph

COLOURS = {
    RunStatus.COMPLETED: "#2e9e5b",
    RunStatus.FAILED: "#d64545",
    RunStatus.PAUSED: "#c98a00",
    RunStatus.INTERRUPTED: "#8a8f98",
    RunStatus.ABORTED: "#b0569c",
    RunStatus.RUNNING: "#3f7fd6",
}
"""What the border of a step looks like that ended so."""

_MARKUP = re.compile(r"(?<![^\W_])[-_]|[-_](?![^\W_])|[^\w ,·…\-]")


def mermaid_text(graph: Graph) -> str:
    """The source. In what comes from data, all that could be markup stands as a character's number.

    The ids of nodes are numbers of our own.
    """
    chart = _Chart()
    chart.sequence(graph.boxes, "  ")
    return "\n".join(chart.lines)


class _Chart:
    """The lines of a flowchart, while boxes are added."""

    def __init__(self) -> None:
        self.lines = ["flowchart TD"]
        self._count = 0

    def sequence(self, boxes: Sequence[Box], before: str) -> tuple[str, list[str]]:
        """Add boxes in a row. Returns the node that leads in, and those that lead out."""
        first, out = self._box(boxes[0], before)
        for box in boxes[1:]:
            entry, further = self._box(box, before)
            self.lines += [f"{before}{one} --> {entry}" for one in out]
            out = further
        return first, out

    def _box(self, box: Box, before: str) -> tuple[str, list[str]]:
        match box.form:
            case Form.LOOP | Form.BODY:
                self._count += 1
                group = f"g{self._count}"
                self.lines.append(f'{before}subgraph {group}["{_label(box)}"]')
                entry, out = self.sequence(box.branches[0].boxes, f"{before}  ")
                if box.form is Form.LOOP:
                    self.lines += [f'{before}  {one} -. "again" .-> {entry}' for one in out]
                self.lines.append(f"{before}end")
                self._colour(group, box, before)
                return entry, out
            case Form.FORK:
                return self._fork(box, before)
            case Form.FALLBACK:
                node = self._node(box, before)
                entry, out = self.sequence(box.branches[0].boxes, before)
                self.lines.append(
                    f'{before}{node} -. "{encoded(box.branches[0].label)}" .-> {entry}'
                )
                return node, [node, *out]
        node = self._node(box, before)
        return node, [node]

    def _fork(self, box: Box, before: str) -> tuple[str, list[str]]:
        node = self._node(box, before)
        every: list[str] = []
        for branch in box.branches:
            entry, out = self.sequence(branch.boxes, before)
            label = f'|"{encoded(branch.label)}"|' if branch.label else ""
            self.lines.append(f"{before}{node} -->{label} {entry}")
            every += out
        return node, every

    def _node(self, box: Box, before: str) -> str:
        self._count += 1
        node = f"n{self._count}"
        opening, closing = ("([", "])") if box.asks else ("[", "]")
        if box.form is Form.FORK:
            opening, closing = "{{", "}}"
        self.lines.append(f'{before}{node}{opening}"{_label(box)}"{closing}')
        self._colour(node, box, before)
        return node

    def _colour(self, node: str, box: Box, before: str) -> None:
        if box.status is not None:
            self.lines.append(f"{before}style {node} stroke:{COLOURS[box.status]},stroke-width:2px")


def _label(box: Box) -> str:
    return "<br/>".join(encoded(one) for one in (box.name, box.told) if one)


def encoded(text: str) -> str:
    """``text`` without what mermaid, or the markdown in its labels, would take for its own."""
    plain = " ".join(safe(text).split())
    return _MARKUP.sub(lambda found: f"#{ord(found[0])};", plain)
