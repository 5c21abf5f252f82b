"""Drawing what a step or pipeline is made of, with how its steps ended the last time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from IPython.core.error import UsageError

from flujo_nb.engine.errors import StoreError, ValueNotRead
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.steps import Node

from ..display import View, rows_html
from ..front import Front
from ..going_on import node_to_run
from ..head import Entry
from ..html import NOTHING, image, joined, tag
from ..session import Session
from .graph import Place, graph_of, statuses_in, tree_text
from .graph_mermaid import mermaid_text
from .graph_picture import svg_of

_MERMAID_MIME = "text/vnd.mermaid"


class MermaidView(View):
    """The source of a mermaid flowchart. It has no HTML: beside that it would never be shown."""

    def __init__(self, source: str) -> None:
        super().__init__(source, NOTHING)

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, object]:
        return {"text/plain": repr(self), _MERMAID_MIME: repr(self)}


def drawn(front: Front, target: str, *, as_mermaid: bool) -> View:
    """The graph of ``target``, or (when that is empty) of what HEAD's command ran.

    Raises `UsageError`.
    """
    session = front.session
    if target:
        node, entry = session.resolve(target, front.shell.user_ns), _newest(session, target)
    elif session.head is not None:
        target = session.head.command.target or session.head.name
        node, entry = node_to_run(front, session.head), _newest(session, target) or session.head
    else:
        raise UsageError("there is no HEAD; say what to draw: %flujo graph NAME")
    graph = graph_of(node, _statuses(session, node, entry))
    if as_mermaid:
        return MermaidView(mermaid_text(graph))
    tree = tree_text(graph)
    last = [] if entry is None else [("last", f"{entry.id} {entry.status.value}")]
    following = [] if entry is None else [f"%flujo show {entry.id}"]
    if session.targets.node_of(target) is not None:
        following += [f"%flujo run {target}", f"%flujo graph {target} --mermaid"]
    rows = [*last, ("next", " · ".join(following))]
    text = "\n".join([tree, *(f"  {label}  {told}" for label, told in rows)])
    picture = image(svg_of(graph), tree, "max-width:100%;height:auto")
    words = tag("details", tag("summary", "in words"), tag("pre", tree, style="margin:4px 0"))
    return View(text, rows_html(graph.name, [("", joined((picture, words))), *last], following))


def _newest(session: Session, target: str) -> Entry | None:
    """The newest frame of a target."""
    return next((one for one in reversed(session.entries) if one.command.target == target), None)


def _statuses(session: Session, node: Node, entry: Entry | None) -> Mapping[Place, RunStatus]:
    """How the steps of ``node`` ended the last time: in its frame, or each in one of its own."""
    if entry is not None:
        try:
            return statuses_in(entry.record.outcome, node)
        except (ValueNotRead, StoreError):  # what is inside cannot be read here
            return {tuple(map(str, node.own_segments)): entry.status}
    alone: dict[Place, RunStatus] = {}
    for one in session.entries:
        alone[tuple(map(str, one.command.frame.segments[1:]))] = one.status
    return alone
