"""How often attempts may start."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.engine.errors import ConfigurationError
from flujo_nb.engine.rates import Pace, Rate, rate_of
from flujo_nb.engine.steps import Step
from tests.engine.fakes import echo


@pytest.mark.parametrize(
    ("text", "rate"),
    [("5/s", Rate(5, 1)), ("60/min", Rate(60, 60)), ("1000/h", Rate(1000, 3600))],
)
def test_a_rate_is_a_number_per_second_minute_or_hour(text: str, rate: Rate) -> None:
    assert rate_of(text, "here") == rate


@pytest.mark.parametrize("text", ["", "60", "0/min", "-1/s", "1.5/s", "60/day", "60 / min", 60])
def test_another_text_is_refused_when_the_step_is_declared(text: Any) -> None:
    told = r"step 'it': a rate is a whole number per s, min or h, .*; found"
    with pytest.raises(ConfigurationError, match=told):
        Step.from_callable(echo.agent, name="it", rate=text)


def test_the_first_ones_start_at_once_and_the_others_a_period_after_them() -> None:
    pace = Pace(rate_of("2/s", "here"))
    assert [pace.next_start(0.0) for _ in range(5)] == [0, 0, 1, 1, 2]
    assert pace.next_start(10.0) == 10


@given(
    count=st.integers(1, 4), gaps=st.lists(st.floats(0, 3, allow_nan=False, width=16), max_size=40)
)
def test_no_period_has_more_starts_than_the_rate_allows(count: int, gaps: list[float]) -> None:
    pace = Pace(Rate(count, 1.0))
    now, starts = 0.0, []
    for gap in gaps:
        now += gap
        starts.append(pace.next_start(now))
        assert starts[-1] >= now
    assert starts == sorted(starts)
    for earlier, later in zip(starts, starts[count:], strict=False):
        assert later - earlier > 1 or math.isclose(later - earlier, 1)
