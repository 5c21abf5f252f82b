"""Definitions of steps of every shape are the same in every process."""

from __future__ import annotations

import subprocess
import sys

from tests.house.tree import ROOT

SHAPES = """
import collections, dataclasses, enum, functools, json, logging, math, operator
from datetime import datetime, timezone
from pydantic import BaseModel, Field, SecretStr, field_validator
from flujo_nb import Step
from flujo_nb.engine.step_config import AgentProcessors, StepConfig, ValidationResult
from flujo_nb.engine.step_definitions import StepDefinitions
from flujo_nb.engine.step_kinds import *
from flujo_nb.engine.steps import Pipeline

NAMES, LOG, SEEN = frozenset({"a", "b", "c"}), logging.getLogger(), {1}
CLIENT, WHEN = object(), datetime(2024, 1, 1, tzinfo=timezone.utc)
class Color(enum.Enum):
    RED = "r"
class Model(BaseModel):
    n: int = Field(gt=0, default=3)
    more: "list[Model]" = []
    key: SecretStr = SecretStr("k")
    @field_validator("n")
    @classmethod
    def check(cls, value): return value
@dataclasses.dataclass
class Point:
    x: int = 3
    y: list = dataclasses.field(default_factory=list)
def work(x) -> Model:
    LOG.info(NAMES)
    SEEN.add(CLIENT)
    return Color.RED, Point, math.sqrt(x), x in {"a", "b", "c"}, json.dumps(x), WHEN
class Agent:
    def __init__(self): self.calls, self.client = 0, object()
    async def run(self, data):
        self.calls += 1
        return data
class Limit:
    def validate(self, output): return ValidationResult(is_valid=True)
class Own(Step): pass
def made(limit):
    def inner(x): return x < limit
    return inner
one, two = Step.from_callable(work, name="one"), Step.from_callable(made(3), name="two")
plain = dict(name="s", exit_condition_callable=made(1))
shapes = [
    one,
    two,
    Step.from_callable(functools.partial(operator.add, 1), name="partial"),
    Step.from_callable(work, input={"b": "x", "a": ["y"]}, validators=[Limit()], max_retries=2,
        meta={"z": 1, "a": 2}, processors=AgentProcessors([made(2)]), fallback_step=two),
    Step(name="agent", agent=Agent()),
    Own(name="own", agent=work),
    Pipeline.of(one, two),
    LoopStep(loop_body_pipeline=one, **plain),
    MapStep(name="s", pipeline_to_run=Pipeline.of(one, two), max_concurrency=3),
    ParallelStep(name="s", branches={"b": one, "a": two}, context_include_keys={"p", "q", "r"},
        reduce=lambda results: results, on_branch_failure="ignore"),
    ConditionalStep(name="s", condition_callable=made(4), branches={True: one, "1": two}),
    DynamicParallelRouterStep(name="s", router_agent=Agent(), branches={"b": one, "a": two}),
    ImportStep(name="s", pipeline=one, context_model=Model, outputs=[OutputMapping("a", "b")]),
    Step.cached(LoopStep(loop_body_pipeline=one, **plain)),
    HumanInTheLoopStep(name="s", message_for_user="Go?", input_schema=Model),
    Step.from_callable(work, name="s", execution_mode="background"),
]
for shape in shapes:
    definition = StepDefinitions().of(shape)
    print(definition.digest.hex(), json.dumps(definition.lines))
"""


def test_a_definition_is_the_same_in_every_process() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", SHAPES],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    digests = [line.partition(" ")[0] for line in found.pop().splitlines()]
    assert len({*digests}) == len(digests) == 16
