"""Contexts: isolation, differences, merges, and attempts that failed."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.context_view import plain_of
from flujo_nb.engine.decorators import step
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Failure, Success
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.values import cloned, exactly_equal
from tests.properties.states import State, fingerprint, pairs, spoil, states, values

CONTEXTS = ContextUpdateManager()

names = st.sampled_from(["one", "two", "items", "table"])
assignments = st.lists(
    st.tuples(st.just("one"), values)
    | st.tuples(st.just("items"), st.lists(values, max_size=3))
    | st.tuples(st.just("table"), st.dictionaries(st.text("ab", max_size=1), values, max_size=2)),
    max_size=3,
)
growths = st.lists(values, max_size=2)


def work_on(context: Any, assigned: list[tuple[str, Any]], grown: list[Any]) -> None:
    """What a step might do: assign fields, append in place, set a key in place."""
    for name, value in assigned:
        setattr(context, name, cloned(value))
    for value in grown:
        context.items.append(cloned(value))
        context.table["grown"] = cloned(value)


@given(values, values)
def test_exactly_equal_tells_values_apart_as_their_texts_do(left: object, right: object) -> None:
    assert exactly_equal(left, right) == (fingerprint(left) == fingerprint(right))
    assert exactly_equal(left, cloned(left))


@given(values)
def test_a_clone_shares_nothing(value: object) -> None:
    before = fingerprint(value)
    spoil(cloned(value))
    assert fingerprint(value) == before


@given(states, st.sets(names))
def test_a_child_never_shares_its_parents_context(base: State, read_first: set[str]) -> None:
    before = fingerprint(base)
    context = CONTEXTS.isolate(base)
    for name in read_first:
        getattr(context, name)
    spoil(context)
    assert fingerprint(base) == before


@given(states, assignments, growths)
def test_an_isolated_copy_is_equal_and_behaves_as_a_deep_copy(
    base: State, assigned: list[tuple[str, Any]], grown: list[Any]
) -> None:
    expected = base.model_copy(deep=True)
    context = CONTEXTS.isolate(base)
    assert fingerprint(plain_of(context)) == fingerprint(expected)
    context = CONTEXTS.isolate(base)
    work_on(expected, assigned, grown)
    work_on(context, assigned, grown)
    assert fingerprint(plain_of(context)) == fingerprint(expected)


@given(pairs)
def test_merging_a_difference_gives_what_was_changed(pair: tuple[State, State]) -> None:
    base, changed = pair
    before = fingerprint(base)
    merged = CONTEXTS.merge(base, CONTEXTS.diff(base, changed))
    assert fingerprint(merged) == fingerprint(changed)
    assert exactly_equal(merged, changed)
    assert fingerprint(base) == before


@given(states, assignments, growths)
def test_merging_what_a_step_did_to_its_copy_gives_its_copy(
    base: State, assigned: list[tuple[str, Any]], grown: list[Any]
) -> None:
    context = CONTEXTS.isolate(base)
    work_on(context, assigned, grown)
    merged = CONTEXTS.merge(base, CONTEXTS.diff(base, context))
    assert fingerprint(merged) == fingerprint(plain_of(context))


@given(states)
def test_a_copy_that_nothing_was_done_to_makes_no_update(base: State) -> None:
    context = CONTEXTS.isolate(base)
    assert CONTEXTS.diff(base, context) is None
    context.model_dump(warnings=False)
    assert CONTEXTS.diff(base, context) is None


@given(pairs)
def test_an_update_shares_nothing_with_what_it_was_taken_from(pair: tuple[State, State]) -> None:
    base, changed = pair
    expected = fingerprint(changed)
    update = CONTEXTS.diff(base, changed)
    spoil(changed)
    merged = CONTEXTS.merge(base, update)
    assert fingerprint(merged) == expected
    spoil(CONTEXTS.isolate(merged))
    assert fingerprint(merged) == expected
    assert fingerprint(CONTEXTS.merge(base, update)) == expected


@given(states, st.lists(st.tuples(assignments, growths), min_size=1, max_size=3), st.booleans())
def test_an_attempt_that_failed_changed_nothing(
    base: State, attempts: list[tuple[list[tuple[str, Any]], list[Any]]], succeeds: bool
) -> None:
    @step(config=StepConfig(max_retries=len(attempts) - 1))
    def work(data: object, context: State, frame: Any) -> None:
        work_on(context, *attempts[frame.attempt - 1])
        if frame.attempt < len(attempts) or not succeeds:
            raise ValueError

    before = fingerprint(base)
    frame = make_execution_frame(work, context=base)
    outcome = asyncio.run(ExecutorCore().run_root(frame))
    assert fingerprint(base) == before
    if not succeeds:
        assert isinstance(outcome, Failure)
        return
    assert isinstance(outcome, Success)
    expected = base.model_copy(deep=True)
    work_on(expected, *attempts[-1])
    assert fingerprint(CONTEXTS.merge(base, outcome.update)) == fingerprint(expected)


@given(states, st.lists(st.tuples(assignments, growths), max_size=4))
def test_the_net_update_of_a_sequence_is_the_sum_of_its_steps(
    base: State, works: list[tuple[list[tuple[str, Any]], list[Any]]]
) -> None:
    last = base
    for assigned, grown in works:
        context = CONTEXTS.isolate(last)
        work_on(context, assigned, grown)
        last = CONTEXTS.merge(last, CONTEXTS.diff(last, context))
    merged = CONTEXTS.merge(base, CONTEXTS.net(base, last))
    assert fingerprint(merged) == fingerprint(last)
