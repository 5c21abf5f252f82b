"""What commands return: values that show themselves as text and as HTML, and hold no payload.

The HTML reads well without any CSS, because JupyterLab takes most of it away in a notebook that is
not trusted. Colours are literal and translucent, so that they suit light and dark themes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.usage import Usage
from flujo_nb.widgets.previews import Preview
from flujo_nb.widgets.view_model import FrameView

from .border import copied
from .html import Html, joined, safe, tag

if TYPE_CHECKING:
    from .session import Session

FRAME_MIME = "application/vnd.flujo.frame+json"

COLOURS = {
    RunStatus.COMPLETED: "#2e9e5b",
    RunStatus.FAILED: "#d64545",
    RunStatus.PAUSED: "#c98a00",
    RunStatus.INTERRUPTED: "#8a8f98",
    RunStatus.ABORTED: "#b0569c",
    RunStatus.RUNNING: "#3f7fd6",
}
_CARD = "border-left:4px solid {};padding:2px 0 2px 12px;margin:2px 0;max-width:60em"
_GREY = "rgba(128,128,128,.5)"
_QUIET = "opacity:.7"
_LABEL = (
    "opacity:.7;text-align:left;vertical-align:top;padding:1px 14px 1px 0;font-weight:400;"
    "white-space:nowrap"
)
_VALUE = "text-align:left;vertical-align:top;padding:1px 0;overflow-wrap:anywhere"
_CELL = "text-align:left;vertical-align:top;padding:1px 18px 1px 0;white-space:nowrap"
_LAST_CELL = "text-align:left;vertical-align:top;padding:1px 0;white-space:normal"
_CODE = "font-family:monospace"
_WRITTEN = "margin:4px 0 0 0;white-space:pre-wrap;overflow-wrap:anywhere"


class View:
    """Something to look at. ``text`` and ``html`` are all that it is."""

    def __init__(self, text: str, html: Html) -> None:
        self._text = safe(text)
        self._html = html

    def __repr__(self) -> str:
        return self._text

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, object]:
        return {"text/plain": self._text, "text/html": str(self._html)}


class FrameCard(View):
    """A record, shown as a card.

    It holds the record's id and looks everything else up, so a notebook's output history keeps no
    data alive. ``output``, ``data`` and the contexts are copies: the record never changes.
    """

    def __init__(self, view: FrameView, session: Session) -> None:
        super().__init__(card_text(view), card_html(view))
        self.id = view.id
        self.name = view.name
        self.status = view.status.value
        self.path = view.path
        self._json = view.as_json()
        self._session = session

    @property
    def output(self) -> object:
        """A copy of what the frame gave; `UsageError` when there was something that is gone."""
        record = self._record
        if record.absent is not None:
            raise UsageError(self._session.recaller.how_to_get(record))
        return copied(record.output).value

    @property
    def data(self) -> object:
        """A copy of what the frame was given; ``None`` where that was not kept."""
        return copied(self._record.data).value

    @property
    def context(self) -> BaseModel | None:
        """A copy of the context before the frame."""
        return _copy_of(self._record.context)

    @property
    def context_after(self) -> BaseModel | None:
        """A copy of the context after the frame."""
        return _copy_of(self._record.context_after)

    @property
    def parent(self) -> str | None:
        """The id of the record that the frame continued from."""
        return self._record.parent

    @property
    def usage(self) -> Usage:
        """What the frame and everything inside it used."""
        return self._record.usage

    @property
    def _record(self) -> FrameRecord:
        return self._session.record(self.id)

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None
    ) -> dict[str, object]:
        return {**super()._repr_mimebundle_(), FRAME_MIME: self._json}


def _copy_of(context: BaseModel | None) -> BaseModel | None:
    return cast(BaseModel | None, copied(context).value)


def card_lines(view: FrameView) -> list[tuple[str, str]]:
    """A card's rows: label and value."""
    rows = [("path", view.path)]
    rows.append(("input", str(view.input)))
    if view.output is not None:
        rows.append(("output", str(view.output)))
    elif view.absent is not None:
        is_told = view.live_only and view.absent.startswith("live only")
        rows.append(("output", "not here" if is_told else f"not here: {view.absent}"))
    rows += [("live only", part) for part in view.live_only]
    if view.feedback is not None:
        rows.append(("because", view.feedback))
    rows += [("context", f"{c.name}: {c.before} → {c.after}") for c in view.context]
    if view.model is not None:
        rows.append(("model", view.model))
    if view.tokens or view.cost_usd:
        price = f"${view.cost_usd:.4f}" if view.has_price else "price unknown"
        rows.append(("used", f"{view.tokens:,} tokens, {price}"))
    if view.attempts > 1:
        rows.append((view.attempts_are, str(view.attempts)))
    rows += [("budget" if n == 0 else "", line) for n, line in enumerate(view.budget)]
    if view.stale is not None:
        rows.append(("stale", view.stale))
    rows += [("background", line) for line in view.background]
    rows += [("note", note) for note in view.notes]
    return rows


def headline(view: FrameView) -> tuple[str, str, str]:
    """A card's first line: which frame, where its input came from, how it ended."""
    return (
        f"{'reused ' if view.is_reused else ''}{view.id} {view.name}",
        f"← {view.origin}",
        f"{view.status.value} in {view.duration}" if view.duration else view.status.value,
    )


def card_text(view: FrameView) -> str:
    """A card for a terminal."""
    lines = ["   ".join(headline(view))]
    rows = card_lines(view)
    if view.children:
        rows += [
            (
                "inside" if n == 0 else "",
                f"{c.name}   {c.status.value} in {c.duration}   {c.output}",
            )
            for n, c in enumerate(view.children)
        ]
    if view.more_children:
        rows.append(("", _more(view)))
    rows.append(("next", " · ".join(next_commands(view))))
    width = max(len(label) for label, _ in rows)
    lines += [f"  {label:<{width}}  {value}" for label, value in rows]
    return "\n".join(lines)


def card_html(view: FrameView) -> Html:
    """A card for a notebook's page."""
    title, origin, ended = headline(view)
    summary = tag(
        "summary",
        tag("b", title),
        Html("&nbsp; "),
        tag("span", origin, style=_QUIET),
        Html("&nbsp; "),
        tag("span", ended, style=f"color:{COLOURS[view.status]}"),
    )
    rows = [_row(label, value) for label, value in card_lines(view)]
    if view.children:
        inside = table_html(
            ("", "", "", ""),
            [(c.name, c.status.value, c.duration, str(c.output)) for c in view.children],
        )
        rows.append(_row("inside", inside))
    if view.more_children:
        rows.append(_row("", _more(view)))
    rows.append(_row("next", _commands(next_commands(view))))
    body = tag("table", tag("tbody", *rows), style="border-collapse:collapse;margin:4px 0 0 0")
    details = tag("details", summary, body, open="open")
    return tag("div", details, style=_CARD.format(COLOURS[view.status]))


def _more(view: FrameView) -> str:
    return f"… and {view.more_children} more"


def next_commands(view: FrameView) -> list[str]:
    """What a reader of the card may want to type next."""
    inside = [f"%flujo show {child.id}" for child in view.children[-1:]]
    above = view.id.partition("/")[0]
    on = []
    if view.is_head:
        on = ["%%flujo step"]
    elif view.status is RunStatus.PAUSED:
        on = [f"%flujo resume {view.id} --with EXPR"]
    elif view.output is None and view.absent is not None:
        on = [f"%flujo why {view.id}"]
    elif view.can_go_on and view.id == above:
        on = [f"%flujo back {above}"]
    elif view.can_go_on:
        on = [f"%flujo run NAME --from {above}"]
    else:
        on = [f"%flujo resume {above}"]
    return [*inside, *on, "%flujo frames"]


def table_text(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns."""
    widths = [max(len(line[n]) for line in (header, *rows)) for n in range(len(header))]
    lines = [
        "  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
        for line in ((header, *rows) if any(header) else rows)
    ]
    return "\n".join(lines)


def table_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """The same columns as a table."""
    head = tag("tr", *(tag("th", text, style=_LABEL) for text in header))
    styles = [_CELL] * (len(header) - 1) + [_LAST_CELL]
    lines = [
        tag("tr", *(tag("td", text, style=one) for text, one in zip(row, styles, strict=True)))
        for row in rows
    ]
    parts = [tag("thead", head)] if any(header) else []
    return tag("table", *parts, tag("tbody", *lines), style="border-collapse:collapse")


def table_view(
    title: str, header: Sequence[str], rows: Sequence[Sequence[str]], following: Sequence[str]
) -> View:
    """A titled table with the commands that may follow."""
    body = f"\n{table_text(header, rows)}" if rows else ""
    text = f"{title}{body}\n  next  {' · '.join(following)}"
    html = tag(
        "div",
        tag("div", tag("b", title)),
        *([table_html(header, rows)] if rows else []),
        tag("div", tag("span", "next ", style=_QUIET), _commands(following)),
        style=_CARD.format(_GREY),
    )
    return View(text, html)


def rows_html(title: str, rows: Sequence[tuple[str, str]], following: Sequence[str]) -> Html:
    """A grey card of labelled rows, with the commands that may follow; a value may be `Html`."""
    lines = [_row(label, value) for label, value in (*rows, ("next", _commands(following)))]
    body = tag("table", tag("tbody", *lines), style="border-collapse:collapse;margin:4px 0 0 0")
    return tag("div", tag("div", tag("b", title)), body, style=_CARD.format(_GREY))


def progress_view(
    title: str, told: Sequence[str], blocks: Sequence[tuple[str, str]], status: RunStatus
) -> View:
    """A line about a run at work, with what is written in it: blocks of a label and a text."""
    lines = ["   ".join((title, *told))]
    parts = [tag("span", one, style=_QUIET) for one in told]
    shown = [tag("div", joined((tag("b", title), *parts), Html("&nbsp; ")))]
    for label, text in blocks:
        if label:
            lines.append(f"  {label}")
            shown.append(tag("div", label, style=_QUIET))
        if text:
            lines.append(text)
            shown.append(tag("pre", text, style=_WRITTEN))
    return View("\n".join(lines), tag("div", *shown, style=_CARD.format(COLOURS[status])))


def text_view(text: str) -> View:
    """Lines of plain text, kept as they are."""
    return View(text, tag("pre", text, style=f"{_CODE};margin:0;white-space:pre-wrap"))


def preview_text(preview: Preview | None) -> str:
    """A preview in a table."""
    return "" if preview is None else str(preview)


def _row(label: str, value: str) -> Html:
    return tag("tr", tag("th", label, style=_LABEL), tag("td", value, style=_VALUE))


def _commands(commands: Sequence[str]) -> Html:
    return joined((tag("code", one, style=_CODE) for one in commands), Html(" &middot; "))
