"""A page of a session: what it came to, how its frames hang together, and the card of each.

The page is one file that nothing has to be fetched for, and nothing in it is executed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.widgets.previews import duration_text, short
from flujo_nb.widgets.view_model import FrameView

from ..display import COLOURS, card_html
from ..front import Front
from ..head import Entry
from ..html import Html, joined, page, tag
from ..session import Session

STYLE = Html("""
:root { color-scheme: light dark; --line: #8883; --quiet: #6b7280; --page: #fff; --text: #1f2328 }
@media (prefers-color-scheme: dark) {
  :root { --line: #8884; --quiet: #9aa3ad; --page: #16181c; --text: #e3e6ea }
}
body { max-width: 58rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; background: var(--page);
  color: var(--text); font: 15px/1.55 system-ui, sans-serif }
header > p { margin: 0; color: var(--quiet) }
h1 { margin: .1rem 0; font-size: 1.5rem; font-weight: 600; overflow-wrap: anywhere }
h2 { margin: 2.6rem 0 .8rem; font-size: .95rem; font-weight: 600; color: var(--quiet) }
dl { display: flex; flex-wrap: wrap; gap: 1px; margin: 1.6rem 0 0; background: var(--line);
  border: 1px solid var(--line); border-radius: 8px; overflow: hidden }
dl > div { flex: 1 1 auto; padding: .6rem .9rem; background: var(--page) }
dt { color: var(--quiet); font-size: .85rem }
dd { margin: 0; overflow-wrap: anywhere }
dl > .wide { flex-basis: 100% }
ul { list-style: none; margin: 0 0 .6rem; padding: 0 }
li { position: relative }
li:not(:last-child)::before { content: ""; position: absolute; left: .31rem; top: 1.35rem;
  bottom: -.35rem; border-left: 1px solid var(--line) }
li ul { margin: 0 0 0 1.6rem }
.frame { display: flex; gap: .2rem .7rem; align-items: baseline; padding: .14rem 0 }
.frame > i { flex: none; width: .7rem; height: .7rem; border-radius: 50%; align-self: center }
.frame > span:first-of-type { flex: none; max-width: 60%; overflow-wrap: anywhere }
.frame > .end { margin-left: auto; white-space: nowrap }
.quiet { color: var(--quiet) }
.badge { padding: 0 .45rem; border: 1px solid var(--line); border-radius: 99px; font-size: .8rem;
  white-space: nowrap }
article { padding: .5rem 0; border-top: 1px solid var(--line); overflow-x: auto }
article > div { max-width: none !important }
article summary { cursor: pointer }
article > div > details > table > tbody > tr:last-child { display: none }
footer { margin-top: 3rem; color: var(--quiet); font-size: .85rem }
@media print { body { padding: 0 } article { break-inside: avoid } }
""")
"""The look of the page. The last row of a card names commands, which a page cannot run."""


def session_page(front: Front) -> str:
    """The page of a front's session."""
    session = front.session
    views = {entry.id: front.view(entry.id) for entry in session.entries}
    notebook = front.sessions.place.notebook
    header = tag(
        "header",
        tag("p", "flujo session" if notebook is None else f"flujo session of {notebook.name}"),
        tag("h1", session.run_id),
        _summary(session, views),
    )
    cards = [tag("article", card_html(view)) for view in views.values()]
    return page(
        session.run_id,
        STYLE,
        header,
        tag("h2", "Lineage"),
        _lineage(session, views) if cards else tag("p", "no frames yet", class_="quiet"),
        *([tag("h2", "Frames"), *cards] if cards else []),
        tag("footer", "Written by  %flujo export html"),
    )


def _summary(session: Session, views: Mapping[str, FrameView]) -> Html:
    counted = Counter(view.status for view in views.values())
    ended = ", ".join(f"{number} {status.value}" for status, number in counted.items())
    spent, head = session.quota.spent, session.head
    rows = [
        ("frames", str(len(views))),
        ("ended", ended or "nothing ran"),
        ("HEAD", "none" if head is None else f"{head.id} {head.name}"),
        ("worked", duration_text(sum(view.duration_s for view in views.values()))),
        ("used", f"{spent.tokens:,} tokens, ${spent.cost_usd:.4f}"),
    ]
    wide = [("steps", ", ".join(session.steps))] if session.steps else []
    if session.initial_context is not None:
        wide.append(("context at first", short(session.initial_context)))
    return tag(
        "dl",
        *(tag("div", tag("dt", label), tag("dd", value)) for label, value in rows),
        *(tag("div", tag("dt", label), tag("dd", value), class_="wide") for label, value in wide),
    )


def _lineage(session: Session, views: Mapping[str, FrameView]) -> Html:
    """Lists of the frames: what goes on with one follows it, what turns off stands inside it."""
    children: dict[str | None, list[Entry]] = {}
    for entry in session.entries:
        children.setdefault(_parent_of(entry, views), []).append(entry)
    line = {entry.id for entry in session.line()}
    roots = children.get(None, [])
    return tag("div", *(tag("ul", *_items(root, children, line, views)) for root in roots))


def _parent_of(entry: Entry, views: Mapping[str, FrameView]) -> str | None:
    number = (entry.parent or "").partition("/")[0]
    return number if number in views else None


def _items(
    first: Entry,
    children: Mapping[str | None, Sequence[Entry]],
    line: set[str],
    views: Mapping[str, FrameView],
) -> Iterator[Html]:
    """The items of a list that begins with ``first`` and follows ``line``, or the newest."""
    entry: Entry | None = first
    while entry is not None:
        after = children.get(entry.id, [])
        on = next((one for one in after if one.id in line), after[-1] if after else None)
        aside = [tag("ul", *_items(one, children, line, views)) for one in after if one is not on]
        yield tag("li", _frame(views[entry.id]), *aside)
        entry = on


def _frame(view: FrameView) -> Html:
    """A frame in one line."""
    marks = ["HEAD"] if view.is_head else []
    marks += ["stale"] if view.stale is not None else []
    return tag(
        "div",
        tag("i", style=f"background:{COLOURS[view.status]}"),
        tag("span", tag("b", view.id), Html(" "), view.name),
        tag("span", f"← {view.origin}", class_="quiet"),
        joined(tag("span", one, class_="badge") for one in marks),
        tag("span", _ended(view), class_="end quiet"),
        class_="frame",
    )


def _ended(view: FrameView) -> str:
    if view.status is RunStatus.COMPLETED:
        return view.duration
    return f"{view.status.value} in {view.duration}" if view.duration else view.status.value
