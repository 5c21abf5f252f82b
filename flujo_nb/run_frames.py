"""What the rows of a stored run say about its frames, as small values to show: pure functions.

Values are shown as plain data: no class is looked up, nothing is imported, nothing evaluated.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .engine.durable_runs import REQUEST
from .engine.journal_image import Image
from .engine.step_config import JSONValue
from .engine.stores import Row, RowKind
from .engine.usage import FREE, Usage
from .run_export import parsed
from .stored_values import one_line, shown

QUESTION = 300
"""How many characters of a question are shown."""

_NOTES = 5
"""How many decisions and attempts of one frame are listed."""

_OF_FRAMES = (RowKind.FINISHED, RowKind.STARTED)
_DEFINITION = "definition "  # what a step was made of when it ran, by its digest
_OF_SESSION = re.compile(r"head|(frame|input|context|ended)#\d+")
_BOOKKEEPING = ("u", "l", "n", "m", "c")


@dataclass(frozen=True, slots=True)
class Note:
    """What happened in a frame besides its end: a decision, an attempt."""

    kind: str
    name: str
    status: str
    usage: Usage
    preview: str


@dataclass(frozen=True, slots=True)
class ShownFrame:
    """A frame: where it stands and how it ended, as far as rows tell.

    ``label`` is its path below the frame around it; ``depth`` counts those.
    """

    path: str
    label: str
    depth: int
    status: str
    attempts: int
    earlier_ends: int
    seconds: float | None
    usage: Usage
    preview: str
    notes: Sequence[Note]
    more_notes: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames of one parent that are not listed, by status."""

    depth: int
    statuses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Question:
    """A pause of the run: ``open``, ``answered``, or asked again since its answer was refused."""

    path: str
    message: str
    state: str
    answer: str = ""


@dataclass(slots=True)
class _Node:
    path: str
    rows: list[Row] = field(default_factory=list)
    children: dict[str, _Node] = field(default_factory=dict)


def frames_of(rows: Sequence[Row], at_each_end: int | None = 10) -> Sequence[ShownFrame | Gap]:
    """The frames in the order of their first rows, each before those inside it.

    Of many inside one parent, those between the first and the last ``at_each_end`` are one `Gap`;
    ``None`` lists them all.
    """
    root = _tree(rows)
    told = any(row.kind == RowKind.FINISHED or _is_note(row) for row in root.rows)
    lines: list[ShownFrame | Gap] = [_line(root, root, 0)] if told else []
    waiting = [(root, one, 0) for one in reversed(_chosen(root, at_each_end))]
    while waiting:
        above, one, depth = waiting.pop()
        if isinstance(one, Gap):
            lines.append(replace(one, depth=depth))
            continue
        lines.append(_line(one, above, depth))
        waiting += [(one, each, depth + 1) for each in reversed(_chosen(one, at_each_end))]
    return lines


def given_to(rows: Sequence[Row]) -> str | None:
    """What the run was started with, in one line, as far as rows tell."""
    for row in rows:
        if row.name == REQUEST and not row.path:
            match body_of(row).get("v"):
                case {"data": data}:
                    return shown(data)
    return None


def questions_of(rows: Sequence[Row], answers: Mapping[str, bytes]) -> Sequence[Question]:
    """The questions that a run asked: those that were answered, then those that stand open."""
    image = Image(rows)
    asked = {row.path: row for row in rows if row.status == "paused"}
    held = image.answered(answers)
    given: list[Question] = []
    for pause, body in answers.items():
        path = pause.partition("@")[0]
        message = _question(asked[path]) if path in asked else ""
        state = "answered" if held.get(path) == body else "refused"
        given.append(Question(path, message, state, shown(parsed(body))))
    standing = (row for row in image.asking() if row.path not in held)
    return [*given, *(Question(row.path, _question(row), "open") for row in standing)]


def body_of(row: Row) -> Mapping[str, JSONValue]:
    """A row's body; what is no JSON object stands under the key ``body``."""
    value = parsed(row.body)
    if isinstance(value, Mapping):
        return value
    return {"body": value}


def _tree(rows: Sequence[Row]) -> _Node:
    root = _Node("")
    for row in rows:
        node = root
        for segment in row.path.split("/") if row.path else ():
            if segment not in node.children:
                node.children[segment] = _Node(f"{node.path}/{segment}".removeprefix("/"))
            node = node.children[segment]
        node.rows.append(row)
    return root


def _chosen(node: _Node, at_each_end: int | None) -> list[_Node | Gap]:
    children = [_first_told(one) for one in node.children.values()]
    if at_each_end is None or len(children) <= 2 * at_each_end + 1:
        return [*children]
    hidden = children[at_each_end:-at_each_end]
    gap = Gap(0, Counter(_status(one)[0] or "not ended" for one in hidden))
    return [*children[:at_each_end], gap, *children[-at_each_end:]]


def _first_told(node: _Node) -> _Node:
    """The first node that rows tell of, or that forks, at or below ``node``.

    Numbers and branch keys are parts of paths, and mostly no frames.
    """
    while not node.rows and len(node.children) == 1:
        [node] = node.children.values()
    return node


def _status(node: _Node) -> tuple[str, Row | None]:
    """How the frame stands, and the row that says so."""
    told = [row for row in node.rows if row.kind in _OF_FRAMES]
    if not told:
        return "", None
    last = told[-1]
    return ("started", None) if last.kind == RowKind.STARTED else (last.status or "", last)


def _line(node: _Node, above: _Node, depth: int) -> ShownFrame:
    ends = [row for row in node.rows if row.kind == RowKind.FINISHED]
    notes = [_note(row) for row in node.rows if _is_note(row)]
    status, end = _status(node)
    body = {} if end is None else body_of(end)
    return ShownFrame(
        path=node.path,
        label=node.path.removeprefix(f"{above.path}/"),
        depth=depth,
        status=status,
        attempts=int(_number(body.get("n")) or 0),
        earlier_ends=max(len(ends) - 1, 0),
        seconds=_number(body.get("l")),
        usage=sum((_usage(row) for row in ends), FREE),
        preview=_preview(body),
        notes=notes[-_NOTES:],
        more_notes=max(len(notes) - _NOTES, 0),
    )


def _is_note(row: Row) -> bool:
    """Whether a row tells something of a frame besides its end, that is not of the whole run."""
    if row.kind == RowKind.DECISION and not row.path:
        name = row.name or ""
        return name != REQUEST and not name.startswith(_DEFINITION) and not is_of_session(name)
    return row.kind not in (*_OF_FRAMES, RowKind.RESUMED)


def is_of_session(name: str) -> bool:
    """Whether a decision at the root is what a notebook's session noted of a command."""
    return _OF_SESSION.fullmatch(name) is not None


def _note(row: Row) -> Note:
    return Note(row.kind, row.name or "", row.status or "", _usage(row), _preview(body_of(row)))


def _preview(body: Mapping[str, JSONValue]) -> str:
    """The one thing that a body is about; all that it says where that is not known."""
    match body:
        case {"e": error}:
            return _error(error)
        case {"q": {"message": str(message)}} | {"a": {"message": str(message)}}:
            return one_line(message)
        case {"live": list(parts)} if parts:
            return one_line(f"live only: {', '.join(map(_part, parts))}")
        case {"o": output} | {"v": output}:
            return shown(output)
    rest = {key: value for key, value in body.items() if key not in _BOOKKEEPING}
    return shown(rest) if rest else ""


def _error(error: JSONValue) -> str:
    match error:
        case {"type": str(kind), "message": str(message)}:
            return one_line(f"{kind}: {message}" if message else kind)
    return shown(error)


def _question(row: Row) -> str:
    match body_of(row).get("q"):
        case {"message": str(message)}:
            return one_line(message, QUESTION)
    return ""


def _part(part: JSONValue) -> str:
    match part:
        case [str(where), str(kind), *_]:
            return f"{where} ({kind})"
    return shown(part)


def _usage(row: Row) -> Usage:
    return Usage(row.cost_micros, row.tokens, row.requests)


def _number(value: JSONValue) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
