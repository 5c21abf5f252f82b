"""Commands on steps of several kinds: containers, agents, questions, work in the background."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from tests.notebook import Notebook

STEPS = """\
import asyncio
from flujo_nb import Flujo, Step, UsageLimits, step

@step
def up(n: int) -> int:
    return n + 1

@step
def two(n: int) -> int:
    return 2 * n

class Writer:
    async def run(self, data):
        return data

writer = Writer()
both = Step.parallel("both", {"a": up, "b": up >> two})
loop = Step.loop_until("loop", up, lambda n: n > 11, max_loops=20)
each = Step.map_over("each", up)
cached = Step.cached(up)
unkeyed = Step.cached(Step.from_callable(lambda x: 1, name="one"))
ask = Step.human_in_the_loop("ask", "Publish {{ data }}?", input_schema=bool)

@step(execution_mode="background")
async def behind(n: int) -> int:
    await asyncio.sleep(0.01)
    if n < 0:
        raise ValueError("negative")
    return n + 1
"""


@pytest.fixture
def kinds(notebook: Notebook) -> Notebook:
    """A notebook with steps of several kinds in variables."""
    notebook.value(STEPS)
    return notebook


@pytest.mark.parametrize(("given", "ends"), [(1, "completed"), (-1, "failed")])
def test_a_step_in_the_background_is_no_failure_and_tells_how_it_stands(
    kinds: Notebook, given: int, ends: str
) -> None:
    async def whole() -> list[str]:
        launched = await kinds.ran(f"%flujo run behind -i {given}")
        meanwhile = await kinds.ran("%flujo frames")
        await kinds.session.tasks.drain()
        return [repr(one.result) for one in (launched, meanwhile, await kinds.ran("%flujo show"))]

    launched, meanwhile, shown = kinds.during(whole)
    assert "works in the background (c[1]/behind/background)" in launched
    assert "in the background" in meanwhile  # it may have ended by then
    assert f"{ends} in the background: " in shown
    assert ("2 (c[1]" if given == 1 else "negative") in shown
    assert kinds.session.head is kinds.session.entries[0]
    assert kinds.session.head.record.output == given


def test_a_run_that_asks_a_human_says_what_and_how_to_answer(kinds: Notebook) -> None:
    error = kinds.error("%flujo run up >> ask -i 1")
    lines = str(error).splitlines()
    assert len(lines) <= 6
    for said in ("paused at c[1]/ask", "asks: Publish 2?", "answer: boolean", "resume f0 --with"):
        assert said in str(error)


def test_a_question_behind_a_frame_is_answered(kinds: Notebook) -> None:
    kinds.value("%flujo run up -i 1")
    kinds.error("%flujo run ask >> two")
    assert kinds.card("%flujo resume f1 --with True").output == 2


def test_a_name_that_is_not_imported_is_told_as_that(notebook: Notebook) -> None:
    error = notebook.error("%%flujo pipeline\nStep.cached(up)")
    assert "from flujo_nb import Step" in str(error)


def test_an_unknown_name_in_a_pipelines_cell_is_told_with_steps_only(kinds: Notebook) -> None:
    error = str(kinds.error("%%flujo pipeline\nzzzzzzzz >> two"))
    assert "there are: up, two, both" in error
    assert "__name__" not in error and "Writer" not in error


@pytest.mark.parametrize(
    "cell",
    [
        "%flujo run writer",
        "%flujo run up >> writer",
        "%%flujo pipeline\nwriter",
        "%%flujo pipeline\nup >> two >> writer",
    ],
)
def test_an_agent_in_the_place_of_a_step(kinds: Notebook, cell: str) -> None:
    error = kinds.error(cell)
    assert isinstance(error, UsageError)
    assert "Step(name='writer', agent=writer)" in str(error)


@pytest.mark.parametrize(
    ("target", "given", "inside", "shown"),
    [
        ("both", 1, ":a up", "f0/both/:a/up"),
        ("both", 1, ":b up >> two", "f0/both/:b/two"),
        ("loop", 1, "[2] up", "f0/loop/[2]/up"),
        ("each", [1, 2], "[1] up", "f0/each/[1]/up"),
        ("both >> each", 1, "both", "f0/both/:b/up"),
    ],
)
def test_the_frames_inside_containers_can_be_looked_at(
    kinds: Notebook, target: str, given: object, inside: str, shown: str
) -> None:
    kinds.run(f"%flujo run {target} -i {given}")
    assert inside in repr(kinds.view("%flujo show f0"))
    assert kinds.card(f"%flujo show {shown}").id == shown


def test_a_branch_of_one_step_is_that_step_and_a_lone_step_is_its_frame(kinds: Notebook) -> None:
    kinds.run("%flujo run both -i 1")
    assert kinds.card("%flujo show f0/both/:a").id == "f0/both/:a/up"
    assert kinds.card("%flujo show f0/both").id == "f0"
    assert "did you mean" in str(kinds.error("%flujo show f0/both/:c"))


def test_what_a_container_counts_is_named(kinds: Notebook) -> None:
    loop = repr(kinds.card("%flujo run loop -i 1"))
    assert "iterations  11" in loop and "attempts" not in loop
    assert "… and 3 more" in loop
    each = repr(kinds.card("%flujo run each -i [1,2]"))
    assert "items   2" in each
    assert "input   not kept" in repr(kinds.card("%flujo show f1/each/[0]/up"))


def test_a_card_says_whether_the_cache_gave_the_output(kinds: Notebook) -> None:
    assert "from the cache" not in repr(kinds.card("%flujo run cached -i 1"))
    assert "from the cache" in repr(kinds.card("%flujo run cached -i 1"))
    assert "not cached: " in repr(kinds.card("%flujo run unkeyed -i asyncio.Event()"))


def test_a_step_without_its_input_is_told_how_to_get_one(kinds: Notebook) -> None:
    cell = "%%flujo step more --no-run\ndef more(n: int): return n"
    assert "%flujo run more -i EXPR" in repr(kinds.view(cell))
    assert "-i EXPR" not in repr(kinds.view("%%flujo step one --no-run\ndef one(): return 1"))
    assert "-i EXPR" in str(kinds.error("%flujo run more"))
    kinds.run("%%flujo step odd --no-run\ndef odd(): return 'x'")
    assert "-i EXPR" not in str(kinds.error("%flujo run odd >> more"))
    kinds.run("%flujo run up -i 1")
    assert "-i EXPR" not in repr(kinds.view(cell))


def test_the_budget_of_a_session(kinds: Notebook) -> None:
    kinds.run("from flujo_nb import Metered, Usage\nbudget = UsageLimits(total_tokens_limit=100)")
    kinds.run("%%flujo step pay --no-run\ndef pay(n): return Metered(n, Usage(tokens=70))")
    kinds.value("%flujo run pay -i 1")
    kinds.run("flujo.configure(limits=budget)")
    shown = repr(kinds.view("%flujo"))
    assert "used     70 tokens" in shown
    assert "70 spent, 0 reserved, 30 left of 100 tokens" in shown
    kinds.value("%flujo run pay -i 1")
    assert "140 spent, 0 reserved, 40 over 100 tokens" in repr(kinds.view("%flujo"))
    assert "next: %flujo budget" in str(kinds.error("%flujo run pay -i 1"))
    assert kinds.session.quota.spent.tokens == 140
