"""Budgets: what is reserved and spent never exceeds the limit by a reservation."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flujo_nb.engine.usage import FREE, Quota, Usage, UsageLimits

amounts = st.integers(0, 6)
usages = st.builds(Usage, amounts, amounts, amounts) | st.just(FREE)
limits = st.none() | st.integers(0, 12)


class Attempts(RuleBasedStateMachine):
    """Attempts that begin and end in any order, and use more or less than they said."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[Usage] = []
        self.spent = FREE

    @initialize(cost_micros=limits, tokens=limits, requests=limits)
    def make(self, cost_micros: int | None, tokens: int | None, requests: int | None) -> None:
        self.bounds = (cost_micros, tokens, requests)
        self.quota = Quota(
            UsageLimits(
                total_cost_usd_limit=None if cost_micros is None else cost_micros / 1_000_000,
                total_tokens_limit=tokens,
                total_requests_limit=requests,
            )
        )

    def fits(self, usage: Usage) -> bool:
        parts = (usage.cost_micros, usage.tokens, usage.requests)
        return all(
            bound is None or part <= bound for part, bound in zip(parts, self.bounds, strict=True)
        )

    def total(self) -> Usage:
        return sum(self.open, self.spent)

    @rule(estimate=usages)
    def begin(self, estimate: Usage) -> None:
        refused = self.quota.reserve(estimate)
        assert (refused is None) == self.fits(self.total() + estimate)
        if refused is None:
            self.open.append(estimate)

    @precondition(lambda self: self.open)
    @rule(choice=st.data(), used=usages)
    def end(self, choice: st.DataObject, used: Usage) -> None:
        estimate = self.open.pop(choice.draw(st.integers(0, len(self.open) - 1)))
        self.quota.reconcile(estimate, used)
        self.spent += used

    @precondition(lambda self: self.open)
    @rule(choice=st.data())
    def give_back(self, choice: st.DataObject) -> None:
        self.end(choice, FREE)

    @invariant()
    def everything_is_accounted_for(self) -> None:
        assert self.quota.spent == self.spent
        assert self.quota.reserved == sum(self.open, FREE)
        assert self.quota.overdrawn == (not self.fits(self.total()))

    def teardown(self) -> None:
        for estimate in self.open:
            self.quota.reconcile(estimate, FREE)
        if hasattr(self, "quota"):
            assert self.quota.reserved == FREE


TestAttempts = Attempts.TestCase
TestAttempts.settings = settings(max_examples=60, stateful_step_count=20)
