"""Stored runs as text for a terminal: pure functions of what a store gave."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from .display import table_text
from .engine.step_config import JSONValue
from .engine.stores import Row, RowKind, StoredRun
from .engine.usage import Usage
from .html import without_controls
from .run_export import parsed
from .run_frames import Gap, Question, ShownFrame, frames_of, given_to, questions_of
from .stored_values import one_line, shown
from .widgets.previews import duration_text

_SIZES = {"B": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_AGES = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}
_NUMBER = r"(\d{1,9}(?:\.\d{1,3})?)\s*"
_AGE = re.compile(_NUMBER + "([mhd])", re.ASCII)
_SIZE = re.compile(_NUMBER + "(k|M|G)?B", re.ASCII)
_ID = 48
_LABEL = 72


def age_of(text: str) -> float:
    """The seconds of ``30d``, ``12h``, ``90m``. Raises `ValueError` for anything else."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise ValueError(f"a number with d, h or m (days, hours, minutes); found {text!r}")
    return float(found[1]) * _AGES[found[2]]


def bytes_of(text: str) -> int:
    """The bytes of ``500kB``, ``20MB``, ``2GB``. Raises `ValueError` for anything else."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"a number with kB, MB or GB; found {text!r}")
    return int(float(found[1]) * _SIZES[f"{found[2] or ''}B"])


def size_text(size: int) -> str:
    """``812 B``, ``1.2 kB``, ``34 MB``."""
    unit = next((name for name, one in reversed(_SIZES.items()) if size >= one), "B")
    number = size / _SIZES[unit]
    return f"{number:.1f} {unit}" if number < 10 and unit != "B" else f"{number:.0f} {unit}"


def when_text(at: float, now: float) -> str:
    """How long ago, within a day; the local date and time before that."""
    seconds = now - at
    if not 0 <= seconds < 86_400:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
    if seconds < 60:
        return "just now"
    return f"{seconds // 60:.0f} min ago" if seconds < 3_600 else f"{seconds // 3_600:.0f} h ago"


def used_text(usage: Usage) -> str:
    """``$0.0120, 1,234 tokens``; nothing for nothing."""
    cost = "" if not usage.cost_micros else f"${usage.cost_usd:.4f}"
    if 0 < usage.cost_micros < 100:
        cost = "<$0.0001"
    return ", ".join(part for part in (cost, counted(usage.tokens, "token")) if part)


def counted(number: int, noun: str) -> str:
    """``1 row``, ``1,234 rows``; nothing for none."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if number else ""


def command(verb: str, *words: str, store: str | None = None) -> str:
    """A command of this family as one would type it, on the store that was named."""
    option = () if store is None else ("--store", store)
    return without_controls(shlex.join(("flujo-nb", "runs", verb, *words, *option)))


def pipeline_of(run: StoredRun) -> str:
    """The name and the version of the run's pipeline, as far as the engine wrote them."""
    match parsed(run.about):
        case {"pipeline": str(name), "version": str(version)}:
            return one_line(f"{name} {version}")
        case {"pipeline": {"name": str(name), "version": str(version)}}:
            return one_line(f"{name} {version}")
        case {"pipeline": str(name)} | {"pipeline": {"name": str(name)}}:
            return one_line(name)
    return ""


def list_text(
    runs: Sequence[StoredRun],
    questions: Mapping[str, int],
    where: str,
    now: float,
    store: str | None = None,
) -> str:
    """All runs as a table. ``questions`` counts the open ones by run, where there are any."""
    if not runs:
        return f"no runs in {one_line(where, 200)}"
    rows = [
        (
            one_line(run.run_id, _ID),
            one_line(run.status),
            when_text(run.created_at, now),
            f"{run.rows:,}",
            questions_text(questions.get(run.run_id, 0), run.answered),
            used_text(Usage(run.cost_micros, run.tokens)),
            size_text(run.size),
            pipeline_of(run),
            "" if run.owner is None else one_line(str(run.owner)),
        )
        for run in runs
    ]
    header = ("run", "status", "started", "rows", "questions", "used", "size", "pipeline", "owner")
    kept = [n for n in range(len(header)) if any(row[n] for row in rows)]
    table = table_text([header[n] for n in kept], [[row[n] for n in kept] for row in rows])
    return f"{table}\n\nnext  {command('show', runs[0].run_id, store=store)}"


def going_text(runs: Sequence[StoredRun], now: float) -> str:
    """The runs that are to be removed, as a table."""
    header = ("run", "status", "touched", "rows", "size")
    rows = [
        (
            one_line(run.run_id, _ID),
            one_line(run.status),
            when_text(run.updated_at, now),
            f"{run.rows:,}",
            size_text(run.size),
        )
        for run in runs
    ]
    return table_text(header, rows)


def questions_text(open_: int, answered: int) -> str:
    """``2 open, 1 answered``; nothing for none."""
    parts = (f"{open_} open" if open_ else "", f"{answered} answered" if answered else "")
    return ", ".join(part for part in parts if part)


def show_text(
    run: StoredRun,
    rows: Sequence[Row],
    answers: Mapping[str, bytes],
    now: float,
    *,
    all_frames: bool = False,
    store: str | None = None,
) -> str:
    """Everything about one run: what it is, its frames as a tree, its questions."""
    facts = list(_facts(run, rows, now))
    width = max(len(label) for label, _ in facts)
    parts = [
        "\n".join(
            (
                f"{one_line(run.run_id, 200)}   {one_line(run.status)}",
                *(f"  {label:<{width}}  {text}" for label, text in facts),
            )
        )
    ]
    lines = frames_of(rows, None if all_frames else 10)
    if lines:
        table = [cells for line in lines for cells in _frame_cells(line)]
        parts.append(table_text(("frame", "status", "took", "used", "output"), table))
    asked = [line for one in questions_of(rows, answers) for line in _question_lines(one)]
    if asked:
        parts.append("\n".join(("questions", *asked)))
    following = [command("export", run.run_id, store=store)]
    if any(isinstance(line, Gap) for line in lines):
        following.insert(0, command("show", run.run_id, "--all", store=store))
    return "\n\n".join((*parts, f"next  {' · '.join(following)}"))


def _facts(run: StoredRun, rows: Sequence[Row], now: float) -> Iterator[tuple[str, str]]:
    about = parsed(run.about)
    known = pipeline_of(run)
    if known:
        yield "pipeline", known
    yield "started", when_text(run.created_at, now)
    yield "touched", when_text(run.updated_at, now)
    if run.owner is not None:
        yield "owner", one_line(str(run.owner))
    if run.source is not None:
        yield "forked", one_line(f"from {run.source.run_id}, with its rows up to {run.source.upto}")
    yield "kept", f"{counted(run.rows, 'row') or 'no rows'}, {size_text(run.size)}"
    used = used_text(Usage(run.cost_micros, run.tokens, run.requests))
    if used:
        yield "used", used
    resumed = sum(row.kind == RowKind.RESUMED for row in rows)
    if resumed:
        yield "resumed", "once" if resumed == 1 else f"{resumed} times"
    given = given_to(rows)
    if given is not None:
        yield "given", given
    yield from _other_facts(about, known=bool(known))


def _other_facts(about: JSONValue, *, known: bool) -> Iterator[tuple[str, str]]:
    if not isinstance(about, Mapping):
        return
    for key, value in about.items():
        if value is not None and not (known and key in ("pipeline", "version")):
            yield one_line(key, 24), one_line(value) if isinstance(value, str) else shown(value)


def _frame_cells(line: ShownFrame | Gap) -> Iterator[Sequence[str]]:
    indent = "  " * line.depth
    if isinstance(line, Gap):
        number = sum(line.statuses.values())
        statuses = ", ".join(f"{count:,} {status}" for status, count in line.statuses.items())
        yield f"{indent}… {number:,} more", one_line(statuses), "", "", ""
        return
    times = [
        f"{line.attempts} attempts" if line.attempts > 1 else "",
        counted(line.earlier_ends, "earlier end"),
    ]
    status = ", ".join(part for part in (line.status, *times) if part)
    took = "" if line.seconds is None else duration_text(line.seconds)
    name = one_line(line.label or "(the run)", _LABEL)
    yield f"{indent}{name}", one_line(status), took, used_text(line.usage), line.preview
    if line.more_notes:
        yield f"{indent}  · {line.more_notes:,} before these", "", "", "", ""
    for note in line.notes:
        label = f"{indent}  · {one_line(f'{note.kind} {note.name}')}"
        yield label, one_line(note.status), "", used_text(note.usage), note.preview


def _question_lines(question: Question) -> Iterator[str]:
    yield f"  {question.state:<8}  {one_line(question.path, 200)}"
    if question.message:
        yield f"            {question.message}"
    if question.answer:
        yield f"            → {question.answer}"
