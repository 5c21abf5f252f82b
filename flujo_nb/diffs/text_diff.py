"""Where two texts differ: the lines that went and came, with a few around them, in bounded time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple
from unicodedata import normalize

from flujo_nb.widgets.previews import clipped, veiled

from ..html import without_controls

WIDTH = 100
"""How many characters of a line are shown."""

_AROUND = 2
_WINDOW = 300
_WINDOWS = 30
_IN_A_ROW = 8
_CHUNK = 4_096
_LONG = 4_000_000
_NEAR = 20_000  # more than the longest secret that is known by its form
_BEFORE = 24


class TextLine(NamedTuple):
    """A line of a difference: ``-``, ``+`` or a blank, and its text.

    ``number`` counts lines from 1, and stands where those before it are left out.
    """

    mark: str
    text: str
    number: int | None = None


class Block(NamedTuple):
    """Lines ``a`` up to ``b`` of the one text became lines ``c`` up to ``d`` of the other."""

    a: int
    b: int
    c: int
    d: int


class Cut(NamedTuple):
    """The lines of two texts that are compared, and what is not: the lines before, and a rest."""

    old: Sequence[str]
    new: Sequence[str]
    before: int
    has_rest: bool


def cut(old: str, new: str) -> Cut:
    """The lines of two texts; of very long ones, those about where they differ."""
    if max(len(old), len(new)) <= _LONG:
        return Cut(old.split("\n"), new.split("\n"), 0, False)
    alike = common(old, new)
    start = max(old.rfind("\n", 0, max(0, alike - _NEAR)) + 1, alike - _LONG // 2)
    end = _common_end(old, new, min(len(old), len(new)) - alike) - _NEAR
    ends = len(old) - max(0, end), len(new) - max(0, end)
    left, right = old[start : min(ends[0], start + _LONG)], new[start : min(ends[1], start + _LONG)]
    has_rest = max(ends) > start + _LONG
    return Cut(left.split("\n"), right.split("\n"), old.count("\n", 0, start), has_rest)


def _common_end(old: str, new: str, most: int) -> int:
    """How many characters are the same at the ends of two texts: whole steps, up to ``most``."""
    done = 0
    while done + _CHUNK <= most:
        step = slice(-done - _CHUNK, -done or None)
        if old[step] != new[step]:
            break
        done += _CHUNK
    return done


def text_diff(
    old: Sequence[str], new: Sequence[str], most: int, *, is_cut: bool = False
) -> tuple[list[TextLine], int]:
    """How the lines ``old`` became ``new``: about ``most`` lines, and how many places are left.

    Where lines go on behind what ``is_cut``, a difference at the end says nothing.
    """
    blocks = list(changed_blocks(old, new))
    if is_cut and len(blocks) > 1 and (blocks[-1].b == len(old) or blocks[-1].d == len(new)):
        del blocks[-1]
    lines: list[TextLine] = []
    upto = told = 0
    for number, block in enumerate(blocks):
        if len(lines) >= most:
            break
        start = max(upto, block.a - _AROUND)
        is_apart = start > upto or not number
        end = blocks[number + 1].a if number + 1 < len(blocks) else len(old)
        upto = min(block.b + _AROUND, end)
        hunk = [
            *(TextLine(" ", clipped(line, WIDTH)) for line in old[start : block.a]),
            *_replaced(old[block.a : block.b], new[block.c : block.d]),
            *(TextLine(" ", clipped(line, WIDTH)) for line in old[block.b : upto]),
        ]
        if is_apart:
            hunk[0] = hunk[0]._replace(number=start + 1)
        lines += hunk
        told += 1
    return lines, len(blocks) - told


def changed_blocks(old: Sequence[str], new: Sequence[str]) -> Iterator[Block]:
    """Where lines differ, from the beginning on; of very long texts, the rest as one block."""
    before: Block | None = None
    for block in _blocks(old, new):
        if before is not None and (before.b, before.d) == (block.a, block.c):
            before = Block(before.a, block.b, before.c, block.d)
        else:
            if before is not None:
                yield before
            before = block
    if before is not None:
        yield before


def _blocks(old: Sequence[str], new: Sequence[str]) -> Iterator[Block]:
    """As `changed_blocks`; two that touch may be one."""
    at = other = 0
    for _ in range(_WINDOWS):
        alike = common(old, new, at, other)
        at, other = at + alike, other + alike
        left, right = old[at : at + _WINDOW], new[other : other + _WINDOW]
        if not left and not right:
            return
        codes = SequenceMatcher(None, left, right, autojunk=False).get_opcodes()
        is_last = at + len(left) == len(old) and other + len(right) == len(new)
        matches = [n for n, (tag, *_) in enumerate(codes) if tag == "equal"]
        if not is_last and matches:
            codes = codes[: matches[-1] + 1]  # what is behind may go on outside the window
        for tag, a, b, c, d in codes:
            if tag != "equal":
                yield Block(at + a, at + b, other + c, other + d)
        at, other = at + codes[-1][2], other + codes[-1][4]
    if at < len(old) or other < len(new):
        yield Block(at, len(old), other, len(new))


def common(old: Sequence[str], new: Sequence[str], at: int = 0, other: int = 0) -> int:
    """How many items of two lists (characters of two texts) are the same, from there on."""
    size = min(len(old) - at, len(new) - other)
    done, step = 0, _CHUNK
    while done < size:
        upto = min(done + step, size)
        if old[at + done : at + upto] == new[other + done : other + upto]:
            done = upto
        elif step > 1:
            step //= 8
        else:
            break
    return done


def _replaced(gone: Sequence[str], come: Sequence[str]) -> Iterator[TextLine]:
    """Lines that went and lines that came; of a long line that changed, where it did."""
    left, right = gone[:_IN_A_ROW], come[:_IN_A_ROW]
    if len(gone) == len(come):
        pairs = [focused(one, two) for one, two in zip(left, right, strict=True)]
        left, right = [one for one, _ in pairs], [two for _, two in pairs]
    for mark, shown, count in (("-", left, len(gone)), ("+", right, len(come))):
        yield from (TextLine(mark, clipped(line, WIDTH)) for line in shown)
        if count > _IN_A_ROW:
            yield TextLine(mark, f"… {count - _IN_A_ROW:,} more lines")


def focused(one: str, two: str, *, is_repr: bool = False) -> tuple[str, str]:
    """The parts of two lines at which they begin to differ, so that one sees how.

    Lines that look alike are spelled out, unless they are a ``repr`` already. Secrets are withheld
    before anything is cut, for half of one is not known as one.
    """
    if max(len(one), len(two)) > _NEAR:
        start = max(0, common(one, two) - _NEAR)
        one, two = one[start : start + 2 * _NEAR], two[start : start + 2 * _NEAR]
    if not is_repr and _looks(one) == _looks(two):
        one, two = ascii(one), ascii(two)
    shown = veiled(one), veiled(two)
    if shown[0] == shown[1]:
        return shown[0], f"{clipped(shown[1], WIDTH // 2)} (it differs in what is withheld)"
    if max(map(len, shown)) <= WIDTH:
        return shown
    start = common(*shown) - _BEFORE
    return shown if start < 2 else (f"…{shown[0][start:]}", f"…{shown[1][start:]}")


def _looks(line: str) -> str:
    """What one sees of a line."""
    return " ".join(normalize("NFC", without_controls(line)).split())
