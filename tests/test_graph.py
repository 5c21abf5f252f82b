"""What steps are made of: as a tree of boxes and words, bounded, with how each ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.engine.step_kinds import ConditionalStep, ImportStep, MapStep
from flujo_nb.engine.steps import Node, Pipeline, Step
from flujo_nb.graphs.graph import Box, Form, Graph, graph_of, statuses_in, tree_text
from tests.notebook import Notebook

DONE, FAILED, PAUSED = RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.PAUSED


class Writer:
    async def run(self, data: object) -> object:
        return data


def named(name: str, **options: object) -> Step[object, object]:
    return Step.from_callable(lambda x: x, name=name, **options)  # type: ignore[arg-type]


up, two = named("up"), named("two")


def bad(x: object) -> object:
    raise ValueError("no")


KINDS: dict[str, tuple[Callable[[], Node], str]] = {
    "a step": (lambda: up, "up"),
    "an agent": (lambda: Step(name="a", agent=Writer()), "a   agent"),
    "a question": (lambda: Step.human_in_the_loop("ask", "?"), "ask   asks a human"),
    "a step in the background": (
        lambda: named("b", execution_mode="background"),
        "b   in the background",
    ),
    "a pipeline": (lambda: up >> two, "up >> two\n├─ up\n└─ two"),
    "a loop": (
        lambda: Step.loop_until("l", up >> two, lambda x: True, max_loops=7),
        "l        loop, at most 7 times\n├─ up\n└─ two",
    ),
    "a map": (lambda: Step.map_over("m", up), "m       for each item\n└─ up"),
    "a map over the context": (
        lambda: MapStep(name="m", pipeline_to_run=up, iterable_input="rows"),
        "m       for each of rows\n└─ up",
    ),
    "branches": (
        lambda: Step.parallel("p", {"a": up, "b": up >> two}),
        "p          in parallel\n├─ a: up\n└─ b:\n   ├─ up\n   └─ two",
    ),
    "a choice": (
        lambda: ConditionalStep(
            name="c",
            condition_callable=lambda x, c: x,
            branches={"a": up, True: two},
            default_branch_pipeline=up,
        ),
        "c                one of 3\n├─ a: up\n├─ True: two\n└─ otherwise: up",
    ),
    "a router": (
        lambda: Step.dynamic_parallel_branch("d", lambda x: ["a"], {"a": up, "b": two}),
        "d         some of 2, by d_router\n├─ a: up\n└─ b: two",
    ),
    "a cached step": (lambda: Step.cached(up), "up   cached"),
    "a cached loop": (
        lambda: Step.cached(Step.loop_until("l", up, lambda x: True)),
        "l          cached\n└─ l       loop, at most 5 times\n   └─ up",
    ),
    "an import": (lambda: ImportStep(name="i", pipeline=up), "i       pipeline\n└─ up"),
    "a fallback": (
        lambda: Step(
            name="f", agent=bad, fallback_step=Step(name="g", agent=bad, fallback_step=up)
        ),
        "f\n└─ if it fails: g\n   └─ if it fails: up",
    ),
}


def squeezed(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("case", KINDS)
def test_the_tree_tells_what_each_kind_does(case: str) -> None:
    make, tree = KINDS[case]
    assert squeezed(tree_text(graph_of(make()))) == squeezed(tree)


def test_what_is_told_stands_in_a_column() -> None:
    node = Pipeline.of(named("a"), Step(name="longer", agent=Writer()), Step.map_over("m", up))
    lines = tree_text(graph_of(node)).splitlines()
    assert lines[2].index("agent") == lines[3].index("for each")


# How steps ended

RUNS: dict[str, tuple[Callable[[], Node], object, list[tuple[str, RunStatus | None]]]] = {
    "a pipeline with namesakes": (
        lambda: Pipeline.of(up, up, Step(name="bad", agent=bad)),
        1,
        [("up", DONE), ("up", DONE), ("bad", FAILED)],
    ),
    "a loop": (
        lambda: Step.loop_until("l", up >> two, lambda x: True),
        1,
        [("l", DONE), ("up", DONE), ("two", DONE)],
    ),
    "a map with an item that failed": (
        lambda: Step.map_over("m", Step(name="s", agent=lambda x: 1 // x), on_item_failure="keep"),
        [0, 1],
        [("m", DONE), ("s", FAILED)],
    ),
    "branches": (
        lambda: Step.parallel("p", {"a b": up, "c": up >> two}),
        1,
        [("p", DONE), ("up", DONE), ("up", DONE), ("two", DONE)],
    ),
    "a choice": (
        lambda: Step.branch_on("c", lambda x, c: True, {True: up >> up, "no": two}),
        1,
        [("c", DONE), ("up", DONE), ("up", DONE), ("two", None)],
    ),
    "a choice that is none of them": (
        lambda: ConditionalStep(
            name="c",
            condition_callable=lambda x, c: "other",
            branches={"a": up},
            default_branch_pipeline=two,
        ),
        1,
        [("c", DONE), ("up", None), ("two", DONE)],
    ),
    "a router": (
        lambda: Step.dynamic_parallel_branch("d", lambda x: ["a"], {"a": up, "b": two}),
        1,
        [("d", DONE), ("up", DONE), ("two", None)],
    ),
    "a cached loop": (
        lambda: Step.cached(Step.loop_until("l", up, lambda x: True)),
        1,
        [("l", DONE), ("l", DONE), ("up", DONE)],
    ),
    "imports": (
        lambda: ImportStep(name="i", pipeline=up) >> ImportStep(name="j", pipeline=up >> two),
        1,
        [("i", DONE), ("up", DONE), ("j", DONE), ("up", DONE), ("two", DONE)],
    ),
    "fallbacks of fallbacks": (
        lambda: Step(
            name="f", agent=bad, fallback_step=Step(name="g", agent=bad, fallback_step=up)
        ),
        1,
        [("f", DONE), ("g", DONE), ("up", DONE)],
    ),
    "a question": (
        lambda: up >> Step.human_in_the_loop("ask", "?") >> two,
        1,
        [("up", DONE), ("ask", PAUSED), ("two", None)],
    ),
}


def flat(boxes: list[Box]) -> list[tuple[str, RunStatus | None]]:
    found: list[tuple[str, RunStatus | None]] = []
    for box in boxes:
        found.append((box.name, box.status))
        for branch in box.branches:
            found += flat(list(branch.boxes))
    return found


@pytest.mark.parametrize("case", RUNS)
def test_each_box_has_the_last_status_of_its_step(notebook: Notebook, case: str) -> None:
    make, data, statuses = RUNS[case]
    node = make()
    notebook.shell.user_ns.update(node=node, data=data)
    notebook.run("%flujo run node -i data")
    outcome = notebook.session.entries[-1].record.outcome
    graph = graph_of(node, statuses_in(outcome, node))
    assert flat(list(graph.boxes)) == statuses


def test_of_very_many_items_the_last_are_looked_at(notebook: Notebook) -> None:
    items = Step.map_over("m", Step(name="s", agent=lambda x: 1 // x), on_item_failure="keep")
    for failing, status in ((500, DONE), (999, FAILED)):
        data = [n != failing for n in range(1_000)]
        notebook.shell.user_ns.update(node=items >> up, data=data)
        notebook.run("%flujo run node -i data")
        outcome = notebook.session.entries[-1].record.outcome
        graph = graph_of(items >> up, statuses_in(outcome, items >> up))
        assert flat(list(graph.boxes)) == [("m", DONE), ("s", status), ("up", DONE)]


# Bounds


def count(boxes: list[Box]) -> int:
    return len(flat(boxes))


def test_of_a_long_pipeline_the_beginning_and_the_end_are_shown() -> None:
    graph = graph_of(Pipeline.of(*(named(f"s{n}") for n in range(200))))
    assert [box.name for box in graph.boxes] == [
        *("s0", "s1", "s2", "s3", "s4", "s5", "… 191 more steps", "s197", "s198", "s199"),
    ]
    assert len(graph.name) <= 80


def test_of_many_branches_the_first_are_shown() -> None:
    (box,) = graph_of(Step.parallel("p", {f"b{n}": up for n in range(50)})).boxes
    assert [branch.boxes[0].name for branch in box.branches] == [*["up"] * 5, "… 45 more"]
    assert "└─ … 45 more" in tree_text(Graph("p", [box]))


def test_what_is_nested_deep_is_counted() -> None:
    node: Node = up
    for n in range(50):
        node = Step.loop_until(f"l{n}", node, lambda x: True)
    lines = tree_text(graph_of(node)).splitlines()
    assert len(lines) == 7
    assert lines[-1].endswith("… 1 part inside")


def test_a_wide_tree_is_opened_as_far_as_it_fits() -> None:
    node: Step[object, object] = up
    for n in range(6):
        node = Step.parallel(f"p{n}", {f"b{m}": Pipeline.of(*[node] * 5) for m in range(5)})
    graph = graph_of(node)
    assert count(list(graph.boxes)) == 26
    assert all(box.told == "… 5 parts inside" for box in graph.boxes[0].branches[4].boxes)


def test_names_are_one_line_and_clipped() -> None:
    (box,) = graph_of(named("a\nb" * 100)).boxes
    assert len(box.name) == 40 and "\n" not in box.name


def test_the_same_step_twice_is_two_boxes() -> None:
    graph = graph_of(Pipeline.of(up, up), {("up#1",): FAILED})
    assert [box.status for box in graph.boxes] == [None, FAILED]
    assert all(box.form is Form.STEP for box in graph.boxes)
