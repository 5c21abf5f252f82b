"""Booking attempts on the budget of their frame."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace

import pytest

from flujo_nb.engine.errors import UsageLimitExceededError
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.quota_manager import QuotaManager
from flujo_nb.engine.usage import FREE, Quota, Refused, Usage, UsageEstimate, UsageLimits
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


# Parts of a budget.


def tokens(limit: int | None, parent: Quota | None = None) -> Quota:
    return Quota(UsageLimits(total_tokens_limit=limit), parent)


@pytest.mark.parametrize(("own", "above"), [(4, 10), (10, 4)])
def test_a_reservation_passes_the_part_and_the_whole_or_neither(own: int, above: int) -> None:
    whole = tokens(above)
    part = tokens(own, whole)
    refused = part.reserve(FIVE)
    assert isinstance(refused, Refused)
    assert "Token limit of 4" in refused.reason
    assert whole.reserved == part.reserved == FREE
    assert part.reserve(Usage(tokens=4)) is None
    assert whole.reserved == part.reserved == Usage(tokens=4)


def test_what_a_part_spends_the_whole_spends() -> None:
    whole = Quota()
    part = tokens(10, tokens(20, whole))
    part.reserve(FIVE)
    part.reconcile(FIVE, Usage(tokens=3))
    whole.reserve(FIVE)
    whole.reconcile(FIVE, FIVE)
    assert (part.spent, whole.spent) == (Usage(tokens=3), Usage(tokens=8))
    assert part.reserved == whole.reserved == FREE


def test_an_overage_of_the_whole_stops_its_parts_and_not_the_other_way_round() -> None:
    whole = tokens(10)
    part, other = tokens(4, tokens(None, whole)), tokens(None, whole)
    part.reconcile(FREE, FIVE)
    assert (part.overdrawn, other.overdrawn, whole.overdrawn) == (True, False, False)
    whole.reconcile(FREE, Usage(tokens=6))
    assert other.overdrawn
    assert isinstance(other.reserve(FREE), Refused)
    assert tokens(None, whole).overdrawn


def test_a_whole_does_not_keep_its_parts() -> None:
    whole = Quota()
    part = weakref.ref(tokens(1, whole))
    gc.collect()
    assert part() is None


def test_a_share_is_set_aside_and_given_back_less_what_was_used() -> None:
    whole = tokens(10)
    share = whole.share(UsageEstimate(tokens=6))
    assert isinstance(share, Quota)
    assert isinstance(whole.reserve(FIVE), Refused)
    assert isinstance(share.reserve(Usage(tokens=7)), Refused)
    assert share.reserve(FIVE) is None
    assert whole.reserved == Usage(tokens=6)
    share.reconcile(FIVE, Usage(tokens=2))
    assert (whole.reserved, whole.spent) == (Usage(tokens=4), Usage(tokens=2))
    share.close()
    assert (whole.reserved, whole.spent) == (FREE, Usage(tokens=2))


def test_what_a_share_does_not_name_is_drawn_as_it_goes() -> None:
    whole = Quota(UsageLimits(total_requests_limit=2))
    share = whole.share(UsageEstimate(tokens=6))
    assert isinstance(share, Quota)
    assert whole.reserved == Usage(tokens=6)
    assert share.reserve(Usage(tokens=1, requests=2)) is None
    assert whole.reserved == Usage(tokens=6, requests=2)
    assert isinstance(whole.reserve(Usage(requests=1)), Refused)


def test_a_share_that_does_not_fit_is_refused_and_nothing_is_set_aside() -> None:
    whole = tokens(10)
    assert isinstance(whole.share(UsageEstimate(tokens=11)), Refused)
    assert whole.reserved == FREE


def test_a_share_that_overran_is_booked_as_it_was() -> None:
    whole = tokens(20)
    share = whole.share(UsageEstimate(tokens=6))
    assert isinstance(share, Quota)
    share.reserve(FIVE)
    share.reconcile(FIVE, Usage(tokens=9))
    assert (share.overdrawn, whole.overdrawn) == (True, False)
    assert isinstance(share.reserve(FREE), Refused)
    share.close()
    assert (whole.reserved, whole.spent) == (FREE, Usage(tokens=9))


def test_what_an_attempt_in_flight_used_is_known_where_somebody_watches() -> None:
    frame = make_execution_frame(echo)
    part = Quota(parent=frame.quota)
    frame.quota.in_flight = set()
    watched = replace(frame, quota=Quota(parent=frame.quota))
    unwatched = replace(frame, quota=part)
    with (
        QuotaManager().attempt(watched) as attempt,
        QuotaManager().attempt(unwatched) as other,
    ):
        attempt.used = other.used = FIVE
        assert (frame.quota.so_far, frame.quota.spent) == (FIVE, FREE)
    assert (frame.quota.so_far, frame.quota.spent) == (FIVE + FIVE, FIVE + FIVE)
    assert frame.quota.in_flight == set()


def test_an_attempt_that_fails_is_in_flight_no_more() -> None:
    frame = make_execution_frame(echo)
    frame.quota.in_flight = set()

    def fails() -> None:
        with QuotaManager().attempt(frame) as attempt:
            attempt.used = FIVE
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert (frame.quota.so_far, frame.quota.in_flight) == (FIVE, set())


def test_what_is_said_in_flight_and_is_no_usage_is_not_counted() -> None:
    frame = make_execution_frame(echo)
    frame.quota.in_flight = set()
    with QuotaManager().attempt(frame) as attempt:
        attempt.used = "many"  # type: ignore[assignment]  # as user code may
        assert frame.quota.so_far == FREE
        attempt.used = FREE
