"""Booking attempts on the budget of their frame."""

from __future__ import annotations

import asyncio

import pytest

from flujo_nb.engine.errors import UsageLimitExceededError
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.quota_manager import QuotaManager
from flujo_nb.engine.usage import FREE, Usage, UsageLimits
from tests.engine.fakes import echo

FIVE = Usage(tokens=5)


def test_an_attempt_holds_its_estimate_and_books_what_it_used() -> None:
    frame = make_execution_frame(echo, limits=UsageLimits(total_tokens_limit=10))
    with QuotaManager().attempt(frame, FIVE) as attempt:
        assert frame.quota.reserved == FIVE
        attempt.used = Usage(tokens=3)
    assert (frame.quota.reserved, frame.quota.spent) == (FREE, Usage(tokens=3))


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, KeyboardInterrupt])
def test_an_attempt_that_does_not_end_well_gives_everything_back(
    error: type[BaseException],
) -> None:
    frame = make_execution_frame(echo)
    with pytest.raises(error), QuotaManager().attempt(frame, FIVE):
        raise error
    assert (frame.quota.reserved, frame.quota.spent) == (FREE, FREE)


def test_an_estimate_that_does_not_fit_is_refused_with_the_place() -> None:
    frame = make_execution_frame(echo, limits=UsageLimits(total_tokens_limit=4))
    with (
        pytest.raises(UsageLimitExceededError, match=r"Token limit of 4 .* \(at echo\)"),
        QuotaManager().attempt(frame, FIVE),
    ):
        pytest.fail("the attempt was made")
    assert frame.quota.reserved == FREE
