"""Rules that fields declare for what several branches changed in them."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, model_validator

from flujo_nb.engine.errors import ConfigurationError, ContextUpdateError
from flujo_nb.engine.merging import Merge, MergeStrategy
from flujo_nb.engine.user_code import Raised
from flujo_nb.engine.values import exactly_equal
from tests.engine.branches import (
    CONTEXT_UPDATE,
    CONTEXTS,
    ERROR_ON_CONFLICT,
    KEEP_FIRST,
    OVERWRITE,
    Inner,
    Level,
    State,
    Work,
    clash,
    merged,
    put,
    updates_of,
)

T = TypeVar("T")


@pytest.mark.parametrize("strategy", [CONTEXT_UPDATE, ERROR_ON_CONFLICT, OVERWRITE, KEEP_FIRST])
def test_a_declared_rule_wins_over_the_strategy(strategy: MergeStrategy) -> None:
    works: list[Work] = [
        lambda c: (c.log.append(1), put(hits=c.hits + 2, best=1.5, average=4.0)(c)),
        lambda c: (c.log.append(1), put(hits=c.hits - 5, best=0.5, average=2.0)(c)),
    ]
    result = merged(State(hits=10, best=9.0), *works, strategy=strategy)
    assert (result.hits, result.log, result.best, result.average) == (7, [1, 1], 1.5, 3.0)


def test_add_is_exact_and_starts_from_nothing_where_there_is_none() -> None:
    huge = State(hits=10**40)
    assert merged(huge, *[lambda c: put(hits=c.hits + 1)(c)] * 3).hits == 10**40 + 3
    assert merged(State(), put(cost=Decimal("0.1")), put(cost=Decimal("0.2"))).cost == Decimal(
        "0.3"
    )


def test_add_counts_each_key_of_a_dict() -> None:
    base = State(words={"a": 1, "z": {"deep": 1}}, tally=Counter("ab"))

    def one(context: State) -> None:
        context.words["a"] += 1
        context.words["z"]["deep"] += 1
        context.words["n"] = {"deep": 1}
        context.tally.subtract("aa")

    result = merged(base, one, one, lambda c: c.tally.update("bc"))
    assert result.words == {"a": 3, "z": {"deep": 3}, "n": {"deep": 2}}
    assert exactly_equal(result.tally, Counter({"a": -3, "b": 2, "c": 1}))


def test_a_rule_on_a_field_of_a_nested_model_holds_at_any_depth() -> None:
    base = State(inner=Inner(seen=1), table={"k": [1], "m": {"deep": Inner()}})

    def one(context: Any) -> None:
        context.inner.seen += 1
        context.table["m"]["deep"].seen += 1

    result = merged(base, one, one, strategy=ERROR_ON_CONFLICT)
    assert (result.inner.seen, result.table["m"]["deep"].seen) == (3, 2)


def test_append_joins_what_each_branch_appended() -> None:
    base = State(log=[0], pair=(0,), groups=defaultdict(list, old=[0]))

    def one(context: State) -> None:
        context.log.append([1])
        context.pair += (1,)
        context.groups["old"].append(1)
        context.groups["new"].append(1)

    result = merged(base, one, one)
    assert (result.log, result.pair) == ([0, [1], [1]], (0, 1, 1))
    assert exactly_equal(result.groups, defaultdict(list, old=[0, 1, 1], new=[1, 1]))
    said = clash(base, one, lambda c: c.log.clear())
    assert "log: branch 'a' appended [1] to it, branch 'b' set it to []" in said
    assert "Merge.append cannot combine them: a branch did not only append" in said


def test_union_gives_and_takes_what_any_branch_did() -> None:
    base = State(tags={"x", "y"}, unique=["x", 1, "y"], known={"k": {"a"}})

    def one(context: State) -> None:
        context.tags ^= {"x", "new"}
        context.unique.extend([True, {"n": 1}])
        context.known.update(k={"a", "b"}, n="same")

    def other(context: State) -> None:
        context.tags |= {"new", "z"}
        context.unique[:] = [1, {"n": 1}, {"n": True}, "y"]
        context.known.update(k={"a", "c"}, n="same")

    result = merged(base, one, other)
    assert result.tags == {"y", "new", "z"}
    assert exactly_equal(result.unique, [1, "y", True, {"n": 1}, {"n": True}])
    assert result.known == {"k": {"a", "b", "c"}, "n": "same"}
    assert merged(base, *[lambda c: c.unique.append("x")] * 2).unique == base.unique
    assert "known.n" in clash(base, one, lambda c: c.known.update(n="differs"))


def test_union_tells_items_of_a_list_apart_by_type_and_value() -> None:
    class Plain:
        def __init__(self, value: object) -> None:
            self.value = value

    def items() -> list[Any]:
        nested = [(1,), [{"n": 1}], {"n": {"n": [1]}}, Inner(seen=1), Inner(seen=2)]
        plain = [None, 1, True, 1.0, -0.0, 0.0, float("nan"), "1", b"1", Level.LOW]
        return [*nested, *plain, {1}, date(2020, 1, 1), Plain(1), Plain(2)]

    result = merged(State(), *[lambda c: c.unique.extend(items())] * 2).unique
    assert exactly_equal(result, items())


def test_union_keeps_the_type_of_a_set() -> None:
    base = State.model_construct(tags=frozenset("ab"))
    works = [put(tags=frozenset("a")), put(tags=frozenset("abc"))]
    assert exactly_equal(merged(base, *works).tags, frozenset("ac"))
    new = State.model_construct(tags=None)
    assert merged(new, put(tags={"a"}), put(tags={"b"})).tags == {"a", "b"}


def test_max_compares_whole_values() -> None:
    class Longest(BaseModel):
        steps: Annotated[list[int], Merge.max] = [1]

    works: list[Work] = [lambda c: c.steps.append(2), lambda c: c.steps.append(3)]
    assert merged(Longest(), *works).steps == [1, 3]


def test_a_deletion_agrees_with_a_deletion_and_with_nothing_else_whatever_is_declared() -> None:
    base = State(words={"k": 1}, average=1.0)

    def gone(context: State) -> None:
        context.words.clear()
        del context.average

    result = merged(base, gone, gone)
    assert (result.words, "average" in vars(result)) == ({}, False)
    said = clash(base, gone, lambda c: (c.words.update(k=2), put(average=2.0)(c)))
    assert "words.k: branch 'a' deleted it, branch 'b' set it to 2 (Merge.add combines no" in said
    assert "average: branch 'a' deleted it, branch 'b' set it to 2.0 (Merge(<function mean" in said


def test_what_a_users_number_raises_comes_back() -> None:
    class Stubborn:
        def __radd__(self, other: object) -> None:
            raise KeyboardInterrupt

        __sub__ = __add__ = __radd__

    branches = updates_of(State(), [put(hits=Stubborn())] * 2)
    raised = CONTEXTS.merge_branches(State(), branches, CONTEXT_UPDATE)
    assert isinstance(raised, Raised)
    assert isinstance(raised.error, KeyboardInterrupt)


REFUSED = [
    ("hits", (True, True)),
    ("hits", (1, None)),
    ("hits", ("a", "b")),
    ("best", (1.0, None)),
    ("log", (1, 2)),
    ("tags", ({1}, [1])),
    ("pair", ((), [1])),
    ("words", ({}, None)),
    ("tags", ("a", "b")),
]


@pytest.mark.parametrize(("field", "values"), REFUSED)
def test_what_a_rule_cannot_combine_is_a_conflict_under_every_strategy(
    field: str, values: tuple[Any, Any]
) -> None:
    base = State(pair=(0,), words={"k": 1}, best=9.0)
    works = [put(**{field: value}) for value in values]
    for strategy in (CONTEXT_UPDATE, OVERWRITE):
        said = clash(base, *works, strategy=strategy)
        assert f"{field}: branch 'a'" in said
        assert "(Merge." in said


def test_a_rule_of_the_users_gets_copies_and_is_validated() -> None:
    given: list[Any] = []

    def combine(base: list[int], values: list[list[int]]) -> Any:
        given.append((base, values))
        base.append(99)
        return [str(len(values)), *values[-1]]

    class Ruled(BaseModel):
        items: Annotated[list[int], Merge(combine)] = [0]
        table: Annotated[dict[str, int], Merge(lambda base, values: values[0])] = {"k": 1}

    base = Ruled()
    works: list[Work] = [lambda c: c.items.append(1), lambda c: c.items.clear()]
    result = merged(base, *works)
    assert given == [([0, 99], [[0, 1], []])]
    assert (result.items, base.items) == ([2], [0])
    result = merged(base, lambda c: c.table.pop("k"), lambda c: c.table.update(k=2))
    assert result.table == {}
    too_much = put(average=1000.0)
    with pytest.raises(ContextUpdateError, match=r"State\.average: .*less than or equal to 100"):
        merged(State(), too_much, too_much)


def test_a_rule_is_not_asked_about_what_one_branch_changed() -> None:
    assert merged(State(), put(average=1000.0), put(tag="x")).average == 1000.0


def test_a_models_validators_cannot_change_other_fields_by_a_rule() -> None:
    class Checked(BaseModel):
        value: Annotated[int, Merge(lambda base, values: sum(values))] = 0
        log: list[int] = []

        @model_validator(mode="after")
        def _note(self) -> Checked:
            self.log.append(self.value)
            return self

    result = merged(Checked(), put(value=1), put(value=2))
    assert (result.value, result.log) == (3, [0])


def test_generic_contexts_keep_their_declarations() -> None:
    class Box(BaseModel, Generic[T]):
        value: T
        count: Annotated[int, Merge.add] = 0

    base = Box[date](value=date(2020, 1, 1))
    assert merged(base, put(count=1), put(count=1, value=date(2021, 1, 1))).count == 2
    assert "datetime.date(2021" in clash(base, *(put(value=date(y, 1, 1)) for y in (2021, 2022)))


def test_merge_takes_a_function() -> None:
    with pytest.raises(ConfigurationError, match=r"Merge takes a function .*found 'add'"):
        Merge("add")  # type: ignore[arg-type]
    assert (repr(Merge.add), repr(Merge(max))) == ("Merge.add", "Merge(<built-in function max>)")
