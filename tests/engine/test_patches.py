"""What a fork changes at its frame. Whole forks are in ``test_durable_runner.py``."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from flujo_nb.engine.errors import ResumeError
from flujo_nb.engine.patches import checked_patch, merged, patched
from flujo_nb.engine.store.memory import MemoryStore
from tests.engine.durable import KEY, durable
from tests.engine.fakes import Counts, Wait
from tests.engine.pauses import Calls


# The examples of RFC 7396, appendix A.
@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_patch_is_a_json_merge_patch(value: Any, patch: Any, result: Any) -> None:
    assert merged(value, patch) == result


def test_what_is_patched_is_not_changed() -> None:
    value: Any = {"a": {"b": 1}}
    merged(value, {"a": {"b": 2}})
    assert value == {"a": {"b": 1}}


class Invoice(BaseModel):
    total: int
    names: list[str] = []


def test_a_model_is_patched_as_a_model() -> None:
    assert patched(Invoice(total=1, names=["a"]), {"total": 2}) == Invoice(total=2, names=["a"])
    with pytest.raises(ValidationError, match="total"):
        patched(Invoice(total=1), {"total": "many"})
    with pytest.raises(ValidationError, match="total"):
        patched(Invoice(total=1), {"total": None})


@pytest.mark.parametrize(
    ("value", "patch", "result"),
    [(1, 2, 2), ("a", "b", "b"), ([1], [2, 3], [2, 3]), ({"a": 1}, {"b": 2}, {"a": 1, "b": 2})],
)
def test_a_plain_value_keeps_its_type(value: Any, patch: Any, result: Any) -> None:
    assert patched(value, patch) == result
    with pytest.raises(ValidationError):
        patched(value, "text" if not isinstance(value, str) else [1])


def test_nothing_becomes_whatever_the_patch_says() -> None:
    assert patched(None, {"a": 1}) == {"a": 1}
    assert patched(None, 3) == 3


@pytest.mark.parametrize("patch", [{}, {"data": 1, "output": 2}, {"input": 1}], ids=str)
def test_a_patch_names_one_part(patch: Any) -> None:
    with pytest.raises(ResumeError, match=r'\{"data": …\}'):
        checked_patch(patch)


@pytest.mark.parametrize("part", ["data", "context", "output"])
def test_each_part_can_be_named(part: str) -> None:
    assert checked_patch({part: 1}) == {part: 1}


# In runs.


async def sums(data: Any, context: Counts) -> int:
    context.total += 1
    context.names.append(str(data))
    return context.total


def pipeline(calls: Calls) -> Any:
    return calls.step("a") >> calls.step("b", sums) >> calls.step("c")


def forked(wait: Wait, at: str, patch: Any, **options: Any) -> tuple[Any, Calls]:
    """The result of a fork of a run of three steps, and what was called for it."""

    async def main() -> Any:
        runner = durable(pipeline(calls), MemoryStore())
        await runner.run_async("x", run_id="r")
        calls.clear()
        return await runner.fork("r", at, patch=patch, **options)

    calls = Calls()
    return wait(main()), calls


def test_an_input_is_patched_for_its_frame_only(wait: Wait) -> None:
    result, calls = forked(wait, "b", {"data": "y"})
    assert result.final_pipeline_context == Counts(total=1, names=["y"])
    assert result.output == "1 c"
    assert calls == {"b": 1, "c": 1}


def test_an_output_stands_in_for_the_work(wait: Wait) -> None:
    result, calls = forked(wait, "b", {"output": 7})
    assert result.output == "7 c"
    assert calls == {"c": 1}
    assert result.final_pipeline_context == Counts(total=1, names=["x a"])


def test_a_patched_context_is_that_of_all_that_follows(wait: Wait) -> None:
    result, calls = forked(wait, "b", {"context": {"total": 10, "by_kind": {"k": 1}}})
    assert result.output == "11 c"
    expected = Counts(total=11, names=["x a"], by_kind={"k": 1})
    assert result.final_pipeline_context == expected
    assert calls == {"b": 1, "c": 1}


@pytest.mark.parametrize(
    "patch", [{"data": [1]}, {"context": {"total": "many"}}, {"output": "seven"}], ids=str
)
def test_a_patch_that_does_not_fit_runs_nothing(wait: Wait, patch: Any) -> None:
    async def main() -> None:
        store = MemoryStore()
        runner = durable(pipeline(calls), store)
        await runner.run_async("x", run_id="r")
        calls.clear()
        with pytest.raises(ResumeError, match=r"does not fit .* \(at b\)"):
            await runner.fork("r", "b", run_id="f", patch=patch)
        assert store.run("f").owner is None

    calls = Calls()
    wait(main())
    assert calls == {}


def test_a_patch_holds_when_the_fork_is_resumed(wait: Wait) -> None:
    async def main() -> Any:
        store = MemoryStore()
        await durable(pipeline(calls), store).run_async("x", run_id="r")
        runner = durable(pipeline(calls), store)
        await runner.fork("r", "b", run_id="f", patch={"data": "y"})
        again = durable(pipeline(calls), store)
        result = await again.run_async(run_id="f")
        assert result.restored
        return result

    calls = Calls()
    assert wait(main()).final_pipeline_context.names == ["y"]


@pytest.mark.parametrize("patch", [{"nothing": 1}, {"data": KEY}])
def test_a_patch_that_is_refused_makes_no_run(wait: Wait, patch: Any) -> None:
    async def main() -> list[str]:
        store = MemoryStore()
        runner = durable(pipeline(calls), store)
        await runner.run_async("x", run_id="r")
        with pytest.raises(Exception, match="patch"):
            await runner.fork("r", "b", run_id="f", patch=patch)
        return [run.run_id for run in store.runs()]

    calls = Calls()
    assert wait(main()) == ["r"]
