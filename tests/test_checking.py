"""Checks: what is one, that each part of it is evaluated once, and why one does not hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from flujo_nb.checking import NoExpression, checks_in
from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.widgets.previews import FEEDBACK

SECRET = "ghp_aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA2bC4"


def why_not(text: str, **names: object) -> str | None:
    (one,) = checks_in(text)
    return one.why_not(dict(names))


def raising(error: BaseException) -> Callable[[], object]:
    def raises() -> object:
        raise error

    return raises


@pytest.mark.parametrize(
    "text",
    [
        "x == 3",
        "x != 4",
        "x < 4",
        "x <= 3",
        "x > 2",
        "x >= 3",
        "x is x",
        "x is not None",
        "x in [3]",
        "x not in 'a' 'b' if False else True",
        "x not in [4]",
        "1 < x < 4 > 2",
        "x and [x]",
        "not x == 4",
        "all(x == other for other in [x, 3])",
        "(lambda: x)() == 3",
        "[x for _ in range(2)] == [x, x]",
        "(y := x) == y",
    ],
)
def test_what_is_true_holds(text: str) -> None:
    assert why_not(text, x=3) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x == 4", "3 == 4 is false"),
        ("x != 3", "3 != 3 is false"),
        ("x < 3", "3 < 3 is false"),
        ("x <= 2", "3 <= 2 is false"),
        ("x > 3", "3 > 3 is false"),
        ("x >= 4", "3 >= 4 is false"),
        ("x is None", "3 is None is false"),
        ("x is not x", "3 is not 3 is false"),
        ("x in [4]", "3 in [4] is false"),
        ("x not in [3]", "3 not in [3] is false"),
        ("1 < x < 2 < [].pop()", "3 < 2 is false"),
        ("not x", "it is False"),
        ("x - x", "it is 0"),
        ("[]", "it is []"),
        ("x == 4 and y", "it is False"),
        ("y", "NameError: name 'y' is not defined"),
        ("x == y", "NameError: name 'y' is not defined"),
        ("x in x", "TypeError: argument of type 'int' is not iterable"),
        ("x < 'a'", "TypeError: '<' not supported between instances of 'int' and 'str'"),
    ],
)
def test_why_something_does_not_hold(text: str, why: str) -> None:
    told = why_not(text, x=3)
    assert told is not None and told.startswith(why.partition("argument of")[0])


def test_each_part_is_evaluated_once() -> None:
    seen: list[str] = []

    def note(name: str, value: object) -> object:
        seen.append(name)
        return value

    assert why_not("note('a', 1) < note('b', 2) < note('c', 2)", note=note) == "2 < 2 is false"
    assert seen == ["a", "b", "c"]
    seen.clear()
    assert why_not("note('a', 2) < note('b', 2) < note('c', 3)", note=note) == "2 < 2 is false"
    assert seen == ["a", "b"]  # as Python has it
    seen.clear()
    assert why_not("note('a', [])", note=note) == "it is []"
    assert seen == ["a"]


def test_a_truth_that_cannot_be_told_does_not_hold() -> None:
    told = why_not("x == y", x=np.array([1, 2]), y=np.array([1, 2]))
    assert told is not None and told.startswith("ValueError: The truth value of an array")


def test_what_exits_does_not_hold() -> None:
    assert why_not("leave()", leave=raising(SystemExit(3))) == "SystemExit: 3"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StepInterrupted()])
def test_an_interrupt_is_no_failed_check(error: BaseException) -> None:
    with pytest.raises(StepInterrupted):
        why_not("hangs()", hangs=raising(error))


def test_what_is_told_is_short_and_one_line_and_without_secrets() -> None:
    names = {"long": ["a" * 500] * 500, "key": SECRET, "raises": raising(OSError(f"{SECRET}\n\n"))}
    for text in ("long == key", "long in [key]", "key == long", "raises()"):
        told = why_not(text, **names)
        assert told is not None and len(told) <= FEEDBACK
        assert "\n" not in told and SECRET[:16] not in told
    (check,) = checks_in(f"x == {SECRET!r}")
    assert SECRET[:16] not in check.text


def test_one_a_line_in_brackets_over_several_with_comments() -> None:
    body = (
        "# all of it\n\n"
        "x  ==  'a'  # as it was written\n"
        "x in [\n    'a',  # this\n    'b',\n]\n"
        "(\n    x\n    == 'b'\n)\n"
        "x; x"
    )
    texts = [one.text for one in checks_in(body)]
    assert texts == ["x  ==  'a'", "x in ['a', 'b']", "x == 'b'", "x", "x"]


def test_a_text_over_several_lines_is_told_in_one() -> None:
    (check,) = checks_in('x == """a\nb"""')
    assert "\n" not in check.text


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("x == 1\n\ny = 2", 3, "y = 2 is no expression"),
        ("\nassert x", 2, "assert x is no expression"),
        ("import os", 1, "import os is no expression"),
        ("x\nfor one in x:\n    one", 2, "for one in x: is no expression"),
        ("x\ndef f():\n    pass", 2, "def f(): is no expression"),
        ("x ==", 1, "invalid syntax"),
        ("x\n(x ==", 2, "'(' was never closed"),
        ("x\n\nawait x", 3, "'await' outside function"),
        ("yield x", 1, "'yield' outside function"),
        ("!ls", 1, "invalid syntax"),
        ("x\n%flujo run x", 2, "invalid syntax"),
        ("", 1, "there is nothing to check"),
        ("\n# nothing\n", 1, "there is nothing to check"),
        ("'\ud800'", 1, "surrogates not allowed"),
        ("x\nx == 1, 'why'", 2, "a tuple is always true: leave out the message"),
        ("x\n(x == 1, 'why')", 2, "a tuple is always true: leave out the message"),
        ("x\n'x == 1'", 2, "'x == 1' is a text, and checks nothing"),
        ("not " * 5_000 + "x", 1, "it is nested too deeply"),
    ],
)
def test_anything_else_is_refused_with_its_line(body: str, line: int, said: str) -> None:
    with pytest.raises(NoExpression) as caught:
        checks_in(body)
    assert caught.value.line == line
    assert said in str(caught.value)
