"""The line that says how a run stands: what it says, when it is sent, and what stays of it."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.errors import NonRetryableError
from flujo_nb.engine.hooks import AttemptFailed, FrameFinished, FrameStarted
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    Chunk,
    Failure,
    Paused,
    RunStatus,
    Success,
)
from flujo_nb.engine.path import FramePath, step_segment
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.steps import AnyStep, Node, Pipeline, Step
from flujo_nb.engine.usage import FREE, Usage
from flujo_nb.live import TEXT, Progress

SECRET = "sk-abcdefghijklmnopqrstuvwx0123"
EVIL = "<b>bold</b> & \x1b[31mred\u202e"


class Talks:
    """An agent that does nothing."""

    async def run(self, data: object) -> object:
        return data


def one(name: str, **more: Any) -> AnyStep:
    return Step(name=name, agent=Talks(), **more)


def plain(name: str) -> AnyStep:
    return Step.from_callable(lambda data: data, name=name)


def at(*names: str) -> FramePath:
    return FramePath(tuple(step_segment(name) for name in names))


class Told:
    """A run's progress, told event by event."""

    def __init__(self, name: str = "run") -> None:
        self.progress = Progress(name)

    def started(self, path: FramePath, step: Node) -> None:
        event = FrameStarted(run_id="r", path=path, sequence=0, at_s=0.0, step=step, data=None)
        self.progress.started(event, "14:03:22")

    def finished(self, path: FramePath, outcome: Any = None) -> None:
        ended = outcome or Success(output=1, latency_s=3.14)
        self.progress.finished(
            FrameFinished(run_id="r", path=path, sequence=0, at_s=0.0, outcome=ended)
        )

    def failed(self, path: FramePath, attempt: int, error: BaseException) -> None:
        told = {"attempt": attempt, "error": error, "feedback": f"ValueError: {error}"}
        self.progress.failed(AttemptFailed(run_id="r", path=path, sequence=0, at_s=0.0, **told))

    def wrote(self, path: FramePath, *pieces: object) -> None:
        for piece in pieces:
            self.progress.wrote(Chunk(piece, path))

    def lines(self, spent: Usage = FREE) -> list[str]:
        return repr(self.progress.view(spent)).splitlines()

    @property
    def html(self) -> str:
        return str(self.progress.view(FREE)._repr_mimebundle_()["text/html"])


# What is said


def test_a_frame_that_works_is_told_with_its_path_and_since_when() -> None:
    told = Told("words")
    told.started(at("c", "words"), plain("words"))
    assert told.lines() == ["words running   c/words since 14:03:22"]


def test_only_the_inmost_frame_is_told() -> None:
    told = Told("a >> b")
    a, b = plain("a"), plain("b")
    told.started(at("c"), Pipeline((a, b)))
    told.started(at("c", "a"), a)
    told.finished(at("c", "a"))
    told.started(at("c", "b"), b)
    assert told.lines() == ["a >> b running   c/b since 14:03:22   1 finished"]


def test_a_frame_that_paused_has_not_finished() -> None:
    told = Told()
    told.started(at("c"), Pipeline((plain("a"),)))
    told.started(at("c", "a"), plain("a"))
    told.finished(at("c", "a"), Paused(message="?"))
    assert "finished" not in told.lines()[0]


def test_what_is_spent_is_told_with_its_price_where_there_is_one() -> None:
    told = Told()
    told.started(at("c"), plain("a"))
    assert told.lines(Usage(tokens=1234))[0].endswith("   1,234 tokens")
    assert told.lines(Usage(1_200, 1234))[0].endswith("   1,234 tokens, $0.0012")


def test_frames_at_work_beside_each_other_are_told_each_by_itself() -> None:
    told = Told("both")
    told.started(at("both"), plain("both"))
    for number in range(6):
        told.started(at("both", f"n{number}"), plain("n"))
    told.wrote(at("both", "n1"), "some text ")
    assert told.lines() == [
        "both running   6 at work",
        "  both/n0 since 14:03:22",
        "  both/n1 since 14:03:22",
        "some text ",
        "  both/n2 since 14:03:22",
        "  both/n3 since 14:03:22",
        "  and 2 more",
    ]


def test_a_pipeline_that_stands_where_the_one_around_it_does_is_no_end_of_that() -> None:
    told = Told()
    pipeline = Pipeline((plain("a"),))
    told.started(at("c"), pipeline)
    told.started(at("c"), pipeline)
    told.finished(at("c"))
    assert not told.progress.is_over
    told.finished(at("c"))
    assert told.progress.is_over


def test_the_last_state_says_how_the_run_ended_and_keeps_its_text() -> None:
    told = Told("judge")
    told.started(at("judge"), one("judge"))
    told.wrote(at("judge"), "It is ", "good")
    told.finished(at("judge"))
    assert told.lines(Usage(tokens=9)) == ["judge completed in 3.1 s   9 tokens", "It is good"]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Failure(error=ValueError("no"), feedback="no"), RunStatus.FAILED),
        (Aborted(reason=AbortReason.INTERRUPTED, message=""), RunStatus.INTERRUPTED),
    ],
)
def test_a_run_that_did_not_end_well_keeps_what_was_written(
    outcome: Any, status: RunStatus
) -> None:
    told = Told("judge")
    told.started(at("judge"), one("judge"))
    told.wrote(at("judge"), "It is")
    told.finished(at("judge"), outcome)
    first, text = told.lines()
    assert first.startswith(f"judge {status.value} in ")
    assert text == "It is"


def test_what_works_on_behind_the_run_is_not_told() -> None:
    told = Told("a")
    told.started(at("c"), plain("a"))
    told.started(at("c", "later"), one("later"))
    told.finished(at("c"))
    before = told.lines()
    told.wrote(at("c", "later"), "late ")
    told.finished(at("c", "later"))
    assert told.lines() == before


# The text


def test_an_agent_that_has_written_nothing_is_writing() -> None:
    told = Told()
    told.started(at("c"), one("judge"))
    assert told.lines()[1:] == ["writing …"]
    told.wrote(at("c"), "It ")
    assert told.lines()[1:] == ["It "]


def test_pieces_that_are_no_text_are_told_by_how_they_begin() -> None:
    told = Told()
    told.started(at("c"), plain("rows"))
    told.wrote(at("c"), {"a": 1}, list(range(1000)))
    first, second = told.lines()[1:]
    assert first == "{'a': 1}"
    assert second.startswith("[0, 1, 2") and len(second) < 100


def test_a_word_that_may_go_on_is_held_back_until_it_is_whole() -> None:
    told = Told()
    told.started(at("c"), one("judge"))
    told.wrote(at("c"), "good mor")
    assert told.lines()[1:] == ["good "]
    told.wrote(at("c"), "ning.\n")
    assert told.lines()[1:] == ["good morning."]


def test_text_without_blanks_between_words_is_not_held_back() -> None:
    told = Told()
    told.started(at("c"), one("judge"))
    told.wrote(at("c"), "早上", "好")
    assert told.lines()[1:] == ["早上好"]


def test_no_part_of_a_secret_is_shown_while_it_arrives() -> None:
    told = Told()
    told.started(at("c"), one("judge"))
    for piece in f"the key {SECRET} is":
        told.wrote(at("c"), piece)
        assert "sk-a" not in "".join(told.lines()) + told.html
    assert "withheld" in told.html
    told.finished(at("c"))
    assert "sk-a" not in "".join(told.lines()) + told.html


def test_of_a_long_text_the_end_is_shown_from_a_words_beginning() -> None:
    told = Told()
    told.started(at("c"), one("judge"))
    told.wrote(at("c"), "before " * 1000, "inside" * 10, " ", "y " * (TEXT // 2 - 10))
    told.finished(at("c"))
    _, note, text = told.lines()
    assert note == f"… ({7000 + 61:,} characters before this)"
    assert set(text.split()) == {"y"}


def test_a_private_key_is_never_shown_by_its_lines() -> None:
    told = Told()
    told.started(at("c"), one("judge"))
    told.wrote(at("c"), "-----BEGIN RSA PRIVATE KEY-----\n", "MIIEpAIBAAKCAQEA7\n" * 2000)
    assert "MIIE" not in "".join(told.lines()) + told.html


def test_text_is_data() -> None:
    told = Told(EVIL)
    told.started(at("c", EVIL), one("judge"))
    told.wrote(at("c", EVIL), EVIL, " ")
    assert "<b>bold" not in told.html
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; [31mred" in told.html
    assert not {"\x1b", "\u202e"} & set("".join(told.lines()) + told.html)


# Attempts


def test_another_attempt_is_told_with_the_reason_and_writes_anew() -> None:
    told = Told()
    told.started(at("c"), one("judge"))
    told.wrote(at("c"), "too long ")
    told.failed(at("c"), 1, ValueError("too long"))
    first, text = told.lines()
    assert first.endswith("c since 14:03:22, attempt 2 (ValueError: too long)")
    assert text == "writing …"


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (one("judge", config=StepConfig(max_retries=0)), ValueError("no")),
        (one("judge"), NonRetryableError("no")),
    ],
)
def test_the_last_attempt_announces_no_other(step: AnyStep, error: Exception) -> None:
    told = Told()
    told.started(at("c"), step)
    told.wrote(at("c"), "half ")
    told.failed(at("c"), 1, error)
    assert told.lines() == ["run running   c since 14:03:22", "half "]
