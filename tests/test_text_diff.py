"""Differences of texts: lines, with a few around them, and long lines where they differ."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flujo_nb.diffs.text_diff import WIDTH, changed_blocks, common, cut, focused, text_diff


def shown(old: str, new: str, most: int = 24) -> list[str]:
    lines, _ = text_diff(old.split("\n"), new.split("\n"), most)
    return [f"{one.mark}{one.text}" for one in lines]


def test_lines_that_changed_stand_among_those_around_them() -> None:
    assert shown("a\nb\nc\nd\ne\nf", "a\nb\nc\nX\ne\nf") == [" b", " c", "-d", "+X", " e", " f"]


def test_lines_that_came_and_went() -> None:
    assert shown("a\nb", "a\nx\nb") == [" a", "+x", " b"]
    assert shown("a\nx\nb", "a\nb") == [" a", "-x", " b"]
    assert shown("a", "a\n") == [" a", "+"]


def test_places_far_from_each_other_are_numbered() -> None:
    old = [str(n) for n in range(100)]
    new = [*old[:10], "x", *old[11:60], "y", *old[61:]]
    lines, more = text_diff(old, new, 24)
    assert [one.number for one in lines if one.number is not None] == [9, 59]
    assert more == 0


def test_lines_between_two_places_are_told_once() -> None:
    assert shown("a\nb\nc\nd", "A\nb\nc\nD") == ["-a", "+A", " b", " c", "-d", "+D"]


def test_many_places_are_counted() -> None:
    old = [str(n) for n in range(1_000)]
    new = [f"{one}x" if n % 10 == 0 else one for n, one in enumerate(old)]
    lines, more = text_diff(old, new, 20)
    assert len(lines) < 30
    assert more == 100 - sum(one.mark == "+" for one in lines)


def test_many_lines_in_a_row_are_counted() -> None:
    lines, more = text_diff([str(n) for n in range(1_000)], [], 24)
    assert (lines[-1].text, more) == ("… 992 more lines", 0)


def test_a_long_line_is_shown_where_it_changed() -> None:
    old, new = "a" * 5_000 + "old" + "b" * 5_000, "a" * 5_000 + "new" + "b" * 5_000
    before, after = shown(old, new)
    assert "old" in before and "new" in after
    assert max(len(before), len(after)) <= WIDTH + 1


@pytest.mark.parametrize(
    ("one", "two"), [("a b", "a  b"), ("a\r", "a"), ("a", "a\u200e"), ("\u00e9", "e\u0301")]
)
def test_lines_that_look_alike_are_spelled_out(one: str, two: str) -> None:
    before, after = focused(one, two)
    if "\u200e" not in two:
        assert before.isascii() and after.isascii()
    assert before != after


def test_half_a_secret_is_not_shown() -> None:
    secret = "sk-abcdefghijklmnop1234567890"
    for old, new in ((f"{'x' * 200} {secret}", f"{'x' * 200} {secret}9"), (secret, f"{secret} 9")):
        assert all("abcdefgh" not in one for one in focused(old, new))


def test_of_a_very_long_text_the_lines_about_the_change_are_compared() -> None:
    old = "a line of a long text\n" * 1_000_000
    new = f"{old[:11_000_000]}\nmore\n{old[11_000_000:]}"
    part = cut(old, new)
    assert len(part.old) < 10_000 and not part.has_rest
    lines, more = text_diff(part.old, part.new, 24)
    assert any(one.text == "more" for one in lines) and more == 0
    number = next(one.number for one in lines if one.number is not None)
    assert old.count("\n", 0, 11_000_000) - 3 <= part.before + number <= 500_002


def test_of_two_changes_far_apart_the_first_is_shown_and_the_rest_admitted() -> None:
    old = "".join(f"line {n}\n" for n in range(1_500_000))
    new = old.replace("line 7\n", "line x\n").replace("line 1400007\n", "line y\n")
    part = cut(old, new)
    lines, _ = text_diff(part.old, part.new, 24, is_cut=part.has_rest)
    assert part.has_rest
    assert [one.text for one in lines if one.mark == "+"] == ["line x"]


examples = settings(derandomize=True, database=None, deadline=None, max_examples=300)
texts = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=12)


@examples
@given(texts, texts)
def test_the_blocks_make_the_one_text_of_the_other(old: list[str], new: list[str]) -> None:
    made = list(old)
    for block in reversed(list(changed_blocks(old, new))):
        made[block.a : block.b] = new[block.c : block.d]
    assert made == new


def test_the_blocks_of_long_texts_make_the_one_of_the_other() -> None:
    old = [str(n % 700) for n in range(5_000)]
    new = [one for n, one in enumerate(old) if n % 400] + ["end"]
    made = list(old)
    for block in reversed(list(changed_blocks(old, new))):
        made[block.a : block.b] = new[block.c : block.d]
    assert made == new


@examples
@given(st.text("ab", max_size=40), st.text("ab", max_size=40))
def test_what_is_common_is_the_longest_beginning(one: str, two: str) -> None:
    size = common(one, two)
    assert one[:size] == two[:size]
    assert size == min(len(one), len(two)) or one[size] != two[size]
