"""Merging branches: nothing lost, nothing invented, and completion order counts for nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from numbers import Number
from typing import Annotated, Any, TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from flujo_nb.engine.context import AppendValues, ContextUpdate, DeleteKey, SetValue
from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.errors import ContextMergeError
from flujo_nb.engine.merging import Merge, MergeStrategy
from flujo_nb.engine.user_code import Raised
from flujo_nb.engine.values import cloned, exactly_equal, state_of
from tests.properties.states import Inner, State, fingerprint, spoil, values

CONTEXTS = ContextUpdateManager()
CONFLICT = object()
MERGING = [one for one in MergeStrategy if one is not MergeStrategy.NO_MERGE]
Edit: TypeAlias = tuple[str, Any]
Path: TypeAlias = tuple[Any, ...]
Branches: TypeAlias = list[tuple[str, ContextUpdate | None]]


class Counted(Inner):
    seen: Annotated[int, Merge.add] = 0


class Ruled(State):
    """A context in which some fields declare how they merge."""

    hits: Annotated[int, Merge.add] = 0
    words: Annotated[dict[str, int], Merge.add] = Field(default_factory=dict)
    log: Annotated[list[Any], Merge.append] = Field(default_factory=list)
    tags: Annotated[set[str], Merge.union] = Field(default_factory=set)
    best: Annotated[int, Merge.max] = 0
    deep: dict[str, Counted] = Field(default_factory=lambda: {"x": Counted()})


letters = st.text("ab", min_size=1, max_size=1)
EDITS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any, Any], object]]] = {
    "one": (values, lambda c, value: setattr(c, "one", value)),
    "two": (st.sampled_from(["x", True, (1, "y"), 1]), lambda c, value: setattr(c, "two", value)),
    "item": (values, lambda c, value: c.items.append(value)),
    "fewer": (st.none(), lambda c, _: c.items.clear()),
    "key": (st.tuples(letters, values), lambda c, pair: c.table.update([pair])),
    "inside": (
        st.tuples(letters, letters, values),
        lambda c, it: (
            c.table.setdefault(it[0], {}).update([it[1:]])
            if isinstance(c.table.get(it[0], {}), dict)
            else None
        ),
    ),
    "gone": (letters, lambda c, key: c.table.pop(key, None)),
    "label": (values, lambda c, value: c.inner and setattr(c.inner, "label", value)),
    "inner": (st.none(), lambda c, _: setattr(c, "inner", None)),
    "hits": (st.integers(), lambda c, more: setattr(c, "hits", c.hits + more)),
    "word": (letters, lambda c, word: c.words.update({word: c.words.get(word, 0) + 1})),
    "log": (values, lambda c, value: c.log.append(value)),
    "tag": (letters, lambda c, tag: c.tags.symmetric_difference_update({tag})),
    "best": (st.integers(-9, 9), lambda c, value: setattr(c, "best", value)),
    "seen": (st.just("x"), lambda c, key: setattr(c.deep[key], "seen", c.deep[key].seen + 1)),
}
edits = st.sampled_from(sorted(EDITS)).flatmap(
    lambda name: st.tuples(st.just(name), EDITS[name][0])
)
bases = st.builds(
    Ruled,
    one=values,
    items=st.lists(values, max_size=2),
    table=st.dictionaries(letters, values | st.dictionaries(letters, values), max_size=2),
    inner=st.none() | st.builds(Inner, label=values),
    hits=st.integers(),
    words=st.dictionaries(letters, st.integers(), max_size=2),
    log=st.lists(values, max_size=2),
    tags=st.sets(letters),
    best=st.integers(-9, 9),
)
works = st.lists(st.lists(edits, min_size=1, max_size=5), min_size=2, max_size=4)


def update_of(base: Ruled, done: Sequence[Edit]) -> ContextUpdate | None:
    context = CONTEXTS.isolate(base)
    for name, value in done:
        EDITS[name][1](context, cloned(value))
    return CONTEXTS.diff(base, context)


def branches_of(base: Ruled, all_done: Sequence[Sequence[Edit]]) -> Branches:
    return [(name, update_of(base, done)) for name, done in zip("abcd", all_done, strict=False)]


def merge(base: Ruled, branches: Branches, strategy: MergeStrategy) -> ContextUpdate | str | None:
    """The update, or what the error says."""
    try:
        update = CONTEXTS.merge_branches(base, branches, strategy)
    except ContextMergeError as error:
        return str(error)
    assert not isinstance(update, Raised)
    return update


def changes_of(update: ContextUpdate | None) -> dict[Path, Any]:
    return {} if update is None else {change.path: change for change in update.changes}


def text_of(change: Any) -> object:
    """A text that tells changes apart as `exactly_equal` tells values; their ``==`` does not."""
    parts = getattr(change, "value", None), *getattr(change, "values", ())
    return type(change).__name__, change.path, fingerprint(parts)


def told(update: ContextUpdate | str | None) -> object:
    if not isinstance(update, ContextUpdate):
        return update
    return [text_of(change) for change in update.changes]


def named_in(said: str) -> set[str]:
    """The paths that an error names."""
    return {line[2:].partition(":")[0] for line in said.splitlines() if line.startswith("- ")}


def dotted(path: Path) -> str:
    return ".".join(map(str, path))


def meets(path: Path, other: Path) -> bool:
    """Whether one path is the other, or stands inside of it."""
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]


def shared_paths(branches: Branches) -> set[Path]:
    """The paths of a branch that meet a path of another."""
    pairs = combinations([changes_of(update) for _, update in branches], 2)
    return {
        path for a, b in pairs for one in a for two in b if meets(one, two) for path in (one, two)
    }


@settings(max_examples=200)
@given(bases, works, st.sampled_from(MERGING))
def test_what_one_branch_alone_changed_is_neither_lost_nor_named(
    base: Ruled, all_done: list[list[Edit]], strategy: MergeStrategy
) -> None:
    branches = branches_of(base, all_done)
    shared = shared_paths(branches)
    update = merge(base, branches, strategy)
    if isinstance(update, str):
        texts = tuple(map(dotted, shared))
        assert named_in(update)
        assert [name for name in named_in(update) if not name.startswith(texts)] == []
        return
    result = changes_of(update)
    alone = {path: one for _, theirs in branches for path, one in changes_of(theirs).items()}
    assert set(result) <= set(alone)
    for path in set(alone) - shared:
        assert text_of(result[path]) == text_of(alone[path])


RULES: dict[str, Callable[[Any, list[Any]], Any]] = {
    "hits": lambda base, found: base + sum(one.value - base for one in found),
    "words": lambda base, found: (base or 0) + sum(one.value - (base or 0) for one in found),
    "deep": lambda base, found: base + sum(one.value - base for one in found),
    "best": lambda base, found: max(one.value for one in found),
    "log": lambda base, found: [*base, *(value for one in found for value in one.values)],
    "tags": lambda base, found: {
        tag
        for tag in ("a", "b")
        if any(tag in one.value for one in found)
        and (tag not in base or all(tag in one.value for one in found))
    },
}


def held(context: Any, path: Path) -> Any:
    """What a context has at a path; ``None`` where there is nothing."""
    for part in path:
        context = (context if isinstance(context, dict) else state_of(context)).get(part)
    return context


def expected(base: Ruled, path: Path, found: list[Any]) -> Any:
    """What several changes of one path come to by the rules; `CONFLICT` when they do not fit."""
    before, first = held(base, path), found[0]
    if path[0] in RULES:
        return RULES[path[0]](before, found)
    if all(isinstance(one, AppendValues) for one in found):
        return [*before, *(value for one in found for value in one.values)]
    if not all(text_of(first) == text_of(one) for one in found):
        return CONFLICT
    if isinstance(first, DeleteKey):
        return None
    counted = isinstance(first.value, Number) and not isinstance(first.value, bool)
    return CONFLICT if counted else first.value


def are_tables(found: list[Any]) -> bool:
    return all(isinstance(one, SetValue) and type(one.value) is dict for one in found)


@settings(max_examples=200)
@given(bases, works)
def test_what_two_branches_changed_is_merged_by_its_rule_or_named(
    base: Ruled, all_done: list[list[Edit]]
) -> None:
    branches = branches_of(base, all_done)
    changes = [changes_of(update) for _, update in branches]
    conflicts: set[str] = set()
    outcomes: dict[Path, Any] = {}
    new_tables: list[str] = []
    for path in shared_paths(branches):
        found = [theirs[path] for theirs in changes if path in theirs]
        inside = [one for theirs in changes for one in theirs if meets(path, one) and one != path]
        if any(len(one) < len(path) for one in inside):
            continue  # it is a part of what another branch changed as a whole
        if inside:
            conflicts.add(dotted(path))
        elif are_tables(found):
            new_tables.append(dotted(path) + ".")
        else:
            outcomes[path] = expected(base, path, found)
    conflicts |= {dotted(path) for path, value in outcomes.items() if value is CONFLICT}
    update = merge(base, branches, MergeStrategy.CONTEXT_UPDATE)
    if isinstance(update, str):
        keys = {name for name in named_in(update) if name.startswith(tuple(new_tables))}
        assert conflicts <= named_in(update) <= conflicts | keys
        return
    assert conflicts == set()
    result = CONTEXTS.merge(base, update)
    for path, value in outcomes.items():
        assert exactly_equal(held(result, path), value)


@given(bases, works, st.sampled_from(MERGING), st.randoms(use_true_random=False))
def test_the_order_in_which_branches_finish_makes_no_difference(
    base: Ruled, all_done: list[list[Edit]], strategy: MergeStrategy, random: Any
) -> None:
    branches = branches_of(base, all_done)
    finishing = random.sample(list(enumerate(branches)), len(branches))
    finished = dict(finishing)
    in_order = [finished[index] for index in range(len(branches))]
    assert told(merge(base, in_order, strategy)) == told(merge(base, branches, strategy))


@given(bases, st.lists(edits, max_size=5), st.sampled_from(MERGING), st.integers(0, 2))
def test_one_branch_that_changed_something_merges_to_its_own_context(
    base: Ruled, done: list[Edit], strategy: MergeStrategy, place: int
) -> None:
    own = update_of(base, done)
    branches: Branches = [(str(i), own if i == place else None) for i in range(3)]
    update = merge(base, branches, strategy)
    assert not isinstance(update, str)
    assert fingerprint(CONTEXTS.merge(base, update)) == fingerprint(CONTEXTS.merge(base, own))


@given(bases, works, st.sampled_from(MergeStrategy))
def test_merging_writes_to_nothing_and_shares_nothing(
    base: Ruled, all_done: list[list[Edit]], strategy: MergeStrategy
) -> None:
    branches = branches_of(base, all_done)
    before = fingerprint(base)
    theirs = [fingerprint(CONTEXTS.merge(base, update)) for _, update in branches]
    update = merge(base, branches, strategy)
    if strategy is MergeStrategy.NO_MERGE:
        assert update is None
    for change in update.changes if isinstance(update, ContextUpdate) else ():
        for value in (getattr(change, "value", None), *getattr(change, "values", ())):
            spoil(value)
    assert fingerprint(base) == before
    assert [fingerprint(CONTEXTS.merge(base, update)) for _, update in branches] == theirs


@given(bases, st.lists(edits, max_size=5), st.integers(2, 4))
def test_equal_changes_of_what_is_no_number_are_made_once(
    base: Ruled, done: list[Edit], count: int
) -> None:
    update = update_of(base, [one for one in done if one[0] in ("two", "fewer", "gone", "inner")])
    changes = changes_of(update).values()
    once = tuple(one for one in changes if not isinstance(getattr(one, "value", None), int))
    update = ContextUpdate(once) if once else None
    merged = merge(base, [(str(i), update) for i in range(count)], MergeStrategy.CONTEXT_UPDATE)
    assert told(merged) == told(update)


@given(bases, works)
def test_merging_some_branches_first_makes_no_difference(
    base: Ruled, all_done: list[list[Edit]]
) -> None:
    branches = branches_of(base, all_done)
    whole = merge(base, branches, MergeStrategy.CONTEXT_UPDATE)
    inner = merge(base, branches[:2], MergeStrategy.CONTEXT_UPDATE)
    if isinstance(whole, str) or isinstance(inner, str):
        return
    nested = merge(base, [("inner", inner), *branches[2:]], MergeStrategy.CONTEXT_UPDATE)
    assert not isinstance(nested, str)
    left, right = CONTEXTS.merge(base, nested), CONTEXTS.merge(base, whole)
    assert fingerprint(left) == fingerprint(right)
