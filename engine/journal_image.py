"""What the rows of a run come to: pure questions to what a store gave.

The newest row of a path holds. A success is final; a failure once a later decision says that its
parent went on past it; everything else is open, and runs again when the run is resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from .path import FramePath, SegmentKind
from .stores import Row, RowKind, Source
from .usage import FREE, Usage

PAST = "past"
"""The decision of a parent to go on without a frame that failed."""

ONCE = "at_most_once"
ESTIMATE = "estimate"
CRASHED = "crashed"
"""What a row says of a frame that began, and why; and of a resume, what came before it."""

MOST_RESUMES = 5
"""The resume, after crashes and without anything new recorded, that sets a run aside."""


class Image:
    """The rows of a run, by path. Bodies are left as they are."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.finished: dict[str, Row] = {}
        self.decisions: dict[tuple[str, str], Row] = {}
        self.started: dict[str, Row] = {}
        self.refused: dict[str, int] = {}
        self.last_seq = 0
        self.spent = FREE
        self.fruitless = 0
        self.attempts: dict[str, list[tuple[int, Usage]]] = {}
        self.inputs: dict[str, bytes] = {}
        self._begun: dict[str, Usage] = {}
        self._cut_off: list[tuple[str, Usage]] = []
        self._used: list[tuple[str, Usage]] = []
        for row in rows:
            self._take(row)

    def _take(self, row: Row) -> None:
        self.last_seq = row.seq
        used = FREE
        if row.cost_micros or row.tokens or row.requests:
            used = Usage(row.cost_micros, row.tokens, row.requests)
        match row.kind:
            case RowKind.FINISHED:
                self.finished[row.path] = row
                if row.status in ("success", "failure", "paused"):
                    self.started.pop(row.path, None)
                self._begun.pop(row.path, None)
                if row.status == "success":
                    self.fruitless = 0
            case RowKind.DECISION:
                self.decisions[row.path, row.name or ""] = row
                if row.input is not None:
                    self.inputs[row.path] = row.input
            case RowKind.STARTED:
                self.started[row.path] = row
                # What a frame was expected to use counts until it says what it used, and for ever
                # when it was cut off before that and began again.
                if row.path in self._begun:
                    self._cut_off.append((row.path, self._begun[row.path]))
                if used:
                    self._begun[row.path] = used
                return
            case RowKind.ATTEMPT:
                self._begun.pop(row.path, None)
                self.attempts.setdefault(row.path, []).append((row.seq, used))
            case RowKind.RESUMED:
                self.fruitless += row.status == CRASHED
            case RowKind.SUPERSEDED:
                self.refused[row.path] = self.refused.get(row.path, 0) + 1
        if used is not FREE:
            self.spent += used
            self._used.append((row.path, used))

    @property
    def uncertain(self) -> Usage:
        """What attempts that a crash cut off may have used: what was reserved for them."""
        return sum((used for _, used in self._maybe()), FREE)

    def _maybe(self) -> Iterator[tuple[str, Usage]]:
        yield from self._cut_off
        yield from self._begun.items()

    def spent_below(self, path: str) -> Usage:
        """What the frames at and below ``path`` have used, or may have."""
        both = (*self._used, *self._maybe())
        return sum((used for at, used in both if is_at_or_below(at, path)), FREE)

    def attempts_of(self, row: Row) -> Sequence[Usage]:
        """What the attempts before the last one of a finished frame used."""
        began = row.started or 0
        return [used for seq, used in self.attempts.get(row.path, ()) if began < seq < row.seq]

    def is_final(self, row: Row) -> bool:
        """Whether a finished frame does not run again."""
        if row.status == "success":
            return True
        past = self.decisions.get((row.path, PAST))
        return row.status == "failure" and past is not None and past.seq > row.seq

    def open_behind(self) -> Iterator[FramePath]:
        """The frames that work in the background, and have not succeeded."""
        for text, row in self.finished.items():
            if row.status == "launched":
                body = f"{text}/{SegmentKind.BACKGROUND.value}"
                ended = self.finished.get(body)
                if ended is None or ended.status != "success":
                    yield FramePath.parse(body)

    def is_in_doubt(self, path: str) -> bool:
        """Whether the frame at ``path``, which may run once only, began and nobody saw its end."""
        row = self.started.get(path)
        return row is not None and row.status == ONCE

    def asking(self) -> Sequence[Row]:
        """The frames that wait for an answer: paused by themselves, and not withdrawn."""
        paused = {path: row for path, row in self.finished.items() if row.status == "paused"}
        around = {above for path in self.finished for above in _above(path)} if paused else set()
        return [
            row
            for path, row in paused.items()
            if path not in around and not any(map(partial(self._withdraws, row), _above(path)))
        ]

    def _withdraws(self, asking: Row, above: str) -> bool:
        """Whether the frame around a question ended in another way after that was asked."""
        row = self.finished.get(above)
        return row is not None and row.seq > asking.seq and row.status != "paused"

    def answered(self, answers: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """The answers that hold, by the path that asked: those to a question's newest form."""
        held: dict[str, bytes] = {}
        for pause, body in answers.items():
            path, _, number = pause.partition("@")
            if int(number or 0) == self.refused.get(path, 0):
                held[path] = body
        return held

    def pause_id(self, path: str) -> str:
        """The identity of the question at ``path``: another one once an answer was refused."""
        refused = self.refused.get(path, 0)
        return f"{path}@{refused}" if refused else path


def _above(path: str) -> Iterator[str]:
    """The paths of the frames around one; what works in the background has none."""
    while path and not path.endswith(f"/{SegmentKind.BACKGROUND.value}"):
        path = path.rpartition("/")[0]
        yield path


def is_at_or_below(path: str, above: str) -> bool:
    """Whether the frame at ``path`` is the one at ``above``, or stands inside it."""
    return not above or path == above or path.startswith(f"{above}/")


def began_at(rows: Sequence[Row], at: str) -> int | None:
    """The newest row before the frame at ``at`` first began; ``None`` when nothing tells of it."""
    inside = [
        row.seq - 1 if row.started is None else row.started
        for row in rows
        if is_at_or_below(row.path, at) and (row.path or row.kind == RowKind.FINISHED)
    ]
    # A frame that was gone through again after a crash began when the first inside it did.
    return min(inside, default=None)


def kept_rows(rows: Sequence[Row], source: Source) -> Sequence[Row]:
    """The rows that a fork begins with: the final ends, their attempts, the decisions before it.

    Frames around the one that was forked have not ended by then, so nothing of them is kept but
    what they decided. What may run once only, and did or may have, is in doubt in the fork.
    """
    before = [row for row in rows if row.seq <= source.upto]
    image = Image(before)
    known = {path for path, row in image.finished.items() if image.is_final(row)}
    kept = [
        row
        for row in before
        if row.kind == RowKind.DECISION
        or (row.path in known and (row.kind == RowKind.ATTEMPT or image.finished[row.path] is row))
    ]
    whole = Image(rows)
    for row in whole.finished.values():
        if row.status == "failure" and not whole.is_in_doubt(row.path):
            known.add(row.path)
    begun = [row for row in rows if row.status == ONCE and row.path not in known]
    return [*kept, *(row._replace(seq=source.upto) for row in begun)]
