"""Plugins that put something in the place of an output: a new solution, another agent's."""

from __future__ import annotations

import pytest

from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.errors import InfiniteRedirectError, PluginFailed
from flujo_nb.engine.outcomes import Aborted, Success
from flujo_nb.engine.step_config import PluginOutcome, StepConfig
from flujo_nb.engine.steps import Step
from flujo_nb.engine.usage import Meter, Quota, Usage, UsageEstimate, UsageLimits
from tests.engine.checks import PASSED, Agent, Plugin, checked, failed
from tests.engine.fakes import Counts, Wait, echo, outcome_of


def test_a_new_solution_takes_the_place_of_the_output_and_is_checked_by_all(wait: Wait) -> None:
    first = Plugin()
    second = Plugin(PluginOutcome(success=False, new_solution="better"))
    outcome = wait(outcome_of(checked(plugins=[first, second]), "good"))
    assert outcome.output == "better"
    assert first.shown == second.shown == [{"output": "good"}, {"output": "better"}]


def test_plugins_that_never_come_to_an_end_fail_the_attempt(wait: Wait) -> None:
    endless = Plugin(*[PluginOutcome(success=True, new_solution="other")] * 99)
    outcome = wait(outcome_of(checked(plugins=[endless]), "a"))
    assert isinstance(outcome.error, PluginFailed)
    assert "changed its output 10 times" in outcome.feedback
    assert len(endless.shown) == 10


def test_a_redirect_lets_another_agent_work_on_the_input(wait: Wait) -> None:
    other = Agent("other")
    plugin = Plugin(PluginOutcome(success=True, redirect_to=other))
    it = Step(name="it", agent=Agent("own"), plugins=[(plugin, 0)], input="about {{ data }}")
    outcome = wait(outcome_of(it, "rain"))
    assert isinstance(outcome, Success)
    assert (outcome.output, outcome.attempts) == ("other", 1)
    assert other.calls == ["about rain"]
    assert plugin.shown == [{"output": "own"}, {"output": "other"}]
    assert outcome.metadata == {"model": "other"}


@pytest.mark.parametrize("waits", [False, True])
def test_a_function_can_take_over_too(wait: Wait, waits: bool) -> None:
    def shout(data: str, context: Counts, resources: str) -> str:
        context.total += 1
        return f"{data.upper()} {resources}"

    async def shout_later(data: str, context: Counts, resources: str) -> str:
        return shout(data, context, resources)

    target = shout_later if waits else shout
    it = checked(plugins=[Plugin(PluginOutcome(success=False, redirect_to=target))])
    outcome = wait(outcome_of(it, "a", context=Counts(), resources="!"))
    assert outcome.output == "A !"
    assert ContextUpdateManager().merge(Counts(), outcome.update) == Counts(total=1)


def test_a_redirected_call_is_reserved_and_metered_like_any_other(wait: Wait) -> None:
    reserved = []

    class Costly:
        async def run(self, data: object, meter: Meter) -> str:
            reserved.append(quota.reserved.tokens)
            meter.used = Usage(tokens=4)
            return "text"

    quota = Quota(UsageLimits(total_tokens_limit=100))
    config = StepConfig(estimate=UsageEstimate(tokens=7))
    plugins = [(Plugin(PluginOutcome(success=True, redirect_to=Costly())), 0)]
    it = Step(name="it", agent=Agent("own"), plugins=plugins, config=config)
    outcome = wait(outcome_of(it, "x", quota=quota))
    assert reserved == [7]
    assert outcome.usage == quota.spent == Usage(tokens=5)
    assert quota.reserved.tokens == 0


def test_a_redirect_that_does_not_fit_the_budget_ends_the_run(wait: Wait) -> None:
    plugins = [(Plugin(PluginOutcome(success=True, redirect_to=Agent("other"))), 0)]
    config = StepConfig(estimate=UsageEstimate(tokens=2))
    it = Step(name="it", agent=Agent("own"), plugins=plugins, config=config, fallback_step=echo)
    outcome = wait(outcome_of(it, "x", limits=UsageLimits(total_tokens_limit=2)))
    assert isinstance(outcome, Aborted)
    assert outcome.usage == Usage(tokens=1)


def test_no_agent_has_two_turns_at_one_input(wait: Wait) -> None:
    own, other = Agent("own"), Agent("other")
    for targets, calls in (([other, other], 1), ([own], 0), ([other, own], 1)):
        other.calls.clear()
        answers = [PluginOutcome(success=True, redirect_to=target) for target in targets]
        config = StepConfig(max_retries=5)
        it = Step(name="it", agent=own, plugins=[(Plugin(*answers), 0)], config=config)
        outcome = wait(outcome_of(it, "x"))
        assert isinstance(outcome.error, InfiniteRedirectError)
        assert "redirects step 'it' to Agent" in outcome.feedback
        assert (outcome.attempts, len(other.calls)) == (1, calls)


def test_a_method_is_known_again(wait: Wait) -> None:
    """Each look at it makes a new object."""
    other = Agent("other")

    class Stubborn:
        def validate(self, data: object) -> PluginOutcome:
            return PluginOutcome(success=False, redirect_to=other.run)

    outcome = wait(outcome_of(checked(plugins=[Stubborn()]), "x"))
    assert isinstance(outcome.error, InfiniteRedirectError)
    assert len(other.calls) == 1


def test_each_attempt_may_be_redirected_anew(wait: Wait) -> None:
    redirect = PluginOutcome(success=True, redirect_to=Agent("other"))
    plugin = Plugin(redirect, failed("no"), redirect, PASSED)
    outcome = wait(outcome_of(checked(plugins=[plugin], max_retries=1), "x"))
    assert (outcome.output, outcome.attempts) == ("other", 2)


def test_a_redirect_to_what_cannot_work_is_a_mistake_of_the_plugin(wait: Wait) -> None:
    plugin = Plugin(PluginOutcome(success=True, redirect_to="gpt"))  # type: ignore[arg-type]
    outcome = wait(outcome_of(checked(plugins=[plugin]), "x"))
    assert "redirects to what is neither an agent nor a function: 'gpt'" in outcome.feedback
