"""A definition holds until a name that it goes through stands for something else."""

from __future__ import annotations

import pytest

from tests.engine.cells import cell, taken

REDEFINED = {
    "a helper": ("def help(): return 1\ndef work(x): return help()", "def help(): return 2"),
    "a global": ("N = 1\ndef work(x): return N", "N = 2"),
    "a list": ("N = [1]\ndef work(x): return N", "N = [2]"),
    "a deep helper": (
        "N = 1\nclass K:\n  def m(self): return N\ndef work(x): return K().m()",
        "N = 2",
    ),
    "a built-in": ("def work(x): return len(x)", "def len(x): return 1"),
    "a name that was missing": ("def work(x): return later", "later = 1"),
    "a method": (
        "class K:\n  def m(self): return 1\ndef work(x): return K().m()",
        "K.m = lambda self: 2",
    ),
    "the code itself": (
        "def work(x): return 1",
        "def new(x): return 2\nwork.__code__ = new.__code__",
    ),
}


@pytest.mark.parametrize(("before", "then"), REDEFINED.values(), ids=REDEFINED)
def test_a_definition_does_not_hold_once_a_name_stands_for_something_else(
    before: str, then: str
) -> None:
    names = cell(before)
    definition = taken(names["work"])
    cell("unrelated = 1", names)
    assert definition.holds()
    cell(then, names)
    assert not definition.holds()


def test_a_definition_holds_no_large_value_alive() -> None:
    class Table:
        pass

    names = cell("def work(x): return table")
    names["table"] = Table()
    definition = taken(names["work"])
    names["table"] = Table()
    assert not definition.holds()


def test_a_definition_does_not_hold_once_a_closure_holds_something_else() -> None:
    limit = 1

    def work(data: int) -> bool:
        return data < limit

    definition = taken(work)
    assert definition.holds()
    limit = 2
    assert not definition.holds()
    assert taken(work).digest != definition.digest
