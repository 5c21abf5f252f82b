"""Budgets: what is reserved and spent never exceeds the limit by a reservation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flujo_nb.engine.errors import UsageLimitExceededError
from flujo_nb.engine.frame import AnyFrame, branch_frame, make_execution_frame
from flujo_nb.engine.path import branch_segment
from flujo_nb.engine.quota_manager import QuotaManager
from flujo_nb.engine.usage import FREE, Quota, Refused, Usage, UsageEstimate, UsageLimits
from tests.engine.fakes import echo

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


BRANCHES = 64
RESERVATIONS = 100_000


def total(quota: Quota) -> Usage:
    """What is reserved and spent."""
    return quota.reserved + quota.spent


async def branch(frame: AnyFrame, random: Random, spent: list[Usage]) -> int:
    """Attempts of one branch, each ended in one of the ways that attempts end."""
    quotas = QuotaManager()
    refused = 0
    for _ in range(RESERVATIONS // BRANCHES):
        estimate = Usage(tokens=random.randrange(8))
        used = Usage(tokens=random.randrange(estimate.tokens + 1))
        try:
            with quotas.attempt(frame, estimate) as attempt:
                quota: Quota | None = frame.quota
                while quota is not None:
                    assert total(quota).tokens <= (quota.limits.total_tokens_limit or 0)
                    quota = quota.parent
                await asyncio.sleep(0)
                if random.random() < 0.1:
                    raise TimeoutError
                attempt.used = used
                spent.append(used)
        except UsageLimitExceededError:
            refused += 1
            await asyncio.sleep(0)
        except TimeoutError:
            pass
    return refused


@pytest.mark.parametrize("nested", [False, True])
def test_64_branches_never_exceed_their_budget_and_nothing_is_left_over(nested: bool) -> None:
    root = Quota(UsageLimits(total_tokens_limit=130_000))
    budgets = [root]
    if nested:
        budgets = [Quota(UsageLimits(total_tokens_limit=33_000), root) for _ in range(4)]
        budgets += [Quota(UsageLimits(total_tokens_limit=15_000), one) for one in budgets]
    spent: list[list[Usage]] = [[] for _ in range(BRANCHES)]

    async def main() -> int:
        frames = []
        for number in range(BRANCHES):
            quota = budgets[number % len(budgets)]
            parent: AnyFrame = make_execution_frame(echo, quota=quota)
            path = (branch_segment(number),)
            frames.append(branch_frame(parent, parent, path, None, echo, None, None, 1, None, True))
        jobs = (branch(one, Random(n), spent[n]) for n, one in enumerate(frames))
        return sum(await asyncio.gather(*jobs))

    assert 0 < asyncio.run(main()) < RESERVATIONS // 2
    assert root.spent == sum((one for part in spent for one in part), FREE)
    assert all((one.reserved, one.overdrawn) == (FREE, False) for one in (root, *budgets))


@dataclass(eq=False)
class Budget:
    """What a budget should say, worked out from all that was done."""

    quota: Quota
    limit: int | None
    parent: Budget | None = None
    set_aside: int = 0
    spent: int = 0
    open: list[int] = field(default_factory=list)
    parts: list[Budget] = field(default_factory=list)

    @property
    def reserved(self) -> int:
        return sum(self.open) + sum(part.held for part in self.parts)

    @property
    def held(self) -> int:
        return max(self.set_aside - self.spent, self.reserved)

    def fits(self, more: int = 0) -> bool:
        return self.limit is None or self.reserved + self.spent + more <= self.limit

    def line(self) -> list[Budget]:
        return [self, *(self.parent.line() if self.parent is not None else ())]


class Budgets(RuleBasedStateMachine):
    """Budgets in budgets, with and without something set aside for them."""

    def __init__(self) -> None:
        super().__init__()
        self.budgets: list[Budget] = []

    @initialize(limit=limits)
    def make(self, limit: int | None) -> None:
        self.budgets.append(Budget(Quota(UsageLimits(total_tokens_limit=limit)), limit))

    @rule(choice=st.data(), limit=limits)
    def divide(self, choice: st.DataObject, limit: int | None) -> None:
        parent = choice.draw(st.sampled_from(self.budgets))
        quota = Quota(UsageLimits(total_tokens_limit=limit), parent.quota)
        self.take_in(Budget(quota, limit, parent), parent)

    @rule(choice=st.data(), tokens=amounts)
    def share(self, choice: st.DataObject, tokens: int) -> None:
        parent = choice.draw(st.sampled_from(self.budgets))
        before = [budget.reserved for budget in parent.line()]
        quota = parent.quota.share(UsageEstimate(tokens=tokens))
        if isinstance(quota, Refused):
            assert before == [budget.quota.reserved.tokens for budget in parent.line()]
        else:
            self.take_in(Budget(quota, tokens, parent, tokens), parent)
            assert all(budget.fits() for budget in parent.line())

    def take_in(self, budget: Budget, parent: Budget) -> None:
        self.budgets.append(budget)
        parent.parts.append(budget)

    @rule(choice=st.data(), tokens=amounts)
    def begin(self, choice: st.DataObject, tokens: int) -> None:
        budget = choice.draw(st.sampled_from(self.budgets))
        refused = budget.quota.reserve(Usage(tokens=tokens))
        budget.open.append(tokens)
        if refused is not None:
            assert not all(one.fits() for one in budget.line())
            budget.open.pop()
        else:
            assert all(one.fits() for one in budget.line())

    @rule(choice=st.data(), used=amounts)
    def end(self, choice: st.DataObject, used: int) -> None:
        budget = choice.draw(st.sampled_from(self.budgets))
        if budget.open:
            self.settle(budget, used)

    def settle(self, budget: Budget, used: int) -> None:
        budget.quota.reconcile(Usage(tokens=budget.open.pop()), Usage(tokens=used))
        for one in budget.line():
            one.spent += used

    @rule(choice=st.data())
    def close(self, choice: st.DataObject) -> None:
        budget = choice.draw(st.sampled_from(self.budgets))
        budget.quota.close()
        budget.set_aside = 0

    @invariant()
    def everything_is_accounted_for(self) -> None:
        for budget in self.budgets:
            quota = budget.quota
            assert (quota.reserved.tokens, quota.spent.tokens) == (budget.reserved, budget.spent)
            assert quota.overdrawn == (not all(one.fits() for one in budget.line()))

    def teardown(self) -> None:
        for budget in reversed(self.budgets):
            while budget.open:
                self.settle(budget, 0)
            budget.quota.close()
        assert all(budget.quota.reserved == FREE for budget in self.budgets)


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(max_examples=100, stateful_step_count=30)
