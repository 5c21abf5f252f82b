"""Definitions of steps: what counts, what is only named, and how long one holds."""

from __future__ import annotations

import operator
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from flujo_nb.engine.digests import MAX_CONSTANT, Definition, definition_of
from flujo_nb.engine.dsl import gather
from flujo_nb.engine.step_config import AgentProcessors, StepConfig, ValidationResult
from flujo_nb.engine.step_kinds import CacheStep, LoopStep, ParallelStep
from flujo_nb.engine.steps import Pipeline, Step
from tests.engine.cells import both, cell, digest, taken
from tests.house.tree import ROOT


class Strict:
    def validate(self, output: object) -> ValidationResult:
        return ValidationResult(is_valid=bool(output))


class Limit:
    def __init__(self, most: int) -> None:
        self.most = most

    def validate(self, output: Any) -> ValidationResult:
        return ValidationResult(is_valid=output <= self.most)


def work(data: object) -> object:
    return data


def other(data: object) -> object:
    return [data]


OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"name": "another"},
    "config": {"config": StepConfig(max_retries=3)},
    "prompt": {"input": "{{ data }} again"},
    "validator": {"validators": [Strict()]},
    "another validator": {"validators": [Limit(3)]},
    "a validator's attribute": {"validators": [Limit(4)]},
    "plugin": {"plugins": [(Strict(), 1)]},
    "a plugin's priority": {"plugins": [(Strict(), 2)]},
    "processor": {"processors": AgentProcessors(output_processors=[work])},
    "another processor": {"processors": AgentProcessors(output_processors=[other])},
    "fallback": {"fallback_step": Step.from_callable(work, name="spare")},
    "another fallback": {"fallback_step": Step.from_callable(other, name="spare")},
    "sink": {"sink_to": "total"},
}


def test_every_option_of_a_step_counts() -> None:
    found = {name: taken(work, **options).digest for name, options in OPTIONS.items()}
    assert len({*found.values(), taken(work).digest}) == len(OPTIONS) + 1


def test_a_container_counts_with_the_bodies_inside() -> None:
    def loop(body: Callable[..., object], **options: Any) -> str:
        inside = Pipeline.of(Step.from_callable(body, name="body"))
        step = LoopStep(
            name="loop", loop_body_pipeline=inside, exit_condition_callable=bool, **options
        )
        return definition_of(step).digest

    assert loop(work) == loop(work)
    assert len({loop(work), loop(other), loop(work, max_loops=7)}) == 3


def test_a_branch_counts_by_its_key_and_a_cached_step_without_its_backend() -> None:
    def parallel(key: str, backend: Any) -> str:
        branch = CacheStep(name="c", wrapped_step=Step.from_callable(work), cache_backend=backend)
        return definition_of(ParallelStep(name="p", branches={key: branch})).digest

    class Backend:
        get = set = print

    assert parallel("a", None) == parallel("a", Backend())
    assert parallel("a", None) != parallel("b", None)


def test_what_can_change_in_place_counts_by_type_and_is_named() -> None:
    data = "@dataclasses.dataclass\nclass D:\n  n: int\n"
    model = "class M(BaseModel):\n  n: int\n"
    for kind, before, one, two in [
        ("list", "", "[1]", "[2]"),
        ("D", data, "D(1)", "D(2)"),
        ("M", model, "M(n=1)", "M(n=2)"),
    ]:
        source = f"{before}SEEN = {{}}\ndef work(x): return SEEN"
        first, second, table = (
            taken(cell(source.format(value))["work"]) for value in (one, two, "{}")
        )
        assert first.untracked == (f"SEEN ({kind})",)
        assert first.digest == second.digest != table.digest
        assert first.state != second.state


def test_what_counts_by_value_is_named_too() -> None:
    names = cell("N = 1\nclass K: pass\ndef help(): return N\ndef work(x): return help(), K, len")
    definition = taken(names["work"])
    assert {"N", "K", "help"} <= {*definition.tracked}
    assert definition.untracked == ()


def test_steps_that_differ_in_what_is_untracked_are_told_apart() -> None:
    """Their digests are equal, because other processes have nothing to compare such values by."""

    def make(table: Any) -> Definition:
        def look_up(data: str) -> object:
            return table[data]

        return taken(look_up)

    class Client:
        pass

    one, two = Client(), Client()
    for first, second in [({"a": 1}, {"a": 2}), ([Client()], [Client()]), (one, two)]:
        assert make(first).digest == make(second).digest
        assert make(first).state != make(second).state
    assert both(make(one)) == both(make(one))
    assert both(make({"a": one, "b": work})) == both(make({"a": one, "b": work}))
    assert both(make({"a": one, "b": work})) != both(make({"a": one, "b": other}))


def test_a_container_that_holds_itself_and_a_vast_one_are_told_by_identity() -> None:
    round_: list[Any] = [work]
    round_.append(round_)
    vast = [0] * (MAX_CONSTANT + 1)

    def use(data: object) -> object:
        return round_, vast

    step = Step.from_callable(use)
    assert definition_of(step).digest == definition_of(step).digest


def test_a_large_constant_is_named_and_told_apart() -> None:
    source = "TEXT = 'x' * {}\ndef work(x): return TEXT"
    small, large = cell(source.format(MAX_CONSTANT // 2)), cell(source.format(MAX_CONSTANT + 1))
    assert taken(small["work"]).untracked == ()
    assert taken(large["work"]).untracked == ("TEXT (str)",)


def test_what_a_function_assigns_itself_is_state() -> None:
    source = """
COUNT = {0}
def make():
    seen = {0}
    def work(x):
        global COUNT
        nonlocal seen
        COUNT += 1
        seen += 1
        return COUNT + seen
    return work
work = make()
"""
    names = cell(source.format(0))
    definition = taken(names["work"])
    names["work"](1)
    assert definition.holds()
    assert definition.untracked == ("COUNT (int)", "seen (int)")
    assert definition.digest == taken(cell(source.format(7))["work"]).digest


class Drafter:
    """An agent with settings, and with counts that it keeps itself."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.calls = 0
        self.tries = 0

    async def run(self, data: object) -> str:
        self.calls += 1
        return self._drafted(data)

    def _drafted(self, data: object) -> str:
        self.tries += 1
        return f"{data} by {self.model}"

    def switch(self, model: str) -> None:
        self.model = model


class Described:
    """An agent that says what it is."""

    def __init__(self, about: str) -> None:
        self.about = about
        self.noise = object()

    def definition_digest(self) -> str:
        return self.about

    async def run(self, data: object) -> object:
        return data


def of_agent(agent: Any) -> Definition:
    return definition_of(Step(name="draft", agent=agent))


def test_an_agent_counts_by_its_class_and_its_settings() -> None:
    assert both(of_agent(Drafter("small"))) == both(of_agent(Drafter("small")))
    assert of_agent(Drafter("small")).digest != of_agent(Drafter("large")).digest
    assert {*of_agent(Drafter("small")).untracked} == {
        "draft.__self__.calls (int)",
        "draft.__self__.tries (int)",
    }


def test_an_agent_that_knows_its_definition_is_asked_for_it() -> None:
    assert both(of_agent(Described("a"))) == both(of_agent(Described("a")))
    assert of_agent(Described("a")).digest != of_agent(Described("b")).digest
    assert of_agent(Described("a")).untracked == ()


def test_a_definition_does_not_hold_once_an_agent_is_set_otherwise() -> None:
    drafter, described = Drafter("small"), Described("a")
    first, second = of_agent(drafter), of_agent(described)
    drafter.calls += 1
    assert first.holds()
    assert second.holds()
    drafter.switch("large")
    described.about = "b"
    assert not first.holds()
    assert not second.holds()


CALLABLES: list[Any] = [
    lambda data: data,
    lambda data: data + 1,
    partial(operator.add, 1),
    partial(operator.add, 2),
    operator.itemgetter("a"),
    operator.itemgetter("b"),
    str.upper,
    str.lower,
    len,
    "x".join,
    "y".join,
    Drafter("small")._drafted,
    Drafter("large")._drafted,
    dict,
    list,
]


def test_callables_of_every_kind_are_told_apart() -> None:
    found = {both(taken(one)) for one in CALLABLES}
    assert len(found) == len(CALLABLES)
    assert found == {both(taken(one)) for one in CALLABLES}


def test_functions_of_a_library_are_told_apart_by_what_they_close_over() -> None:
    first, second = (definition_of(gather("pick", wait_for=[name])) for name in "ab")
    assert both(first) != both(second)


def test_of_an_own_module_the_used_functions_count() -> None:
    def helpers(used: str, unused: str) -> ModuleType:
        module, inner = ModuleType("helpers"), ModuleType("helpers.inner")
        cell(f"def used(): return {used}\ndef unused(): return {unused}", vars(inner))
        vars(module)["inner"] = inner
        vars(inner)["above"] = module
        return module

    def use(used: str, unused: str) -> str:
        names = cell("def work(x): return helpers.inner.above.inner.used()")
        names["helpers"] = helpers(used, unused)
        return taken(names["work"]).digest

    assert use("1", "1") == use("1", "2") != use("2", "1")


def test_two_functions_that_use_one_module_each_count_what_they_use() -> None:
    def use(second: str) -> str:
        module = ModuleType("helpers")
        cell(f"def one(): return 1\ndef two(): return {second}", vars(module))
        names = cell("def help(): return helpers.two()\ndef work(x): return helpers.one(), help()")
        names["helpers"] = module
        return taken(names["work"]).digest

    assert use("1") != use("2")


def test_functions_that_call_one_another_end() -> None:
    source = "def work(x): return {}\ndef ping(): return pong()\ndef pong(): return ping()"
    assert digest(source.format("ping()")) == digest(source.format("ping()"))
    assert digest(source.format("ping()")) != digest(source.format("pong"))


def test_a_variable_that_holds_nothing_yet_is_no_error() -> None:
    source = "def make():\n def work(x): return later\n return work\n later = 1\nwork = make()"
    definition = taken(cell(source)["work"])
    assert definition.holds()


def test_a_long_chain_of_helpers_is_no_deep_one() -> None:
    chain = "\n".join(f"def f{n}(): return f{n + 1}()" for n in range(1500))
    source = f"{chain}\ndef f1500(): return {{}}\ndef work(x): return f0()"
    assert digest(source.format(1)) != digest(source.format(2))


def test_a_digest_is_the_same_in_every_process() -> None:
    code = """
import collections, dataclasses, enum, logging, math
from pydantic import BaseModel, Field
from flujo_nb import Step
from flujo_nb.engine.digests import definition_of
N = frozenset({"a", "b", "c"})
log, seen = logging.getLogger(), {1}
Point = collections.namedtuple("Point", "x y", defaults=[1])
class Color(enum.Enum):
    RED = "r"
class M(BaseModel):
    n: int = Field(gt=0, default=3)
    more: "list[M]" = []
@dataclasses.dataclass(order=True)
class D:
    x: int = 3
    y: list = dataclasses.field(default_factory=list)
def work(x) -> M:
    log.info(N)
    seen.add(x)
    return Point, Color.RED, M, D, math.sqrt(x), {"a", "b", "c"}
print(definition_of(Step.from_callable(work)).digest)
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
