"""What the journal records of a step: what counts, what does not, and how it reads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.definition_parts import MadeOf
from flujo_nb.engine.differences import first_difference
from flujo_nb.engine.merging import MergeStrategy
from flujo_nb.engine.step_config import AgentProcessors, StepConfig, ValidationResult
from flujo_nb.engine.step_definitions import StepDefinitions
from flujo_nb.engine.step_kinds import (
    CacheStep,
    ConditionalStep,
    DynamicParallelRouterStep,
    HumanInTheLoopStep,
    ImportStep,
    LoopStep,
    MapStep,
    OutputMapping,
    ParallelStep,
)
from flujo_nb.engine.steps import Node, Pipeline, Step
from flujo_nb.engine.usage import UsageEstimate
from tests.engine.cells import cell


def work(data: object) -> object:
    return data


def other(data: object) -> object:
    return [data]


class Limit:
    def __init__(self, most: object) -> None:
        self.most = most

    def validate(self, output: Any) -> ValidationResult:
        return ValidationResult(is_valid=output <= self.most)


class Answer(BaseModel):
    yes: bool


class Context(BaseModel):
    n: int = 0


def digest_of(node: Node) -> bytes:
    return StepDefinitions().of(node).digest


def lines_of(node: Node) -> tuple[str, ...]:
    return StepDefinitions().of(node).lines


def step_of(function: Callable[..., object] = work, **options: Any) -> Step[Any, Any]:
    return Step.from_callable(function, **{"name": "work", **options})


def written(source: str, **options: Any) -> Step[Any, Any]:
    """A step of the function ``work`` that a cell with ``source`` defines."""
    return step_of(cell(source)["work"], **options)


A, B = step_of(name="a"), step_of(name="b")
A_EDITED = step_of(other, name="a")

OPTIONS: dict[str, dict[str, Any]] = {
    "another function": {"function": other},
    "a lambda": {"function": lambda data: data + 1},
    "a partial": {"function": functools.partial(other)},
    "a name": {"name": "another"},
    "a configuration": {"config": StepConfig(max_retries=3)},
    "another one": {"config": StepConfig(max_retries=4)},
    "an estimate": {"config": StepConfig(estimate=UsageEstimate(tokens=3))},
    "a share": {"config": StepConfig(share=UsageEstimate())},
    "the background": {"config": StepConfig(execution_mode="background")},
    "a prompt": {"input": "{{ data }} again"},
    "a structured prompt": {"input": {"a": ["{{ data }}"]}},
    "an empty one": {"input": {}},
    "an empty list": {"input": []},
    "a validator": {"validators": [Limit(3)]},
    "a validator's attribute": {"validators": [Limit(4)]},
    "a plugin": {"plugins": [(Limit(3), 1)]},
    "a plugin's priority": {"plugins": [(Limit(3), 2)]},
    "a prompt processor": {"processors": AgentProcessors(prompt_processors=[work])},
    "an output processor": {"processors": AgentProcessors(output_processors=[work])},
    "a fallback": {"fallback_step": step_of(name="spare")},
    "another fallback": {"fallback_step": step_of(name="another")},
    "a sink": {"sink_to": "total"},
    "an update": {"updates_context": True},
    "a check": {"validation": "strict"},
    "a rate": {"rate": "60/min"},
    "a note": {"meta": {"by": "ann"}},
}


def test_every_option_of_a_step_counts_and_is_told() -> None:
    found = {name: step_of(**options) for name, options in OPTIONS.items()}
    assert len({*map(digest_of, found.values()), digest_of(step_of())}) == len(OPTIONS) + 1
    assert len({*map(lines_of, found.values()), lines_of(step_of())}) == len(OPTIONS) + 1


def test_a_digest_has_16_bytes_and_what_is_at_its_default_is_not_told() -> None:
    assert len(digest_of(step_of())) == 16
    given = step_of(config=StepConfig(max_retries=None), input=None, updates_context=False)
    assert digest_of(given) == digest_of(step_of())
    assert lines_of(given)[:3] == ("kind = 'Step'", "name = 'work'", "agent = function work")
    assert not any(line.startswith(("config", "input")) for line in lines_of(given))


def test_a_fallback_counts_by_name_only() -> None:
    steps = [step_of(fallback_step=step_of(one, name="spare")) for one in (work, other)]
    assert digest_of(steps[0]) == digest_of(steps[1])
    assert "fallback_step = 'spare'" in lines_of(steps[0])


def loop(body: Node, **options: Any) -> LoopStep[Any, Any]:
    options = {"exit_condition_callable": work, **options}
    return LoopStep(name="it", loop_body_pipeline=body, **options)


def mapped(body: Node, **options: Any) -> MapStep[Any, Any]:
    return MapStep(name="it", pipeline_to_run=body, **options)


def parallel(body: Node, **options: Any) -> ParallelStep[Any, Any]:
    return ParallelStep(name="it", **{"branches": {"x": body, "y": B}, **options})


def conditional(body: Node, **options: Any) -> ConditionalStep[Any, Any]:
    options = {"condition_callable": work, "branches": {"x": body, "y": B}, **options}
    return ConditionalStep(name="it", **options)


def router(body: Node, **options: Any) -> DynamicParallelRouterStep[Any, Any]:
    options = {"router_agent": A, "branches": {"x": body}, **options}
    return DynamicParallelRouterStep(name="it", **options)


def imported(body: Node, **options: Any) -> ImportStep[Any, Any]:
    return ImportStep(name="it", **{"pipeline": body, **options})


def sequence(body: Node, *more: Node) -> Node:
    return Pipeline.of(body, *more)


CONTAINERS: dict[str, Callable[..., Node]] = {
    "loop": loop,
    "map": mapped,
    "parallel": parallel,
    "conditional": conditional,
    "router": router,
    "import": imported,
    "pipeline": sequence,
}


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_a_container_counts_its_children_by_name(container: Callable[..., Node]) -> None:
    first = digest_of(container(A))
    assert first == digest_of(container(A_EDITED))
    assert first != digest_of(container(B))
    assert digest_of(container(A >> B)) == digest_of(container(A_EDITED >> B))
    assert len({digest_of(container(one)) for one in (A, A >> B, B >> A, A >> B >> B)}) == 4


CHANGED: dict[str, tuple[Node, Node]] = {
    "an exit condition": (loop(A), loop(A, exit_condition_callable=other)),
    "a number of loops": (loop(A), loop(A, max_loops=7)),
    "a mapper": (loop(A), loop(A, iteration_input_mapper=work)),
    "another mapper": (
        loop(A, iteration_input_mapper=work),
        loop(A, initial_input_to_loop_body_mapper=work),
    ),
    "an iterable": (mapped(A), mapped(A, iterable_input="items")),
    "a branch key": (parallel(A), parallel(A, branches={"x": A, "z": B})),
    "an order": (parallel(A), parallel(A, branches={"y": B, "x": A})),
    "the type of a key": (
        conditional(A, branches={"1": A}),
        conditional(A, branches={1: A}),
    ),
    "a boolean key": (conditional(A, branches={True: A}), conditional(A, branches={1: A})),
    "a default": (conditional(A), conditional(A, default_branch_pipeline=B)),
    "a condition": (conditional(A), conditional(A, condition_callable=other)),
    "a merge strategy": (parallel(A), parallel(A, merge_strategy=MergeStrategy.NO_MERGE)),
    "a merge function": (parallel(A, merge_strategy=work), parallel(A, merge_strategy=other)),
    "included fields": (
        parallel(A, context_include_keys={"a"}),
        parallel(A, context_include_keys={"a", "b"}),
    ),
    "a router": (router(A, router_agent=work), router(A, router_agent=other)),
    "an imported context": (imported(A), imported(A, context_model=Context)),
    "outputs": (imported(A), imported(A, outputs=[])),
    "an output": (imported(A, outputs=[]), imported(A, outputs=[OutputMapping("a", "b")])),
    "a kind": (imported(A), Step.cached(A)),
    "a cached step": (Step.cached(A), Step.cached(A_EDITED)),
    "a cached body": (
        CacheStep(name="c", wrapped_step=loop(A)),
        CacheStep(name="c", wrapped_step=loop(A_EDITED)),
    ),
    "a cached fallback": (
        Step.cached(step_of(fallback_step=A)),
        Step.cached(step_of(fallback_step=A_EDITED)),
    ),
    "a question": (
        HumanInTheLoopStep(name="ask", message_for_user="Go?"),
        HumanInTheLoopStep(name="ask", message_for_user="Stop?"),
    ),
    "a schema": (
        HumanInTheLoopStep(name="ask"),
        HumanInTheLoopStep(name="ask", input_schema=Answer),
    ),
}


@pytest.mark.parametrize(("old", "new"), CHANGED.values(), ids=CHANGED)
def test_the_own_options_of_a_container_count_and_are_told(old: Node, new: Node) -> None:
    assert digest_of(old) != digest_of(new)
    assert first_difference(lines_of(old), lines_of(new)) != ""


def test_where_a_cache_keeps_its_entries_does_not_count() -> None:
    class Backend:
        get = set = print

    backend: Any = Backend()
    assert digest_of(Step.cached(A)) == digest_of(Step.cached(A, backend))


def test_steps_that_fall_back_on_each_other_end() -> None:
    one, two = step_of(name="one"), step_of(name="two")
    one.fallback(two)
    two.fallback(one)
    cached = CacheStep(name="c", wrapped_step=one)
    assert lines_of(cached)[2:6] == (
        "wrapped_step.kind = 'Step'",
        "wrapped_step.name = 'one'",
        "wrapped_step.agent = function work",
        "wrapped_step.fallback_step.kind = 'Step'",
    )


CODE = "N = 1\ndef help(x): return x + N\ndef work(x):\n    return help(x)"
SAME = {
    "a comment": CODE.replace("    return", "    # why\n    return"),
    "a docstring": CODE.replace("    return", "    'Why.'\n    return"),
    "formatting": CODE.replace("help(x)\n", "help( x )\n").replace("x + N", "(x\n + N)"),
    "a place": f"\n\n\n{CODE}",
}
OTHER = {
    "the code": CODE.replace("help(x)\n", "help(x)\n").replace("    return", "    return 1 +"),
    "a helper": CODE.replace("x + N", "x - N"),
    "a global": CODE.replace("N = 1", "N = 2"),
    "the type of a global": CODE.replace("N = 1", "N = True"),
    "a default": CODE.replace("work(x)", "work(x, y=1)"),
}


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_what_code_looks_like_does_not_count(source: str) -> None:
    assert digest_of(written(source)) == digest_of(written(CODE))


@pytest.mark.parametrize("source", OTHER.values(), ids=OTHER)
def test_what_code_does_counts_and_is_told(source: str) -> None:
    assert digest_of(written(source)) != digest_of(written(CODE))
    assert first_difference(lines_of(written(CODE)), lines_of(written(source))) != ""


def test_state_of_the_process_does_not_count() -> None:
    source = "SEEN = {}\nCOUNT = {}\ndef work(x):\n    global COUNT\n    COUNT += 1\n    SEEN.pop()"
    one, two = (written(source.format(*given)) for given in (("[]", 0), ("[1]", 9)))
    assert digest_of(one) == digest_of(two)
    assert lines_of(one)[-2:] == ("not tracked: COUNT (int)", "not tracked: SEEN (list)")
    assert digest_of(one) != digest_of(written(source.format("{}", 0)))


def test_a_method_of_a_list_counts_without_what_the_list_holds() -> None:
    seen: list[object] = []
    first = digest_of(step_of(seen.append))
    seen.append(1)
    assert digest_of(step_of(seen.append)) == first


def test_a_moment_in_a_zone_without_a_name_is_no_error() -> None:
    class Zone(tzinfo):
        def utcoffset(self, _: object) -> timedelta:
            return timedelta(hours=1)

    names = cell("def work(x): return WHEN")
    names["WHEN"] = datetime(2024, 1, 1, tzinfo=Zone())
    assert "not tracked: WHEN (datetime)" in lines_of(step_of(names["work"]))


class Drafter:
    """An agent that says what it is made of, and what only this process knows."""

    def __init__(self, prompt: str, client: object) -> None:
        self.prompt = prompt
        self.client = client
        self.asked = 0

    def definition_digest(self) -> str:
        return f"{self.prompt} {id(self.client)}"

    def definition_parts(self) -> MadeOf:
        self.asked += 1
        kept = self.prompt
        parts = [(".prompt", kept), (".client", self.client)]
        return MadeOf(parts, lambda: self.prompt is kept)

    async def run(self, data: object) -> object:
        return data


def test_an_agent_that_says_what_it_is_made_of_counts_by_that() -> None:
    one, two = (Step(name="draft", agent=Drafter("Be brief", object())) for _ in range(2))
    assert digest_of(one) == digest_of(two)
    assert digest_of(one) != digest_of(Step(name="draft", agent=Drafter("Be long", object())))
    assert "agent.prompt = 'Be brief'" in lines_of(one)
    assert "not tracked: agent.client (object)" in lines_of(one)
    assert digest_of(Step.cached(one)) == digest_of(Step.cached(two))


def test_an_agent_that_only_gives_a_text_counts_by_that() -> None:
    class Told:
        def __init__(self, text: str) -> None:
            self.text = text

        def definition_digest(self) -> str:
            return self.text

        async def run(self, data: object) -> object:
            return data

    one, two = (Step(name="draft", agent=Told(text)) for text in ("small", "large"))
    assert first_difference(lines_of(one), lines_of(two)).splitlines()[1:] == [
        "- agent.definition_digest() = 'small'",
        "+ agent.definition_digest() = 'large'",
    ]


def test_a_definition_is_taken_once_until_something_changes() -> None:
    drafter = Drafter("Be brief", object())
    node = Step[Any, Any](name="draft", agent=drafter)
    definitions = StepDefinitions()
    first = definitions.of(node)
    assert definitions.of(node) is first
    assert drafter.asked == 1
    drafter.prompt = "Be long"
    second = definitions.of(node)
    assert drafter.asked == 2
    assert second.digest != first.digest
    assert definitions.of(node) is second
    assert "agent.prompt = 'Be brief'" in first.lines


def test_a_helper_that_is_defined_again_is_seen() -> None:
    names = cell(CODE)
    node, definitions = step_of(names["work"]), StepDefinitions()
    first = definitions.of(node)
    cell("def help(x): return x + N", names)
    again = definitions.of(node)
    assert again.digest == first.digest
    cell("def help(x): return x - N", names)
    assert definitions.of(node).digest != first.digest
