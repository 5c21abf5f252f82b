"""The updates of branches, merged under each strategy."""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from time import process_time
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, PrivateAttr

from flujo_nb.engine.context import AppendValues, ContextUpdate, DeleteKey, SetValue
from flujo_nb.engine.errors import ContextMergeError, ContextUpdateError
from flujo_nb.engine.merging import Merge, MergeStrategy
from flujo_nb.engine.user_code import Raised
from flujo_nb.engine.values import exactly_equal
from tests.engine.branches import (
    CONTEXT_UPDATE,
    CONTEXTS,
    ERROR_ON_CONFLICT,
    KEEP_FIRST,
    NO_MERGE,
    OVERWRITE,
    Inner,
    Level,
    State,
    Work,
    clash,
    drop,
    fill,
    merged,
    put,
    updates_of,
)


def test_defect_5_a_branch_that_leaves_a_field_alone_does_not_conflict() -> None:
    # flujo 0.6.11 fails here: it compares branch with branch, so "x" conflicts with the base's "".
    assert merged(State(), put(tag="x"), lambda c: c.tag).tag == "x"


@pytest.mark.parametrize("sets_last", [True, False])
def test_defect_5_a_branch_that_finishes_last_brings_no_stale_value_back(sets_last: bool) -> None:
    works: list[Work] = [lambda c: c.total, put(total=5)]
    # flujo 0.6.11 fails here: total is 0 when the branch that left it alone is merged last.
    assert merged(State(), *(works if sets_last else reversed(works))).total == 5


def test_branches_that_changed_nothing_make_no_update() -> None:
    branches: list[tuple[str, ContextUpdate | None]] = [("a", None), ("b", None)]
    for strategy in MergeStrategy:
        assert CONTEXTS.merge_branches(State(), branches, strategy) is None


def test_no_merge_keeps_nothing_not_even_what_is_declared() -> None:
    assert merged(State(), put(hits=1, tag="x"), put(hits=1), strategy=NO_MERGE) == State()


# CONTEXT_UPDATE


AGREEING = [{"tag": "x"}, {"flag": True}, {"level": Level.HIGH}, {"inner": Inner(label="x")}]


@pytest.mark.parametrize("values", AGREEING)
def test_equal_changes_agree(values: dict[str, Any]) -> None:
    assert merged(State(), put(**values), put(**values)) == State(**values)


@pytest.mark.parametrize(
    ("one", "other"), [("x", "y"), (None, "y"), (True, "True"), ((1,), (True,)), ({1}, {2})]
)
def test_changes_that_differ_are_named_with_their_branches_and_values(one: Any, other: Any) -> None:
    said = clash(State(), put(tag=one), put(total=1), put(tag=other))
    assert f"tag: branch 'a' set it to {one!r}, branch 'c' set it to {other!r}" in said
    assert "total" not in said
    assert "Annotated[…, Merge.add]" in said
    assert "another merge_strategy" in said


@pytest.mark.parametrize("other", [1, 2])
def test_two_changes_of_a_number_name_the_rule_that_adds_them(other: int) -> None:
    said = clash(State(), put(total=1), put(total=other))
    assert f"'a' set it to 1, branch 'b' set it to {other} (declare Merge.add to add" in said


def test_every_conflict_is_listed_and_says_how_many_branches_it_has() -> None:
    said = clash(State(), *(put(tag=name, total=1) for name in "xxyz"))
    assert "tag: branch 'a' set it to 'x', branch 'c' set it to 'y', and 2 more changed it" in said
    assert "total: branch 'a' set it to 1, branch 'b' set it to 1, and 2 more changed it" in said


def test_a_value_that_cannot_be_shown_does_not_hide_the_conflict() -> None:
    assert "'a' set it to int" in clash(State(), put(total=10**5000), put(total=1))


def test_lists_that_only_grew_are_joined_in_declared_order() -> None:
    base = State(names=[0])
    works: list[Work] = [lambda c: c.names.append(1), lambda c: c.names.extend([2, 1])]
    assert merged(base, *works).names == [0, 1, 2, 1]
    assert merged(base, *reversed(works)).names == [0, 2, 1, 1]


def test_a_list_that_grew_and_was_replaced_is_a_conflict() -> None:
    said = clash(State(names=[0]), lambda c: c.names.append(1), put(names=[2]))
    assert "'a' appended 1 to it, branch 'b' set it to [2]" in said


def test_dicts_merge_key_by_key() -> None:
    base = State(table={"a": {"x": 1, "gone": 0}, "b": [1]})

    def one(context: State) -> None:
        context.table["a"]["x"] = 2
        context.table["b"].append(2)

    def other(context: State) -> None:
        del context.table["a"]["gone"]
        context.table["b"].append(3)
        context.table["new"] = 1

    assert merged(base, one, other).table == {"a": {"x": 2}, "b": [1, 2, 3], "new": 1}
    assert "table.a.x: branch 'a'" in clash(base, one, lambda c: c.table["a"].update(x=3))


def test_new_dicts_merge_key_by_key_too() -> None:
    one = fill("new", a=1, same="s", deep={"x": 1})
    other = fill("new", b=2, same="s", deep={"y": 1})
    new = {"a": 1, "same": "s", "deep": {"x": 1, "y": 1}, "b": 2}
    for strategy in (CONTEXT_UPDATE, OVERWRITE, KEEP_FIRST):
        assert merged(State(), one, other, strategy=strategy).table == {"new": new}
    assert "table.new.a: " in clash(State(), one, one)


@pytest.mark.parametrize("kind", [Counter, lambda: defaultdict(int)])
def test_dicts_of_other_types_merge_key_by_key_and_keep_their_type(kind: Any) -> None:
    base = State.model_construct(table=kind())
    table = merged(base, lambda c: c.table.update(x=1), lambda c: c.table.update(y=1)).table
    expected = kind()
    expected.update(x=1, y=1)
    assert exactly_equal(table, expected)


def test_a_deletion_and_a_change_are_a_conflict() -> None:
    base = State(table={"k": {"x": [1]}}, inner=Inner())
    gone = drop("k")
    assert merged(base, gone, gone).table == {}
    said = clash(base, gone, lambda c: c.table["k"]["x"].append(2))
    assert "table.k: branch 'a' deleted it, branch 'b' appended 2 to table.k.x" in said
    said = clash(base, lambda c: setattr(c.inner, "label", "x"), put(inner=None))
    assert "inner: branch 'a' set inner.label to 'x', branch 'b' set it to None" in said
    assert "hits" in clash(base, put(hits=1), lambda c: delattr(c, "hits"))


def test_extras_and_private_attributes_merge_as_fields_do() -> None:
    class Hidden(State):
        _notes: list[str] = PrivateAttr(default_factory=list)

    base = Hidden(more={"x": 1})
    result = merged(
        base,
        lambda c: (c.more.update(y=2), c._notes.append("a")),
        lambda c: (setattr(c, "extra", 3), c._notes.append("b")),
    )
    assert result.__pydantic_extra__ == {"more": {"x": 1, "y": 2}, "extra": 3}
    assert result._notes == ["a", "b"]


# The other strategies


def test_error_on_conflict_refuses_any_path_that_two_branches_changed() -> None:
    base = State(table={"k": {"x": 1}})
    fine = merged(base, put(tag="x"), lambda c: c.table.update(y=1), strategy=ERROR_ON_CONFLICT)
    assert (fine.tag, fine.table) == ("x", {"k": {"x": 1}, "y": 1})
    pairs: list[tuple[Work, Work]] = [
        (put(tag="x"), put(tag="x")),
        (lambda c: c.names.append(1), lambda c: c.names.append(2)),
        (fill("k", x=2), drop("k")),
        (fill("new", a=1), fill("new", b=1)),
    ]
    for one, other in pairs:
        assert "branch 'b'" in clash(base, one, other, strategy=ERROR_ON_CONFLICT)


def test_overwrite_and_keep_first_choose_by_declared_order_for_each_path() -> None:
    works = [put(tag="x", total=1), put(tag="y"), put(names=["z"])]
    assert merged(State(), *works, strategy=OVERWRITE) == State(tag="y", total=1, names=["z"])
    assert merged(State(), *works, strategy=KEEP_FIRST) == State(tag="x", total=1, names=["z"])


def test_a_whole_and_a_part_of_it_go_to_the_branch_that_wins() -> None:
    base = State(table={"k": {"x": 1, "y": 1}})
    part, rest, gone = fill("k", x=2), fill("k", y=2), drop("k")
    assert merged(base, part, gone, strategy=OVERWRITE).table == {}
    assert merged(base, gone, part, strategy=KEEP_FIRST).table == {}
    both = {"k": {"x": 2, "y": 2}}
    assert merged(base, rest, gone, part, strategy=OVERWRITE).table == both
    assert merged(base, part, gone, rest, strategy=KEEP_FIRST).table == both


def test_a_callable_strategy_gets_copies_and_changes_the_first_in_place() -> None:
    base = State(names=["base"])
    seen: dict[str, Any] = {}

    def merge(context: Any, branches: Mapping[str, Any]) -> None:
        seen.update({name: list(branch.names) for name, branch in branches.items()})
        context.names += [name for branch in branches.values() for name in branch.names[1:]]
        branches["b"].names.append("meddled")

    result = merged(base, *(lambda c, n=n: c.names.append(n) for n in (2, 1)), strategy=merge)
    assert list(seen.items()) == [("a", ["base", 2]), ("b", ["base", 1])]
    assert (result.names, base.names) == (["base", 2, 1], ["base"])


def test_a_callable_strategy_may_return_a_model() -> None:
    works = [put(tag="x"), put(tag="y", total=1)]
    assert merged(State(), *works, strategy=lambda c, b: b["b"]) == State(tag="y", total=1)
    assert merged(State(), *works, strategy=lambda c, b: State(total=7)) == State(total=7)
    with pytest.raises(ContextUpdateError, match="returns a new one; found int"):
        merged(State(), *works, strategy=lambda c, b: 5)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_what_a_users_function_raises_comes_back(error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    class Failing(BaseModel):
        value: Annotated[int, Merge(fail)] = 0
        other: Annotated[int, Merge(fail)] = 0

    branches = updates_of(Failing(), [put(value=1, other=1), put(value=2, other=2)])
    for strategy in (fail, CONTEXT_UPDATE):
        assert CONTEXTS.merge_branches(Failing(), branches, strategy) == Raised(error)


# field_mapping


def test_field_mapping_counts_only_what_it_names_before_anything_is_compared() -> None:
    base = State(table={"k": {}})

    def work(value: Any) -> Work:
        return lambda c: (put(tag=value, total=value)(c), c.table["k"].update(x=value, y=value))

    mapping = {"a": ["tag", "table.k.x"], "b": ["total", "table.k.y", "inner"], "c": []}
    result = merged(base, *map(work, (1, 2, 3)), field_mapping=mapping)
    assert (result.tag, result.total, result.table) == (1, 2, {"k": {"x": 1, "y": 2}})
    with pytest.raises(ContextMergeError, match="total: branch 'b' set it to 2, branch 'c'"):
        merged(base, *map(work, (1, 2, 3)), field_mapping={"a": ["table"], "b": ["total"]})


def test_field_mapping_that_names_a_part_of_a_new_whole_says_so() -> None:
    with pytest.raises(ContextUpdateError, match=r"branch 'a' names a part of 'table\.k'.*itself"):
        merged(State(), fill("k", x=1), field_mapping={"a": ["table.k.x"]})


# What it costs


class Growing(BaseModel):
    items: list[int] = []
    table: dict[int, int] = {}
    hits: Annotated[int, Merge.add] = 0


def cost(branches: int, size: int) -> float:
    base = Growing(items=list(range(size)), table=dict.fromkeys(range(size), 0))
    updates = [
        (
            str(i),
            ContextUpdate(
                (
                    AppendValues(("items",), (i,)),
                    SetValue(("table", -1 - i), i),
                    SetValue(("hits",), 1),
                    *([DeleteKey(("table", i))] if i < size else ()),
                )
            ),
        )
        for i in range(branches)
    ]
    started = process_time()
    merging = CONTEXTS.merge_branches(base, updates, CONTEXT_UPDATE)
    spent = process_time() - started
    assert isinstance(merging, ContextUpdate)
    return spent


@pytest.fixture
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collection")
def test_merging_costs_what_changed_whatever_the_size_of_the_context() -> None:
    for _ in range(5):  # another process may have disturbed the first
        small, more = (min(cost(n, 0) for _ in range(3)) for n in (500, 2000))
        large = min(cost(500, 100_000) for _ in range(3))
        if more < 8 * small and large < 4 * small:
            break
    assert more < 8 * small
    assert large < 4 * small
