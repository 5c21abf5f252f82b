"""Usage, estimates, limits and budgets."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from flujo_nb.engine.usage import FREE, Quota, Refused, Usage, UsageEstimate, UsageLimits

NOT_AMOUNTS = [math.nan, math.inf, -math.inf, -1, True]


@pytest.mark.parametrize("amount", NOT_AMOUNTS)
@pytest.mark.parametrize("part", ["cost_usd", "tokens", "requests"])
def test_an_estimate_must_be_a_finite_amount(part: str, amount: float) -> None:
    with pytest.raises(ValidationError):
        UsageEstimate.model_validate({part: amount})


@pytest.mark.parametrize("amount", NOT_AMOUNTS)
@pytest.mark.parametrize("part", ["cost_usd", "tokens", "requests"])
def test_usage_must_be_a_finite_amount(part: str, amount: float) -> None:
    with pytest.raises(ValueError, match=part):
        Usage.of(**{part: amount})


@pytest.mark.parametrize("part", ["tokens", "requests"])
def test_what_is_counted_is_whole(part: str) -> None:
    with pytest.raises(ValueError, match=part):
        Usage.of(**{part: 1.5})


@pytest.mark.parametrize(
    "limits",
    [
        {"total_cost_usd_limit": math.nan},
        {"total_cost_usd_limit": -1.0},
        {"total_tokens_limit": True},
        {"total_tokens_limit": -1},
        {"total_steps_limit": 3},
    ],
)
def test_limits_are_checked(limits: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        UsageLimits.model_validate(limits)


def test_a_thousand_tenths_of_a_cent_are_a_dollar() -> None:
    total = FREE
    for _ in range(1000):
        total += Usage.of(cost_usd=0.001)
    assert total.cost_usd == 1.0


def test_a_reservation_that_fits_exactly_is_granted_and_the_next_is_not() -> None:
    quota = Quota(UsageLimits(total_tokens_limit=10))
    assert quota.reserve(Usage(tokens=10)) is None
    refused = quota.reserve(Usage(tokens=1))
    assert isinstance(refused, Refused)
    assert refused.reason == "Token limit of 10 exceeded: 11 would be used"
    assert quota.reserved == Usage(tokens=10)


@pytest.mark.parametrize(
    ("limits", "estimate", "words"),
    [
        (UsageLimits(total_cost_usd_limit=0.5), Usage.of(cost_usd=0.75), "Cost limit of $0.5"),
        (UsageLimits(total_requests_limit=0), Usage(requests=1), "Request limit of 0"),
    ],
)
def test_each_limit_refuses_by_name(limits: UsageLimits, estimate: Usage, words: str) -> None:
    refused = Quota(limits).reserve(estimate)
    assert isinstance(refused, Refused)
    assert words in refused.reason


def test_what_was_reserved_comes_back_and_what_was_used_stays() -> None:
    quota = Quota(UsageLimits(total_tokens_limit=10))
    quota.reserve(Usage(tokens=10))
    quota.reconcile(Usage(tokens=10), Usage(tokens=4))
    assert (quota.reserved, quota.spent) == (FREE, Usage(tokens=4))
    assert quota.reserve(Usage(tokens=6)) is None


def test_after_an_overage_nothing_is_granted_not_even_what_is_free() -> None:
    quota = Quota(UsageLimits(total_tokens_limit=10))
    quota.reserve(Usage(tokens=1))
    quota.reconcile(Usage(tokens=1), Usage(tokens=11))
    assert quota.spent == Usage(tokens=11)
    assert isinstance(quota.reserve(FREE), Refused)
    assert isinstance(quota.reserve(Usage(requests=1)), Refused)


def test_a_budget_without_limits_grants_everything_and_counts() -> None:
    quota = Quota()
    assert quota.reserve(Usage(10**12, 10**12, 10**12)) is None
    quota.reconcile(Usage(10**12, 10**12, 10**12), Usage(tokens=3))
    assert quota.spent == Usage(tokens=3)
