"""What differs between two frames: outputs, inputs, contexts, definitions, and how they ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import thread_time
from typing import TypeAlias

from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.usage import Usage
from flujo_nb.widgets.previews import clipped, duration_text, preview, short

from .diff_lines import ALONE, LINES, VALUE, Line, Mark, kinds_of, lines_of, lines_of_texts
from .value_diff import Comparison, TooLarge

SECONDS = 1.0
"""How long values are compared, of the processor's time."""

_SHARE = 0.6
_COUNTED = 10_000
_STEPS = 4
_CODE = re.compile(r"\s*code of \S+: [0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of two frames: its name, what both are in a word or two, and what differs.

    ``is_same`` is ``None`` when nobody can know, because one of them is not here.
    """

    name: str
    told: str
    lines: Sequence[Line] = ()
    is_same: bool | None = False


@dataclass(frozen=True, slots=True)
class Definitions:
    """The definitions inside a frame, by the names of its steps: digests, and lines on demand.

    ``lines`` gives nothing where what a definition said is not known.
    """

    digests: Mapping[str, Sequence[str]]
    lines: Callable[[str], Sequence[str]]


NO_DEFINITIONS = Definitions({}, lambda digest: ())


@dataclass(frozen=True, slots=True)
class FrameDiff:
    """Two frames, by id and name, and the sections of what differs between them."""

    left: str
    right: str
    sections: Sequence[Section]

    @property
    def differing(self) -> Sequence[Section]:
        """The sections that differ, or of which nobody knows."""
        return [one for one in self.sections if one.is_same is not True]


def frame_diff(
    left: FrameRecord,
    right: FrameRecord,
    old: Definitions = NO_DEFINITIONS,
    new: Definitions = NO_DEFINITIONS,
) -> FrameDiff:
    """What differs between ``left`` and ``right``, whose definitions are ``old`` and ``new``."""
    until = thread_time() + SECONDS
    sections = [
        _value_section(name, one, other, _SHARE * (until - thread_time()))
        for name, one, other in (
            ("output", _output(left), _output(right)),
            ("input", _input(left), _input(right)),
            ("context", _context(left), _context(right)),
        )
    ]
    same_name = left.name == right.name
    sections += [_definition_section(old, new, same_name), _fact_section(left, right)]
    return FrameDiff(_title(left), _title(right), [one for one in sections if one is not None])


def _title(record: FrameRecord) -> str:
    return clipped(" ".join(f"{record.id} {record.name}".split()), ALONE)


# Values


@dataclass(frozen=True, slots=True)
class _Here:
    value: object


@dataclass(frozen=True, slots=True)
class _Missing:
    """There is no value, or (when it is not known) there was one that is not here."""

    why: str
    is_known: bool = False


_Part: TypeAlias = _Here | _Missing


def _output(record: FrameRecord) -> _Part:
    if not record.succeeded:
        return _Missing(f"{record.id} {record.status.value}: it has none", is_known=True)
    if record.absent is not None:
        return _Missing(f"not here of {record.id}: {clipped(record.absent, ALONE)}")
    return _Here(record.output) if record.has_output else _Missing(f"not kept of {record.id}")


def _input(record: FrameRecord) -> _Part:
    return _Here(record.data) if record.has_data else _Missing(f"not kept of {record.id}")


def _context(record: FrameRecord) -> _Part:
    if record.context_after is not None:
        return _Here(record.context_after)
    if not record.succeeded:
        return _Missing(f"{record.id} {record.status.value}: it left none", is_known=True)
    if record.absent is not None:
        return _Missing(f"not here of {record.id}: {clipped(record.absent, ALONE)}")
    return _Missing(f"{record.id} has none", is_known=True)


def _value_section(name: str, old: _Part, new: _Part, seconds: float) -> Section | None:
    """How two values differ; nothing where both are known not to be."""
    match old, new:
        case (_Here(), _Here()):
            return _compared(name, old.value, new.value, seconds)
        case (_Missing(is_known=True), _Missing(is_known=True)):
            return None
    told = [one.why for one in (old, new) if isinstance(one, _Missing)]
    known = all(isinstance(one, _Here) or one.is_known for one in (old, new))
    lines = [
        Line(mark, "", str(preview(one.value)))
        for mark, one in ((Mark.GONE, old), (Mark.NEW, new))
        if isinstance(one, _Here)
    ]
    return Section(name, "; ".join(told), lines if known else (), False if known else None)


def _compared(name: str, old: object, new: object, seconds: float) -> Section:
    found = Comparison(seconds).differences(old, new)
    lines: list[Line] = []
    more, rest = 0, ""
    try:
        for one in found:
            if len(lines) < LINES:
                lines += lines_of(one)
            else:
                more += one.parts
            if more > _COUNTED:
                break
    except TooLarge:
        rest = "it is too large to compare all of it"
    except Exception as error:  # noqa: BLE001  # what a value's own code raises when it is compared
        rest = f"{'the rest ' if lines else ''}cannot be compared: {short(error)}"
    if not lines:
        return Section(name, rest or "the same", is_same=None if rest else True)
    if more:
        many = f"more than {_COUNTED:,} more" if more > _COUNTED else f"{more:,} more"
        rest = f"{many}; {rest}" if rest else many
    if rest:
        lines.append(Line(Mark.NONE, "…", rest))
    elif len(lines) == 1 and not lines[0].where and lines[0].mark is Mark.CHANGED:
        return Section(name, lines[0].told)
    return Section(name, kinds_of(old, new), lines)


# Definitions, and how the frames ended


def _definition_section(old: Definitions, new: Definitions, same_name: bool) -> Section | None:
    """What was edited of the steps that both frames have; nothing where that is not known.

    Which steps only one has says something of frames with the ``same_name`` only.
    """
    names = [name for name in old.digests if name in new.digests]
    if not names:
        return None
    edited = [name for name in names if old.digests[name] != new.digests[name]]
    gone = [name for name in old.digests if name not in new.digests and same_name]
    come = [name for name in new.digests if name not in old.digests and same_name]
    if not (edited or gone or come):
        return Section("definition", "the same", (), True) if same_name else None
    lines: list[Line] = []
    for name in edited[:_STEPS]:
        inside = _edits(old, new, name, LINES // min(len(edited), _STEPS))
        if len(edited) > 1 or not inside:
            told = "edited" if inside else "edited; what it was is not known any more"
            lines.append(Line(Mark.CHANGED, clipped(name, VALUE), told))
        lines += inside
    if len(edited) > _STEPS:
        lines.append(Line(Mark.NONE, "…", f"{len(edited) - _STEPS:,} more steps"))
    lines += [
        Line(mark, "steps", clipped(", ".join(every), ALONE))
        for mark, every in ((Mark.GONE, gone), (Mark.NEW, come))
        if every
    ]
    told = f"{clipped(', '.join(edited), ALONE)} edited" if edited else "made of other steps"
    return Section("definition", told, lines)


def _edits(old: Definitions, new: Definitions, name: str, most: int) -> Sequence[Line]:
    """The lines in which two definitions of a step differ, as far as both are known."""
    for one, other in zip(old.digests[name], new.digests[name], strict=False):
        left, right = old.lines(one), new.lines(other)
        if one != other and left and right:
            found = lines_of_texts(_readable(left), _readable(right), most)
            found = found or lines_of_texts(left, right, most)
            return [replace(line, where="") if line.is_code else line for line in found]
    return []


def _readable(lines: Sequence[str]) -> Sequence[str]:
    """A definition without the digests of code, which its source tells better."""
    return [line for line in lines if _CODE.fullmatch(line) is None]


def _fact_section(left: FrameRecord, right: FrameRecord) -> Section | None:
    """How the frames ended and what they used, where that differs."""
    facts = [
        ("status", left.status.value, right.status.value),
        ("because", left.feedback or "", right.feedback or ""),
        ("used", _used(left.usage), _used(right.usage)),
    ]
    lines = [
        Line(Mark.CHANGED, name, clipped(one, ALONE) or "nothing", clipped(two, ALONE) or "nothing")
        for name, one, two in facts
        if one != two
    ]
    if not lines:
        return None
    took = duration_text(left.duration_s), duration_text(right.duration_s)
    return Section("facts", "", [*lines, Line(Mark.CHANGED, "took", *took)])


def _used(usage: Usage) -> str:
    requests = f", {usage.requests:,} requests" if usage.requests else ""
    return f"{usage.tokens:,} tokens, ${usage.cost_usd:.4f}{requests}" if usage else ""
