"""What is held against a run after a crash: each thing that may be wrong is seen, and nothing else.

The flow is ``a``, then ``l`` and ``r`` side by side, then ``z``.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flujo_nb.engine.stores import Row, RowKind
from tests.crash.checks import Evidence, Twin, problems
from tests.crash.shapes import SHAPES, Shape

SHAPE = Shape(SHAPES["parallel"].make, concurrent=("fan",))
ENDED = ("a", "fan/:l/l", "fan/:r/r", "fan", "z", "")
RAN = ("a", "fan/:l/l", "fan/:r/r", "z")
RESULT = {"status": "completed", "tokens": 10}


def evidence(ended: Sequence[str], ran: Sequence[str], status: str = "success") -> Evidence:
    rows = [
        Row(seq, path, RowKind.FINISHED, path, status, None, None, 0, 0.0, 0, 0, 0, b"{}")
        for seq, path in enumerate(ended, 1)
    ]
    return Evidence(rows, frozenset(), ran)


TWIN = Twin(RESULT, evidence(ENDED, RAN))
KILLED = evidence(("a",), ("a", "fan/:l/l", "fan/:r/r"))
AFTER = evidence(ENDED, (*KILLED.effects, "fan/:r/r", "fan/:l/l", "z"))


def test_a_run_that_went_on_as_it_should_has_no_problems() -> None:
    assert problems(SHAPE, TWIN, KILLED, AFTER, RESULT) == []


def test_branches_that_run_side_by_side_wait_for_nothing() -> None:
    before = evidence(("a", "fan/:r/r"), ("a", "fan/:r/r"))
    after = evidence(ENDED, ("a", "fan/:r/r", "fan/:l/l", "z"))
    assert problems(SHAPE, TWIN, before, after, RESULT) == []


@pytest.mark.parametrize(
    ("before", "after", "result", "told"),
    [
        pytest.param(
            evidence((), ("a", "fan/:l/l")),
            evidence(ENDED, ("a", "fan/:l/l", "fan/:r/r", "a", "fan/:l/l", "z")),
            RESULT,
            "a was not recorded when fan/:l/l began",
            id="a step began before what it depends on was durable",
        ),
        pytest.param(
            evidence(("a", "fan/:l/l", "fan/:r/r"), RAN),
            evidence(ENDED, (*RAN, "z")),
            RESULT,
            "fan was not recorded when z began",
            id="a container was not durable before its successor began",
        ),
        pytest.param(
            KILLED,
            evidence(ENDED, (*AFTER.effects, "a")),
            RESULT,
            "a was recorded and ran again: 1 times, then 2",
            id="a recorded step ran again",
        ),
        pytest.param(
            evidence((*ENDED[:4],), RAN[:3]),
            evidence(ENDED, (*RAN, "fan/:l/l")),
            RESULT,
            "fan/:l/l was recorded and ran again: 1 times, then 2",
            id="a step of a recorded container ran again",
        ),
        pytest.param(
            KILLED,
            evidence(ENDED, (*AFTER.effects, "z", "z")),
            RESULT,
            "z ran 3 times; its twin's 1",
            id="a step ran more often than its crashes allow",
        ),
        pytest.param(
            KILLED,
            evidence(ENDED, AFTER.effects[:-1]),
            RESULT,
            "z ran 0 times; its twin's 1",
            id="a step did not run",
        ),
        pytest.param(
            KILLED,
            evidence(ENDED[1:], AFTER.effects),
            RESULT,
            "a: the end that was recorded is gone or another",
            id="what was recorded is lost",
        ),
        pytest.param(
            KILLED,
            evidence(ENDED, AFTER.effects, "failure"),
            RESULT,
            "z ended as ('z', 'z', 'failure', None, None); "
            "its twin as ('z', 'z', 'success', None, None)",
            id="the history is another",
        ),
        pytest.param(
            KILLED,
            AFTER,
            {**RESULT, "status": "failed"},
            "the status is failed; its twin's completed",
            id="the end is another",
        ),
        pytest.param(
            KILLED,
            AFTER,
            {**RESULT, "tokens": 11},
            "the tokens is 11; its twin's 10",
            id="more was spent",
        ),
    ],
)
def test_what_is_wrong_is_told(
    before: Evidence, after: Evidence, result: object, told: str
) -> None:
    assert told in problems(SHAPE, TWIN, before, after, result)


@pytest.mark.parametrize(("tokens", "fine"), [(9, False), (10, True), (15, True), (16, False)])
def test_what_a_crash_may_have_cost_is_allowed_for(tokens: int, fine: bool) -> None:
    shape = Shape(SHAPE.make, concurrent=("fan",), uncertain=5)
    found = problems(shape, TWIN, KILLED, AFTER, {**RESULT, "tokens": tokens})
    assert (found == []) is fine


def test_a_step_in_doubt_is_not_run_twice_even_after_a_crash() -> None:
    shape = Shape(SHAPE.make, concurrent=("fan",), in_doubt=("fan/:l/l",))
    found = problems(shape, TWIN, KILLED, AFTER, RESULT)
    assert found == ["fan/:l/l ran 2 times; its twin's 1"]
