"""Cached steps: what is reused, what a hit applies, and what is never kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.cache_manager import MemoryCache
from flujo_nb.engine.decorators import step
from flujo_nb.engine.hooks import FrameStarted
from flujo_nb.engine.runner import Flujo
from flujo_nb.engine.step_kinds import CacheStep
from flujo_nb.engine.steps import Node, Step
from tests.engine.caching import HIT, Client, cached, metadata_of, runs
from tests.engine.fakes import Counts, Log, Wait, names_in, outcome_of, runner_of
from tests.engine.pauses import Calls


def test_the_second_run_on_the_same_input_takes_what_the_first_one_gave(wait: Wait) -> None:
    calls = Calls()
    runner = Flujo(Step.cached(calls.step("draft")))
    first, second, other = runs(wait, runner, "a", "a", "b")
    assert (first.output, second.output, other.output) == ("a draft", "a draft", "b draft")
    assert calls == {"draft": 2}
    assert [metadata_of(one) for one in (first, second, other)] == [{}, HIT, {}]


def test_a_cached_step_stands_under_its_name_and_what_it_runs_below(wait: Wait) -> None:
    paths: list[str] = []

    def hear(event: FrameStarted) -> None:
        paths.append(str(event.path))

    runner = Flujo(Step.cached(Calls().step("draft")), hooks=[hear])
    first, second = runs(wait, runner, "a", "a")
    assert paths == ["draft", "draft/cached", "draft"]
    assert names_in(first.step_history) == names_in(second.step_history) == ["draft"]
    assert names_in(first.step_history[0].step_history) == ["draft"]
    assert list(second.step_history[0].step_history) == []


@pytest.mark.parametrize(
    "inputs",
    [
        (1, True, 1.0, "1", b"1"),
        (0.0, -0.0, 0, False, None),
        ([1, 2], [2, 1], (1, 2), {1, 2}),
        ({"a": 1}, {"a": True}, {"a": "1"}, [("a", 1)]),
        (Counts(total=1), Log(items=[1]), {"total": 1}),
    ],
)
def test_inputs_that_differ_in_type_or_content_do_not_meet(
    wait: Wait, inputs: Sequence[object]
) -> None:
    calls = Calls()
    runs(wait, Flujo(Step.cached(calls.step("see", repr))), *inputs, *inputs)
    assert calls == {"see": len(inputs)}


def test_nan_is_found_again_and_the_order_of_a_dict_does_not_count(wait: Wait) -> None:
    calls = Calls()
    inputs = (float("nan"), float("nan"), {"a": 1, "b": 2}, {"b": 2, "a": 1})
    runs(wait, Flujo(Step.cached(calls.step("see", repr))), *inputs)
    assert calls == {"see": 2}


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("data", "because"),
    [
        ({"rows": [1, Client()]}, "input['rows'][1]: Client"),
        (print, "input: builtin_function_or_method"),
        (Log(items=[threading.Lock()]), "input.items[0]: lock"),
        (cycle(), "input[0]: a value that holds itself"),
    ],
)
def test_what_cannot_be_keyed_runs_each_time_and_says_so(
    wait: Wait, data: object, because: str
) -> None:
    calls = Calls()
    found = runs(wait, Flujo(Step.cached(calls.step("see", id))), data, data)
    assert calls == {"see": 2}
    assert [metadata_of(one) for one in found] == [
        {"cached": False, "not_cached_because": because}
    ] * 2


def test_an_output_that_cannot_be_copied_is_not_kept_and_says_so(wait: Wait) -> None:
    runner = Flujo(cached(lambda data: threading.Lock(), name="lock"))
    first, second = runs(wait, runner, 1, 1)
    assert first.output is not second.output
    assert metadata_of(first)["cached"] is False
    assert "cannot be copied" in str(metadata_of(first)["not_cached_because"])


def test_what_a_caller_does_to_an_output_does_not_reach_the_cache(wait: Wait) -> None:
    runner = Flujo(cached(lambda data: {"rows": [data]}, name="rows"))
    for _ in range(3):
        (result,) = runs(wait, runner, 1)
        assert result.output == {"rows": [1]}
        result.output["rows"].append("spoiled")


def test_a_value_that_breaks_when_it_is_read_runs_and_says_so(wait: Wait) -> None:
    data = Row(1)
    del data.number
    (found,) = runs(wait, Flujo(cached(lambda data: 1, name="one")), data)
    assert found.output == 1
    assert str(metadata_of(found)["not_cached_because"]).startswith("AttributeError: ")


@dataclass
class Row:
    number: int


# The context.


@step
def count(data: int, context: Counts) -> int:
    context.total += data
    context.names.append(f"{data}")
    return data


def totals(found: Sequence[Any]) -> list[Any]:
    return [(one.final_pipeline_context.total, one.final_pipeline_context.names) for one in found]


def test_a_hit_applies_to_the_present_context_what_the_step_did(wait: Wait) -> None:
    found = runs(wait, runner_of(Step.cached(count)), 2, 2, 2)
    assert [metadata_of(one) for one in found] == [{}, HIT, HIT]
    assert totals(found) == [(2, ["2"])] * 3


def test_an_update_is_replayed_as_it_was_recorded(wait: Wait) -> None:
    """A counter that is no declared input is set to what it was; a list grows again."""
    both = Step.cached(count)
    assert totals(runs(wait, runner_of(both >> both), 2)) == [(2, ["2", "2"])]


def with_totals(wait: Wait, node: Node, *totals: Any) -> list[Any]:
    """Runs on one input, of contexts with these totals."""
    return [
        runs(wait, Flujo(node, context_model=Free, initial_context_data={"total": one}), "x")[0]
        for one in totals
    ]


class Free(BaseModel):
    total: Any = 0
    other: Any = 0


def test_declared_fields_of_the_context_are_input_too(wait: Wait) -> None:
    async def use(data: object, context: Free) -> object:
        return context.total

    use_step = Step.from_callable(use)
    aware = Step.cached(use_step, MemoryCache(), context_keys=["total"])
    found = with_totals(wait, aware, 1, 1, True, [1], [1])
    assert [repr(one.output) for one in found] == ["1", "1", "True", "[1]", "[1]"]
    assert [metadata_of(one) for one in found] == [{}, HIT, {}, {}, HIT]
    blind = Step.cached(use_step, MemoryCache())
    assert [one.output for one in with_totals(wait, blind, 1, 2)] == [1, 1]


@pytest.mark.parametrize(
    ("keys", "total", "because"),
    [
        (["total"], Client(), "context.total: Client"),
        (["totl"], 1, "context.totl: there is no such field"),
    ],
)
def test_a_field_that_cannot_be_keyed_is_named(
    wait: Wait, keys: list[str], total: object, because: str
) -> None:
    (found,) = with_totals(wait, cached(lambda data: 1, name="one", context_keys=keys), total)
    assert found.output == 1
    assert metadata_of(found)["not_cached_because"] == because


def test_an_update_that_does_not_fit_another_context_is_made_anew(wait: Wait) -> None:
    calls = Calls()

    def drop(data: str, context: Counts) -> None:
        calls["drop"] += 1
        context.by_kind.pop(data, None)

    node = Step.cached(Step.from_callable(drop), MemoryCache())
    full = {"by_kind": {"a": 1}}
    for data, expected in [(full, 1), (full, 1), ({}, 2)]:
        (found,) = runs(wait, runner_of(node, initial_context_data=data), "a")
        assert found.final_pipeline_context.by_kind == {}
        assert calls["drop"] == expected
    assert "does not fit" in str(metadata_of(found)["not_cached_because"])


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (lambda data: [data], {"sink_to": "names"}),
        (lambda data: {"names": [data]}, {"updates_context": True}),
    ],
)
def test_where_an_output_goes_in_the_context_a_hit_puts_it_too(
    wait: Wait, function: Callable[..., Any], options: Any
) -> None:
    plain = Step.from_callable(function, name="names")
    inner = Step.from_callable(function, name="names", **options)
    for node in (Step.cached(inner), CacheStep(name="names", wrapped_step=plain, **options)):
        found = runs(wait, runner_of(node), "a", "a")
        assert [one.final_pipeline_context.names for one in found] == [["a"]] * 2
        assert metadata_of(found[1]) == HIT


def test_a_sink_that_the_context_does_not_have_fails_a_hit_as_it_fails_a_miss(wait: Wait) -> None:
    plain = Step.from_callable(lambda data: data, name="same")
    node = CacheStep(name="same", wrapped_step=plain, sink_to="nowhere")
    for found in runs(wait, runner_of(node), 1, 1):
        assert not found.success
        assert "nowhere" in found.step_history[0].feedback


def test_what_placeholders_name_is_input_too(wait: Wait) -> None:
    calls = Calls()
    draft = calls.step("draft", input="{{ data }} on {{ context.total }}, {{ steps.first }}")
    node = Step.from_callable(lambda data: len(data), name="first") >> Step.cached(
        draft, MemoryCache()
    )
    for total, data in [(1, "ab"), (1, "cd"), (2, "ab"), (1, "abc")]:
        runner = runner_of(node, initial_context_data={"total": total})
        (found,) = runs(wait, runner, data)
    assert found.output == "3 on 1, 3 draft"
    assert calls == {"draft": 3}


def test_a_placeholder_that_leads_nowhere_fails_the_step_and_not_the_cache(wait: Wait) -> None:
    node = Step.cached(Calls().step("draft", input="{{ context.nothing }}"))
    (found,) = runs(wait, runner_of(node), "a")
    assert not found.success
    assert "has no 'nothing'" in found.step_history[0].feedback
    assert "has no 'nothing'" in str(metadata_of(found)["not_cached_because"])


def test_the_context_of_the_frame_is_left_alone(wait: Wait) -> None:
    context = Counts(total=1, names=["base"])
    before = context.model_dump_json()
    outcome = wait(outcome_of(Step.cached(count), 2, context=context))
    assert context.model_dump_json() == before
    assert [str(change.path[0]) for change in outcome.update.changes] == ["total", "names"]
