"""Frames: made in one place, never changed, each with a path."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from flujo_nb.engine.errors import ConfigurationError, ContextTypeError, DuplicatePath
from flujo_nb.engine.frame import (
    ExecutionFrame,
    child_frame,
    make_execution_frame,
    planned_child,
    retry_frame,
)
from flujo_nb.engine.path import FramePath, branch_segment, step_segment
from flujo_nb.engine.steps import Pipeline
from flujo_nb.engine.usage import Quota, UsageLimits
from tests.engine.fakes import Counts, echo, echo_async

ROOT = Path(__file__).resolve().parents[2]


def test_a_root_frame_carries_what_it_was_given() -> None:
    chunks: list[object] = []
    context = Counts()
    frame = make_execution_frame(
        echo,
        5,
        context=context,
        resources="db",
        limits=UsageLimits(total_tokens_limit=3),
        stream=True,
        on_chunk=chunks.append,
        run_id="r1",
        extensions={"trace_id": "t"},
        path=FramePath.parse("c[7]"),
    )
    assert (frame.step, frame.data, frame.resources, frame.run_id) == (echo, 5, "db", "r1")
    assert frame.context is context
    assert frame.limits.total_tokens_limit == 3
    assert (frame.stream, frame.attempt, frame.parent) == (True, 1, None)
    assert frame.on_chunk == chunks.append
    assert frame.extensions["trace_id"] == "t"
    assert str(frame.path) == "c[7]/echo"


def test_without_limits_the_budget_grants_everything() -> None:
    frame = make_execution_frame(echo)
    assert frame.limits == UsageLimits()
    assert isinstance(frame.quota, Quota)


def test_a_run_id_is_made_once_and_differs_between_runs() -> None:
    frame = make_execution_frame(echo)
    assert frame.run_id == frame.run_id
    assert frame.run_id != make_execution_frame(echo).run_id


@pytest.mark.parametrize("context", [{}, "text", 5, Counts])
def test_a_context_must_be_a_model(context: object) -> None:
    with pytest.raises(ContextTypeError, match="instance of a pydantic model; found"):
        make_execution_frame(echo, context=context)  # type: ignore[type-var]


def test_limits_and_a_budget_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        make_execution_frame(echo, limits=UsageLimits(), quota=Quota())


def test_frames_do_not_change() -> None:
    frame = make_execution_frame(echo)
    for made in (frame, child_frame(frame, echo_async, 1), retry_frame(frame, 2, "no")):
        assert type(made) is ExecutionFrame
        for field in fields(ExecutionFrame):
            with pytest.raises(FrozenInstanceError):
                setattr(made, field.name, None)
    with pytest.raises(TypeError):
        frame.extensions["new"] = 1  # type: ignore[index]


def test_what_a_run_was_given_as_extensions_cannot_be_changed_through_a_frame() -> None:
    given = {"trace_id": "t"}
    frame = make_execution_frame(echo, extensions=given)
    with pytest.raises(TypeError):
        frame.extensions["trace_id"] = "other"  # type: ignore[index]


def test_a_child_inherits_what_its_maker_does_not_set() -> None:
    parent = make_execution_frame(echo, 1, context=Counts(), resources="db")
    child = child_frame(parent, echo_async, 2)
    assert (child.run, child.quota, child.parent) == (parent.run, parent.quota, parent)
    assert child.context is parent.context
    assert (child.data, child.attempt, child.feedback) == (2, 1, None)
    own = Counts(total=9)
    assert child_frame(parent, echo_async, 2, context=own).context is own


def test_a_retry_is_the_same_frame_with_another_attempt() -> None:
    frame = make_execution_frame(echo, 1)
    again = retry_frame(frame, 2, "too short")
    assert (again.attempt, again.feedback) == (2, "too short")
    same = {"attempt", "feedback"}
    for field in fields(ExecutionFrame):
        if field.name not in same:
            assert getattr(again, field.name) is getattr(frame, field.name)


def test_children_of_one_name_are_numbered() -> None:
    parent = make_execution_frame(echo)
    paths = [str(child_frame(parent, echo_async, None).path) for _ in range(3)]
    assert paths == ["echo/echo_async", "echo/echo_async#1", "echo/echo_async#2"]


def test_indices_segments_and_pipelines_make_paths() -> None:
    parent = make_execution_frame(echo)
    item = child_frame(parent, Pipeline.from_step(echo), None, index=2)
    assert str(item.path) == "echo/[2]"
    branch = child_frame(
        parent, echo_async, None, segments=(branch_segment("b"), step_segment("x"))
    )
    assert str(branch.path) == "echo/:b/x"
    assert str(
        planned_child(item, item, (step_segment("a"),), None, echo, 1, None, 1, None).path
    ) == ("echo/[2]/a")


def test_two_children_cannot_have_one_path() -> None:
    parent = make_execution_frame(echo)
    child_frame(parent, echo, None, segments=(branch_segment("b"),))
    with pytest.raises(DuplicatePath, match="echo/:b"):
        child_frame(parent, echo, None, segments=(branch_segment("b"),))


FIELD_ADDED = """
import asyncio, dataclasses, json
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.policies.built_in import built_in_policies
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.decorators import step
from flujo_nb.engine.steps import Pipeline, Step

seen = []

class Inner(Step): pass
class Outer(Step): pass

class InnerPolicy:
    handles = Inner
    async def execute(self, core, frame):
        seen.append([str(frame.path), frame.tenant, frame.extensions["trace_id"], frame.attempt])
        return Success(output=frame.data)

class OuterPolicy:
    handles = Outer
    async def execute(self, core, frame):
        return await core.run(core.child_frame(frame, Inner(name="inner") >> flaky, frame.data))

@step(max_retries=1)
async def flaky(data, frame):
    seen.append([str(frame.path), frame.tenant, frame.extensions["trace_id"], frame.attempt])
    if frame.attempt == 1:
        raise ValueError("once more")
    return data

registry = built_in_policies()
registry.register(InnerPolicy())
registry.register(OuterPolicy())
whole = Pipeline.from_step(Outer(name="outer"))
root = make_execution_frame(whole, 1, extensions={"trace_id": "t"})
untouched = root.tenant
root = dataclasses.replace(root, tenant="acme")
outcome = asyncio.run(ExecutorCore(registry).run_root(root))
print(json.dumps({"seen": seen, "output": outcome.output, "default": untouched}))
"""


def test_a_field_added_in_one_line_reaches_every_policy_and_attempt(tmp_path: Path) -> None:
    for package in ("engine", "flujo_nb"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    module = tmp_path / "engine" / "frame.py"
    last_field = "    feedback: str | None = None\n"
    source = module.read_text(encoding="utf-8")
    assert source.count(last_field) == 1
    module.write_text(source.replace(last_field, last_field + '    tenant: str = "none"\n'))
    (tmp_path / "program.py").write_text(FIELD_ADDED)
    command = [sys.executable, "-W", "error", "program.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "seen": [
            ["outer/inner", "acme", "t", 1],
            ["outer/flaky", "acme", "t", 1],
            ["outer/flaky", "acme", "t", 2],
        ],
        "output": 1,
        "default": "none",
    }


def test_the_text_of_a_frame_is_short_and_shows_no_resources() -> None:
    parent = make_execution_frame(echo, "x" * 10_000, resources="the password")
    text = repr(child_frame(parent, echo_async, "y" * 10_000))
    assert "the password" not in text
    assert len(text) < 1_000


def test_replace_makes_another_frame() -> None:
    frame = make_execution_frame(echo, 1)
    assert dataclasses.replace(frame, data=2).data == 2
    assert frame.data == 1
