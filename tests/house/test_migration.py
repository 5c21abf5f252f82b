"""The exit criteria of the migration to frames, each read off the code that is there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest

import flujo_nb
from flujo_nb.engine import dsl, step_kinds
from flujo_nb.engine.frame import AnyFrame, ExecutionFrame
from flujo_nb.engine.legacy import LegacyPolicyAdapter
from flujo_nb.engine.policies.built_in import built_in_policies
from flujo_nb.engine.policy import StepPolicy
from flujo_nb.engine.steps import AgentStep, Pipeline, Step
from tests.house.tree import ROOT, modules, place, syntax

ENGINE = ROOT / "engine"
ADAPTER = ENGINE / "legacy.py"
KINDS: list[type] = [
    Step,
    AgentStep,
    Pipeline,
    step_kinds.LoopStep,
    step_kinds.MapStep,
    step_kinds.ParallelStep,
    step_kinds.ConditionalStep,
    step_kinds.DynamicParallelRouterStep,
    step_kinds.HumanInTheLoopStep,
    step_kinds.CacheStep,
    step_kinds.ImportStep,
]


def policies() -> list[StepPolicy]:
    """The built-in policies, each once."""
    table = built_in_policies().table()
    return list({id(policy): policy for policy in map(table.policy_of, KINDS)}.values())


def test_the_list_of_kinds_is_whole() -> None:
    """A kind that is added below `Step` stands in it, unless it is only a base of others."""
    declared = {
        value
        for module in (step_kinds, dsl)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Step) and not value.__subclasses__()
    }
    assert declared <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_registry_has_a_policy_of_its_own_for_every_kind(kind: type) -> None:
    policy = built_in_policies().table().policy_of(kind)
    assert policy.handles is kind


@pytest.mark.parametrize("policy", policies(), ids=lambda policy: type(policy).__name__)
def test_every_built_in_policy_takes_the_core_and_a_frame(policy: StepPolicy) -> None:
    execute = policy.execute
    assert inspect.iscoroutinefunction(execute)
    parameters = inspect.signature(execute, eval_str=False).parameters
    assert list(parameters) == ["core", "frame"]
    assert all(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters.values())
    hints = inspect.get_annotations(type(policy).execute, eval_str=False)
    assert hints["frame"] == "AnyFrame"
    assert getattr(AnyFrame, "__origin__", None) is ExecutionFrame
    assert not isinstance(policy, LegacyPolicyAdapter)


def calls_of(name: str, tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def test_nobody_asks_whether_something_is_a_frame_but_the_adapter() -> None:
    asking = [
        place(path, call)
        for path in modules("engine", "flujo_nb", "widgets")
        if path != ADAPTER
        for call in calls_of("isinstance", syntax(path))
        if any(
            isinstance(node, ast.Name) and node.id in ("ExecutionFrame", "AnyFrame")
            for node in ast.walk(call)
        )
    ]
    assert asking == []


LOOSE = {"data", "context", "resources", "limits", "stream", "on_chunk", "quota", "fallback_depth"}
FACTORY = {"make_execution_frame", "child_frame", "__init__"}


def test_nothing_but_the_factory_and_the_adapter_takes_the_loose_arguments() -> None:
    """A step, its data and its context travel in a frame: three of the old arguments are a path."""
    loose = [
        place(path, node)
        for path in modules("engine")
        if path != ADAPTER
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in FACTORY
        if len(LOOSE & {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}) > 2
    ]
    assert loose == []


SHIM = re.compile(r"compat|shim|deprecat|legacy", re.IGNORECASE)


def test_there_is_no_shim_but_the_adapter() -> None:
    """What is deprecated or kept for compatibility is one file, and who registers it names it."""
    shims = [
        place(path, node)
        for path in modules("engine")
        if path not in (ADAPTER, ENGINE / "policy_registry.py", ENGINE / "errors.py")
        for node in ast.walk(syntax(path))
        if (isinstance(node, ast.Name) and SHIM.search(node.id))
        or (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and SHIM.search(node.name)
        )
    ]
    assert shims == []


def test_the_engine_declares_no_context_variable_and_no_global_state() -> None:
    for path in modules("engine"):
        text = path.read_text(encoding="utf-8")
        assert "ContextVar" not in text, place(path)
        globals_ = [node for node in ast.walk(syntax(path)) if isinstance(node, ast.Global)]
        assert globals_ == [], place(path)


async def plus_one(number: int) -> int:
    return number + 1


def test_a_run_sets_no_context_variable() -> None:
    async def whole() -> list[ContextVar[object]]:
        from contextvars import copy_context  # noqa: PLC0415

        before = copy_context()
        step: flujo_nb.Step[int, int] = flujo_nb.Step.from_callable(plus_one, name="one")
        pipeline = step >> flujo_nb.Step.parallel("both", {"a": step, "b": step})
        limits = flujo_nb.UsageLimits(total_tokens_limit=10)
        result = await flujo_nb.Flujo(pipeline, usage_limits=limits).run_async(1)
        assert result.success
        after = copy_context()
        return [one for one in after if one not in before or after[one] is not before[one]]

    assert asyncio.run(whole()) == []


def test_the_core_names_no_kind_of_step() -> None:
    named = {kind.__name__ for kind in KINDS} | {type(policy).__name__ for policy in policies()}
    found = {
        node.id
        for node in ast.walk(syntax(ENGINE / "executor_core.py"))
        if isinstance(node, ast.Name)
    } | {
        alias.name
        for node in ast.walk(syntax(ENGINE / "executor_core.py"))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert found & named == set()


def test_policies_of_loose_arguments_in_tests_know_no_frame() -> None:
    """They stand for what users wrote before there were frames."""
    path = ROOT / "tests" / "slices" / "loose.py"
    words = re.findall(r"\w*[Ff]rame\w*", path.read_text(encoding="utf-8"))
    assert words == []


def test_every_leaf_reserves_by_the_quota_manager() -> None:
    """One place calls functions and agents, inside ``quota.attempt``; the adapter has another."""
    reserving = [
        path.name
        for path in modules("engine")
        for node in ast.walk(syntax(path))
        if isinstance(node, ast.With) and ".quota.attempt(" in ast.unparse(node.items[0])
    ]
    assert set(reserving) == {"attempt.py", "legacy_core.py"}


def paths_of_tests() -> list[Path]:
    return modules("tests/slices")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_a_suite_that_other_policies_pass_too(kind: type) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in paths_of_tests())
    assert re.search(rf"\b{kind.__name__}\b", text), f"no suite in tests/slices names {kind}"
