"""Which statements are needed for some names to have their values."""

from __future__ import annotations

from flujo_nb.exports.cell_sources import Cell, program_of
from flujo_nb.exports.needed_statements import Executed, Needed


def needed(*cells: str, name: str = "x", constants: tuple[str, ...] = ()) -> Needed:
    programs = [program_of(Cell(number, text)) for number, text in enumerate(cells, 1)]
    executed = Executed([one for program in programs for one in program.statements])
    return executed.needed(
        {name: "it"},
        constants=constants,
        known={"len", "print", "range", "sum"},
        star=lambda name: "stars" if name == "shine" else None,
    )


def kept(*cells: str, name: str = "x") -> list[str]:
    found = needed(*cells, name=name)
    assert found.missing == []
    return [one.text for one in found.statements]


def test_only_what_is_needed_and_in_order() -> None:
    assert kept("a = 1", "b = 2", "x = a", "c = x") == ["a = 1", "x = a"]


def test_the_newest_binding_counts() -> None:
    assert kept("a = 1", "a = 2", "x = a") == ["a = 2", "x = a"]


def test_what_a_statement_was_made_of_is_what_was_there_then() -> None:
    assert kept("a = 1", "x = a", "a = 2") == ["a = 1", "x = a"]


def test_what_a_function_needs_is_what_is_there_at_the_end() -> None:
    assert kept("a = 1", "def x(): return a", "a = 2") == ["def x(): return a", "a = 2"]


def test_a_function_that_was_called_on_the_way_needed_what_was_there_then() -> None:
    cells = ["a = 1", "def f(): return a", "x = f()", "a = 2"]
    assert kept(*cells) == ["a = 1", "def f(): return a", "x = f()", "a = 2"]


def test_what_adds_to_a_value_is_needed_with_what_it_had() -> None:
    assert kept("x = 1", "x += 2") == ["x = 1", "x += 2"]


def test_changes_behind_the_binding_are_needed() -> None:
    cells = ["x = [0]", "x.append(1)", "x = []", "n = 3", "x.append(n)", "x[0] = n", "len(x)"]
    assert kept(*cells) == ["x = []", "n = 3", "x.append(n)", "x[0] = n"]


def test_changes_after_the_value_was_used_are_not() -> None:
    assert kept("a = []", "x = len(a)", "a.append(1)") == ["a = []", "x = len(a)"]


def test_a_call_of_a_function_that_changes_is_a_change() -> None:
    cells = ["x = {}", "def put(k): x[k] = 1", "put('a')", "def other(): pass", "other()"]
    assert kept(*cells) == ["x = {}", "def put(k): x[k] = 1", "put('a')"]


def test_so_is_one_that_changes_what_it_is_given() -> None:
    cells = ["x = {}", "y = {}", "def put(t): t['a'] = 1", "put(x)", "put(y)", "print(x)"]
    assert kept(*cells) == ["x = {}", "def put(t): t['a'] = 1", "put(x)"]


def test_a_decorator_that_registers_is_a_change() -> None:
    cells = [
        "x = {}",
        "def keeps(k):\n    def keep(f):\n        x[k] = f\n        return f\n    return keep",
        "@keeps('a')\ndef a(): return b",
        "b = 1",
        "def c(): return 2",
    ]
    assert kept(*cells) == cells[:-1]


def test_a_call_that_binds_a_global_binds_it() -> None:
    cells = ["def load():\n    global x\n    x = 1", "load()"]
    assert kept(*cells) == cells


def test_calls_of_a_modules_methods_are_no_changes_unless_they_set() -> None:
    cells = ["import m", "m.show(1)", "m.seed(3)", "m.options.a = 1", "def x(): return m.f()"]
    assert kept(*cells) == ["import m", "m.seed(3)", "m.options.a = 1", "def x(): return m.f()"]


def test_what_may_have_been_bound_before_is_needed_too() -> None:
    cells = ["x = 1", "if a: x = 2", "a = True"]
    found = needed("a = True", "x = 1", "if a: x = 2")
    assert [one.text for one in found.statements] == ["a = True", "x = 1", "if a: x = 2"]
    assert [one.name for one in needed(*cells).missing] == ["a"]


def test_what_a_statement_binds_itself_need_not_have_been_bound() -> None:
    cells = ["x = []", "for i in range(3):\n    y = i\n    x.append(y)", "z = (w := 1) + w"]
    assert kept(*cells) == cells[:2]
    assert kept(*cells, name="z") == cells[2:]


def test_submodules_come_with_their_package() -> None:
    cells = ["import os", "import os.path", "def x(): return os.path.sep"]
    assert kept(*cells) == cells


def test_a_constant_stands_for_all_that_makes_it() -> None:
    found = needed("a = await f()", "b = a", "b.append(1)", "x = b", constants=("b",))
    assert [one.text for one in found.statements] == ["x = b"]
    assert found.constants == {"b"}


def test_what_is_missing_says_who_needs_it_and_what_for() -> None:
    found = needed("def f(): return gone", "x = f")
    [missing] = found.missing
    assert (missing.name, missing.wanted_for, missing.why_not) == ("gone", "it", None)
    assert missing.user is not None and missing.user.cell == 1


def test_what_does_not_run_outside_a_notebook_is_missing() -> None:
    [missing] = needed("x = !ls").missing
    assert missing.name == "x" and missing.why_not is not None
    [missing] = needed("x = []", "x.append(await f())").missing
    assert missing.name == "x" and missing.why_not is not None


def test_hints_are_taken_if_they_are_there() -> None:
    assert kept("class T: pass", "def x(a: 'T', b: 'Gone'): pass") == [
        "class T: pass",
        "def x(a: 'T', b: 'Gone'): pass",
    ]


def test_names_of_a_star_are_found() -> None:
    assert needed("def x(): return shine(len)").starred == {"shine": "stars"}


def test_functions_that_call_each_other_come_to_an_end() -> None:
    cells = ["def x(): return y()", "def y(): return x()", "x()"]
    assert kept(*cells) == cells[:2]
