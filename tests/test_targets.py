"""What commands may run: names, slices, and what is known of the steps in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from IPython.core.error import UsageError

from flujo_nb.engine.steps import Pipeline, Step, name_of
from flujo_nb.targets import Registered, Targets
from tests.notebook import Notebook, fresh_notebook


def step(name: str) -> Step[object, object]:
    def work(data: object) -> object:
        return data

    return Step.from_callable(work, name=name)


@pytest.fixture
def targets() -> Targets:
    found = Targets()
    for name in "abc":
        found.register(Registered(name, step(name), ""))
    return found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", "a"),
        ("a >> b", "a >> b"),
        ("a >> b >> c[:b]", "a >> b"),
        ("a >> b >> c[:a]", "a"),
        ("a >> b >> c[b]", "b"),
        ("a[a]", "a"),
    ],
)
def test_a_text_stands_for_steps(targets: Targets, text: str, names: str) -> None:
    assert name_of(targets.resolve(text, {})) == names
    assert targets.missing(text, {}) == []


@pytest.mark.parametrize(
    "text", ["", "a >>", "d", "a[:d]", "a[b]", "a[", "a]", "a[:]", "[a]", "a[a][a]"]
)
def test_a_text_that_stands_for_nothing_is_refused(targets: Targets, text: str) -> None:
    with pytest.raises(UsageError):
        targets.resolve(text, {})


def test_definitions_now_look_through_a_pipeline_at_steps_that_were_registered_anew(
    targets: Targets,
) -> None:
    whole = Pipeline.of(targets.steps["a"].node, targets.steps["b"].node)
    targets.register(Registered("ab", whole, ""))
    before = targets.definitions_in(whole)
    assert targets.definitions_now("ab") == before

    targets.register(Registered("a", step("a"), ""))
    assert targets.definitions_now("ab") == before
    targets.register(Registered("a", Step.from_callable(len, name="a"), ""))
    now = dict(targets.definitions_now("ab"))
    assert [name for name, digest in before if now[name] != digest] == ["a"]
    assert targets.definitions_in(whole) == before


def test_nothing_is_known_of_what_is_not_registered(targets: Targets) -> None:
    assert targets.definitions_now("d") == () == targets.definitions_now(None)


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    with fresh_notebook() as notebook:
        yield notebook


def test_a_variable_that_a_step_assigns_is_told_once(notebook: Notebook) -> None:
    cell = "%%flujo step -i 1\ndef keep(x):\n    global rows\n    rows = [x]\n    return x"
    notes = [notebook.card(cell)._repr_mimebundle_()["text/plain"] for _ in range(2)]

    assert ["keep writes `rows`: that is not part of the frame" in str(one) for one in notes] == [
        *(True, False),
    ]


def test_a_step_that_assigns_only_variables_of_its_own_is_not_told_of(notebook: Notebook) -> None:
    card = notebook.card("%%flujo step -i 1\ndef own(x):\n    rows = [x]\n    return rows")

    assert "not part of the frame" not in repr(card)


def test_a_pipeline_tells_of_the_steps_inside(notebook: Notebook) -> None:
    notebook.run("%%flujo step --no-run\ndef keep(x):\n    global rows\n    rows = x\n    return x")
    notebook.run("%%flujo hitl ask --no-run\nWell?")

    told = str(notebook.error("%flujo run keep >> ask -i 1"))
    assert "paused" in told
    assert "keep writes `rows`" in repr(notebook.view("%flujo show f0"))
