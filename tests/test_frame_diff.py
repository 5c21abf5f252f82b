"""What differs between two frames, section by section, and what nobody can know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from flujo_nb.diffs import frame_diff as module
from flujo_nb.diffs.frame_diff import Definitions, FrameDiff, Section, frame_diff
from flujo_nb.engine.outcomes import Failure, FrameOutcome, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.usage import Usage
from flujo_nb.engine.values import exactly_equal


class Context(BaseModel):
    n: int = 0
    seen: list[str] = []


def frame(output: object = 1, **changes: Any) -> FrameRecord:
    """The record of a frame that succeeded."""
    outcome: FrameOutcome = changes.pop("outcome", Success(output=output))
    record = FrameRecord(
        id="f0",
        name="a",
        path=FramePath.parse("c[1]/a"),
        run_id="run",
        data="in",
        context=None,
        outcome=outcome,
        output=output if isinstance(outcome, Success) else None,
    )
    return replace(record, **changes)


def failure(said: str = "ValueError: no") -> Failure:
    return Failure(error=ValueError("no"), feedback=said)


def section(diff: FrameDiff, name: str) -> Section:
    (found,) = [one for one in diff.sections if one.name == name]
    return found


def lines(one: Section) -> list[str]:
    return [f"{line.mark} {line.where} {line.told}" for line in one.lines]


def test_frames_that_are_the_same_differ_in_nothing() -> None:
    diff = frame_diff(frame([1]), frame([1]))
    assert not diff.differing
    assert [one.name for one in diff.sections] == ["output", "input"]


def test_what_differs_in_output_input_and_context() -> None:
    old = frame({"a": 1}, context=Context(), context_after=Context(n=1))
    new = frame({"a": 2}, data="other", context=Context(), context_after=Context(n=1, seen=["x"]))
    diff = frame_diff(old, new)
    assert lines(section(diff, "output")) == ["~ ['a'] 1 → 2"]
    assert (section(diff, "input").told, section(diff, "input").lines) == ("'in' → 'other'", ())
    assert lines(section(diff, "context")) == ["+ seen[0] 'x'"]
    assert section(diff, "output").told == "dict of 1"


def test_a_value_that_is_gone_is_said_and_not_compared() -> None:
    gone = frame(absent="live only: output is a Client", output=None)
    one = section(frame_diff(gone, frame(None)), "output")
    assert one.is_same is None
    assert one.told == "not here of f0: live only: output is a Client"
    assert one.lines == ()


@pytest.mark.parametrize("both", [True, False])
def test_an_input_that_was_not_kept_is_said_and_not_compared(both: bool) -> None:
    unknown = frame(data=None, has_data=False, id="f1")
    other = frame(data=None, has_data=not both)
    one = section(frame_diff(other, unknown), "input")
    assert one.is_same is None
    assert one.told == ("not kept of f0; not kept of f1" if both else "not kept of f1")


def test_a_frame_that_failed_has_no_output() -> None:
    diff = frame_diff(frame([1]), frame(id="f1", outcome=failure()))
    assert section(diff, "output").told == "f1 failed: it has none"
    assert lines(section(diff, "output")) == ["-  list of 1: [1]"]
    assert lines(section(diff, "facts"))[:2] == [
        "~ status completed → failed",
        "~ because nothing → ValueError: no",
    ]


def test_frames_that_failed_alike_differ_in_nothing() -> None:
    old, new = frame(outcome=failure()), frame(outcome=failure())
    assert not frame_diff(old, new).differing
    diff = frame_diff(old, frame(outcome=failure("KeyError: x")))
    assert "~ because ValueError: no → KeyError: x" in lines(section(diff, "facts"))


def test_usage_is_told_where_it_differs_and_durations_only_then() -> None:
    old = frame(outcome=Success(output=1, latency_s=0.1, usage=Usage.of(tokens=10)))
    slow = frame(outcome=Success(output=1, latency_s=0.9, usage=Usage.of(tokens=10)))
    assert not frame_diff(old, slow).differing
    dear = frame(outcome=Success(output=1, latency_s=0.9, usage=Usage.of(cost_usd=0.5, tokens=20)))
    assert lines(section(frame_diff(old, dear), "facts")) == [
        "~ used 10 tokens, $0.0000 → 20 tokens, $0.5000",
        "~ took 100 ms → 900 ms",
    ]


# Definitions


def defined(lines_of: Mapping[str, str], **digests: Sequence[str]) -> Definitions:
    return Definitions(digests, lambda digest: lines_of.get(digest, "").splitlines())


SAID = {
    "1": "name = 'a'\nfunction a(x)\n    def a(x):\n        return 1\n    code of a: " + "0" * 16,
    "2": "name = 'a'\nfunction a(x)\n    def a(x):\n        return 2\n    code of a: " + "1" * 16,
    "3": "name = 'a'\nfunction a(x)\n    code of a: " + "2" * 16,
    "4": "name = 'a'\nfunction a(x)\n    code of a: " + "3" * 16,
}


def test_what_was_edited_is_told_line_by_line_without_digests() -> None:
    diff = frame_diff(frame(), frame(), defined(SAID, a=["1"]), defined(SAID, a=["2"]))
    one = section(diff, "definition")
    assert one.told == "a edited"
    assert [str(line.mark) + line.text for line in one.lines][-2:] == [
        "-        return 1",
        "+        return 2",
    ]


def test_digests_are_told_where_there_is_nothing_else() -> None:
    diff = frame_diff(frame(), frame(), defined(SAID, a=["3"]), defined(SAID, a=["4"]))
    assert "code of a: 2222222222222222" in section(diff, "definition").lines[-2].text


def test_an_edit_that_is_not_known_is_said() -> None:
    diff = frame_diff(frame(), frame(), defined({}, a=["1"]), defined({}, a=["2"]))
    assert lines(section(diff, "definition")) == ["~ a edited; what it was is not known any more"]


def test_steps_inside_that_were_edited_are_named() -> None:
    old = defined(SAID, p=["9"], a=["1"], b=["7"])
    new = defined(SAID, p=["9"], a=["2"], b=["8"])
    one = section(frame_diff(frame(), frame(), old, new), "definition")
    assert one.told == "a, b edited"
    assert lines(one)[0] == "~ a edited"
    assert lines(one)[-1].startswith("~ b edited; what it was")


def test_steps_that_came_and_went() -> None:
    old, new = defined(SAID, p=["8"], a=["1"]), defined(SAID, p=["9"], b=["1"])
    one = section(frame_diff(frame(), frame(), old, new), "definition")
    assert lines(one)[-2:] == ["- steps a", "+ steps b"]


def test_definitions_that_are_alike_and_unknown_ones() -> None:
    same = frame_diff(frame(), frame(), defined(SAID, a=["1"]), defined(SAID, a=["1"]))
    assert section(same, "definition").is_same is True
    unknown = frame_diff(frame(), frame(), defined(SAID), defined(SAID, a=["1"]))
    assert [one.name for one in unknown.sections] == ["output", "input"]
    others = frame_diff(frame(), frame(name="b"), defined(SAID, a=["1"]), defined(SAID, b=["1"]))
    assert [one.name for one in others.sections] == ["output", "input"]


# Bounds


def test_many_differences_are_counted() -> None:
    one = section(
        frame_diff(frame(dict.fromkeys(range(500), 1)), frame(dict.fromkeys(range(500)))), "output"
    )
    assert len(one.lines) == 25
    assert one.lines[-1].told == "476 more"
    huge = frame(dict.fromkeys(range(50_000), 1)), frame(dict.fromkeys(range(50_000)))
    assert section(frame_diff(*huge), "output").lines[-1].told == "more than 10,000 more"


class Own:
    """Compared by code of its own, which may take long, or raise."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and self.n == other.n

    __hash__ = None  # type: ignore[assignment]


def test_what_is_too_large_is_said_and_the_next_section_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.05)
    old, new = ([Own(n) for n in range(100_000)] for _ in range(2))
    diff = frame_diff(frame(old), frame(new, data="other"))
    assert section(diff, "output").told == "it is too large to compare all of it"
    assert section(diff, "output").is_same is None
    assert section(diff, "input").told == "'in' → 'other'"


class Hostile(dict[object, object]):
    def items(self) -> Any:
        raise RuntimeError("never")

    def __iter__(self) -> Any:
        raise RuntimeError("never")


def test_a_value_whose_own_code_raises_is_no_crash() -> None:
    one = section(frame_diff(frame(Hostile(a=1)), frame(Hostile(a=2))), "output")
    assert one.is_same is None
    assert one.told == "cannot be compared: RuntimeError('never')"


examples = settings(derandomize=True, database=None, deadline=None, max_examples=200)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=60)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@examples
@given(values, values)
def test_a_section_says_something_exactly_when_values_differ(old: object, new: object) -> None:
    one = section(frame_diff(frame(old), frame(new)), "output")
    same = exactly_equal(old, new)
    assert (one.is_same, one.told == "the same", bool(one.lines) and same) == (same, same, False)
    for line in one.lines:
        assert "\n" not in line.told and "\n" not in line.where
        assert len(line.told) < 260
