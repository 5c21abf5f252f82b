"""The options of ``%flujo run``: slices, names, budgets, without the cache; and the budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from flujo_nb.engine.usage import UsageLimits
from flujo_nb.errors import RunAborted
from tests.durable import opener
from tests.notebook import Notebook, fresh_notebook

STEPS = """
from flujo_nb import Metered, Step, StepConfig, Usage, UsageEstimate
ran = []
def noting(name, add):
    def work(n: int) -> int:
        ran.append(name)
        return n + add
    return Step.from_callable(work, name=name)
a, b, c = noting('a', 1), noting('b', 10), noting('c', 100)
abc = a >> b >> c
def pay(n):
    ran.append('pay')
    return Metered(n, Usage.of(cost_usd=0.4, tokens=30, requests=1))
paid = Step.from_callable(pay, name='paid', estimate=UsageEstimate(cost_usd=0.4, tokens=30))
"""


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    with fresh_notebook() as notebook:
        notebook.run(STEPS)
        yield notebook


def ran(notebook: Notebook) -> list[str]:
    found = notebook.value("ran")
    assert isinstance(found, list)
    return found


def test_until_runs_the_steps_up_to_one(notebook: Notebook) -> None:
    card = notebook.card("%flujo run abc -i 0 --until b")

    assert (card.output, card.name, ran(notebook)) == (11, "a >> b", ["a", "b"])


def test_only_runs_one_step_on_what_is_recorded_of_the_one_before(notebook: Notebook) -> None:
    notebook.card("%flujo run abc -i 0 --until b")
    card = notebook.card("%flujo run abc --only c")

    assert (card.output, card.name, card.parent) == (111, "c", "f0/b")
    assert ran(notebook) == ["a", "b", "c"]
    assert "← f0/b.output" in repr(card)


def test_only_takes_the_newest_record_on_heads_line(notebook: Notebook) -> None:
    notebook.card("%flujo run abc -i 0")
    notebook.card("%flujo run abc -i 1000")
    notebook.card("%flujo back f0")

    assert notebook.card("%flujo run a >> b >> c --only c").output == 111


def test_only_refuses_what_was_recorded_of_another_definition(notebook: Notebook) -> None:
    notebook.card("%flujo run abc -i 0 --until b")
    notebook.run("b = noting('b', 20); abc = a >> b >> c")

    told = str(notebook.error("%flujo run abc --only c"))
    assert told == "b was edited since f0: run the steps up to it first, with --until b"
    assert len(notebook.session.entries) == 1


def test_only_with_nothing_recorded_says_what_to_do(notebook: Notebook) -> None:
    told = str(notebook.error("%flujo run abc --only c"))

    assert told == "no b has run: run the steps up to it first, with --until b"


def test_the_first_step_only_starts_as_any_run_does(notebook: Notebook) -> None:
    assert notebook.card("%flujo run abc -i 5 --only a").output == 6


def test_a_slice_can_be_resumed_and_forked(notebook: Notebook) -> None:
    notebook.run("broken = True\ndef boom(n):\n    if broken: raise ValueError(n)\n    return n")
    notebook.run("d = a >> Step.from_callable(boom) >> c")
    assert isinstance(notebook.error("%flujo run d -i 0 --until boom"), Exception)
    notebook.run("broken = False")

    assert notebook.card("%flujo resume f0").output == 1
    assert notebook.card("%flujo fork f1").output == 1
    assert ran(notebook) == ["a", "a"]


def test_as_names_the_frame(notebook: Notebook) -> None:
    notebook.card("%flujo run abc -i 0 --as sum")

    assert notebook.session.entries[0].name == "sum"
    assert notebook.card("%flujo run a").parent == "f0"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--until x", "there is no step in a >> b >> c called 'x'; there are: a, b, c"),
        ("--only x", "there is no step in a >> b >> c called 'x'; there are: a, b, c"),
        ("--until a --only b", "give one of the two"),
        ("--budget money=3", "there is no limit 'money'; there are: cost, tokens, requests"),
        ("--budget cost=dear", "cost=dear: input should be a valid number"),
        ("--budget cost=-1", "greater than or equal to 0"),
        ("--budget cost=nan", "finite number"),
        ("--budget tokens=1.5", "tokens=1.5: input should be a valid integer"),
        ("--budget cost=1,cost=2", "cost is given twice"),
        ("--untill b", "did you mean --until?"),
    ],
)
def test_misuse_is_told_in_a_line_and_changes_nothing(
    notebook: Notebook, line: str, told: str
) -> None:
    before = notebook.state()
    error = notebook.error(f"%flujo run abc -i 0 {line}")

    assert isinstance(error, UsageError) and told in str(error) and "\n" not in str(error)
    assert notebook.state() == before and ran(notebook) == []


# Without the cache


def test_no_cache_looks_nothing_up(notebook: Notebook) -> None:
    notebook.run("kept = Step.cached(a)")
    for _ in range(2):
        notebook.card("%flujo run kept -i 0")
    notebook.card("%flujo run kept -i 0 --no-cache")

    assert ran(notebook) == ["a", "a"]


# Budgets


def test_a_run_that_would_exceed_its_budget_is_refused_before_it_spends(
    notebook: Notebook,
) -> None:
    error = notebook.error("%flujo run paid -i 0 --budget cost=0.3")

    assert isinstance(error, RunAborted) and "Cost limit of $0.3 exceeded" in str(error)
    assert ran(notebook) == [] and not notebook.session.quota.spent


def test_the_budget_of_a_run_is_its_own(notebook: Notebook) -> None:
    card = notebook.card("%flujo run paid -i 0 --budget cost=0.5,tokens=40")
    told = repr(card)

    assert "$0.4000 spent, $0.0000 reserved, $0.1000 left of $0.5 for this run" in told
    assert "30 spent, 0 reserved, 10 left of 40 tokens for this run" in told
    assert notebook.card("%flujo run paid -i 0 --budget cost=0.5").output == 0


def test_a_run_draws_on_the_budget_of_the_session_too(notebook: Notebook) -> None:
    notebook.view("%flujo budget cost=0.5")
    notebook.card("%flujo run paid -i 0 --budget cost=10")
    error = notebook.error("%flujo run paid -i 0 --budget cost=10")

    assert "Cost limit of $0.5 exceeded" in str(error) and ran(notebook) == ["pay"]


def test_every_card_shows_what_is_left(notebook: Notebook) -> None:
    assert "budget" not in repr(notebook.card("%flujo run paid -i 0"))
    notebook.view("%flujo budget cost=1 tokens=100")

    told = repr(notebook.card("%flujo run a -i 0"))
    assert "$0.4000 spent, $0.0000 reserved, $0.6000 left of $1" in told
    assert "30 spent, 0 reserved, 70 left of 100 tokens" in told


def test_what_the_session_used_before_counts(notebook: Notebook) -> None:
    notebook.card("%flujo run paid -i 0")
    notebook.view("%flujo budget cost=0.6")

    assert "Cost limit of $0.6 exceeded" in str(notebook.error("%flujo run paid -i 0"))


def test_limits_add_up_and_none_lifts_them(notebook: Notebook) -> None:
    notebook.view("%flujo budget cost=0.6")
    notebook.view("%flujo budget tokens=100")
    limits = UsageLimits(total_cost_usd_limit=0.6, total_tokens_limit=100)
    assert notebook.session.quota.limits == limits

    assert "no limit" in repr(notebook.view("%flujo budget none"))
    assert notebook.session.quota.limits == UsageLimits()


def test_the_error_says_how_to_go_on_and_that_works(notebook: Notebook) -> None:
    notebook.view("%flujo budget cost=0.5")
    notebook.run(
        "twice = paid >> a >> Step.from_callable(pay, name='again', "
        "estimate=UsageEstimate(cost_usd=0.4))"
    )
    told = str(notebook.error("%flujo run twice -i 0"))
    assert "%flujo budget" in told and "%flujo resume f0" in told

    notebook.view("%flujo budget cost=1")
    assert notebook.card("%flujo resume f0").output == 1
    assert ran(notebook) == ["pay", "a", "pay"]


def test_the_budget_survives_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = opener(tmp_path, monkeypatch)
    with opened() as notebook:
        notebook.run(STEPS)
        notebook.view("%flujo budget cost=0.5")
        notebook.card("%flujo run paid -i 0")
    with opened() as notebook:
        notebook.run(STEPS)
        assert "$0.4000 spent" in repr(notebook.view("%flujo budget"))
        assert "Cost limit of $0.5 exceeded" in str(notebook.error("%flujo run paid -i 0"))
        notebook.view("%flujo budget none")
    with opened() as notebook:
        assert "no limit" in repr(notebook.view("%flujo budget"))


def test_a_new_session_keeps_the_limits_and_has_used_nothing(notebook: Notebook) -> None:
    notebook.view("%flujo budget cost=0.5")
    notebook.card("%flujo run paid -i 0")
    notebook.view("%flujo session new")

    assert notebook.session.quota.limits == UsageLimits(total_cost_usd_limit=0.5)
    assert not notebook.session.quota.spent


def test_a_run_that_its_own_budget_ended_goes_on_with_another(notebook: Notebook) -> None:
    notebook.run(
        "twice = paid >> Step.from_callable(pay, name='again', "
        "estimate=UsageEstimate(cost_usd=0.4))"
    )
    told = str(notebook.error("%flujo run twice -i 1 --budget cost=0.5"))
    assert "%flujo resume f0 --budget LIMITS" in told

    assert notebook.card("%flujo resume f0 --budget cost=1").output == 1
    assert ran(notebook) == ["pay", "pay"]


def test_what_went_over_the_budget_is_told(notebook: Notebook) -> None:
    notebook.run(
        "def dear(n): return Metered(n, Usage.of(tokens=70))\ndear = Step.from_callable(dear)"
    )
    notebook.view("%flujo budget tokens=10")

    assert "70 spent, 0 reserved, 60 over 10 tokens" in repr(notebook.card("%flujo run dear -i 1"))


def test_an_agent_is_refused_when_its_prompt_alone_would_be_too_much(notebook: Notebook) -> None:
    for limits in ("tokens=5", "requests=0"):
        told = str(
            notebook.error(f"%%flujo agent sums --model test --budget {limits}\n{'word ' * 40}")
        )
        assert "exceeded" in told and not notebook.session.quota.spent
