"""Resuming, forking, moving HEAD, replaying: in memory, and in a store after a restart."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from flujo_nb.errors import RunAborted, StepFailed
from flujo_nb.replaying import NotAsRecorded
from tests.durable import Kernels
from tests.notebook import Notebook

STEPS = """\
import threading
from pydantic import BaseModel
from flujo_nb import Step, step

ran = []

class Verdict(BaseModel):
    ok: bool
    why: str = ""

@step
def up(n: int) -> int:
    ran.append(f"up {n}")
    return n + 1

@step
def two(n: int) -> int:
    ran.append(f"two {n}")
    return 2 * n

@step
def odd(n: int) -> int:
    ran.append(f"odd {n}")
    if n % 2 == 0:
        raise ValueError(f"{n} is even")
    return n

@step
def locked(n: int) -> dict:
    ran.append(f"locked {n}")
    return {"n": n, "lock": threading.Lock()}

@step
def unlocked(held: dict) -> int:
    if fails:
        raise ValueError("not yet")
    return held["n"]

fails = True
ask = Step.human_in_the_loop("ask", message_for_user="Publish?", input_schema=bool)
name = Step.human_in_the_loop("name", message_for_user="Who?", input_schema=str)
judge = Step.human_in_the_loop("judge", message_for_user="Judge", input_schema=Verdict)
loop = Step.loop_until("loop", up >> two, lambda n: n > 20, max_loops=9)
both = Step.parallel("both", {"a": up >> ask, "b": name})
"""
CELLS = [STEPS]


def ran(notebook: Notebook) -> list[str]:
    """What has run since the last time."""
    done = notebook.shell.user_ns["ran"]
    assert isinstance(done, list)
    found, done[:] = list(done), []
    return found


def test_an_answer_lets_the_run_go_on_from_its_question(kernels: Kernels) -> None:
    notebook = kernels.notebook
    notebook.value("%flujo run up -i 1")
    error = notebook.error("%flujo run two >> ask >> up")
    assert isinstance(error, RunAborted) and "%flujo resume f1 --with" in str(error)
    notebook = kernels.restart()
    card = notebook.card("%flujo resume f1 --with True")
    assert (card.id, card.path, card.parent, card.output) == ("f2", "c[2]", "f0", 2)
    assert ran(notebook) == ["up True"]
    assert notebook.session.head is notebook.session.entries[2]
    assert notebook.api.frames["f1"].status == "paused"
    assert "was gone on with already, by f2" in str(notebook.error("%flujo resume f1"))


def test_the_body_of_a_cell_is_the_answer(kernels: Kernels) -> None:
    kernels.notebook.error("%flujo run judge -i 1")
    notebook = kernels.restart()
    card = notebook.card('%%flujo resume\n{"ok": true, "why": "good"}')
    assert repr(card.output) == "Verdict(ok=True, why='good')"


def test_a_text_is_an_answer_where_a_text_is_asked_for(kernels: Kernels) -> None:
    kernels.notebook.error("%flujo run name -i 1")
    notebook = kernels.restart()
    assert notebook.card("%%flujo resume\n42\n").output == "42"


@pytest.mark.parametrize("way", ["%flujo resume f0 --with 'perhaps'", "%%flujo resume\nperhaps"])
def test_an_answer_of_the_wrong_kind_is_refused_and_the_question_stays_open(
    kernels: Kernels, way: str
) -> None:
    kernels.notebook.error("%flujo run ask -i 1")
    notebook = kernels.restart()
    error = notebook.error(way)
    assert isinstance(error, UsageError) and "is no bool" in str(error)
    assert len(notebook.session.entries) == 1
    assert notebook.card("%flujo resume f0 --with False").output is False


def test_of_several_questions_the_one_is_named(kernels: Kernels) -> None:
    kernels.notebook.error("%flujo run both -i 1")
    notebook = kernels.restart()
    error = str(notebook.error("%flujo resume f0 --with True"))
    assert "f0/both/:a/ask" in error and "f0/both/:b/name" in error
    notebook.error("%flujo resume f0/both/:b --with 'me'")
    notebook = kernels.restart()
    card = notebook.card("%flujo resume f1/both/:a/ask --with True")
    assert card.output == {"a": True, "b": "me"}
    assert ran(notebook) == []


def test_a_question_is_not_passed_without_its_answer(kernels: Kernels) -> None:
    kernels.notebook.error("%flujo run ask -i 1")
    notebook = kernels.restart()
    assert "waits for an answer: Publish?" in str(notebook.error("%flujo resume f0"))
    error = notebook.error("%flujo run up")
    assert isinstance(error, UsageError) and "%flujo resume f0 --with" in str(error)


def test_a_failed_step_is_mended_and_what_finished_stands(kernels: Kernels) -> None:
    kernels.notebook.error("%flujo run two >> odd >> up -i 2")
    notebook = kernels.restart()
    notebook.value("@step\ndef odd(n: int) -> int:\n    return n + 1")
    card = notebook.card("%flujo resume")
    assert (card.id, card.output) == ("f1", 6)
    assert ran(notebook) == ["up 5"]


def test_an_edited_step_that_finished_stands_only_when_that_is_said(stored: Kernels) -> None:
    stored.notebook.error("%flujo run two >> odd -i 2")
    notebook = stored.restart()
    notebook.value("@step\ndef two(n: int) -> int:\n    return n + 1")
    error = notebook.error("%flujo resume f0")
    assert isinstance(error, UsageError) and "--keep" in str(error)
    told = [" ".join(line.split()) for line in str(error).splitlines()]
    assert "+ return n + 1" in told and "keep=True" not in str(error)
    assert not any("code of" in line for line in told)
    assert len(notebook.session.entries) == 1
    notebook.value("@step\ndef odd(n: int) -> int:\n    return -n")
    assert notebook.card("%flujo resume f0 --keep").output == -4


def test_a_value_that_was_only_in_memory_is_made_again_when_it_is_gone(kernels: Kernels) -> None:
    notebook = kernels.notebook
    assert isinstance(notebook.error("%flujo run up >> locked >> unlocked -i 1"), StepFailed)
    notebook = kernels.restart()
    notebook.value("fails = False")
    card = notebook.card("%flujo resume f0")
    assert card.output == 2
    assert ran(notebook) == (["locked 2"] if kernels.restarts else [])
    assert ("c[1]/locked ran again" in repr(card)) is kernels.restarts
    assert "← -i, goes on with f0 " in repr(card)
    assert [one.id for one in notebook.session.entries] == ["f0", "f1"]
    ran_there = (
        "up kept; locked, unlocked ran" if kernels.restarts else "up, locked kept; unlocked ran"
    )
    assert f"inside: {ran_there}" in repr(card)
    notebook = kernels.restart()
    assert [one.id for one in notebook.session.entries] == ["f0", "f1"]
    assert f"inside: {ran_there}" in repr(notebook.card("%flujo show f1"))


def test_several_values_that_are_gone_are_made_again_in_one_record(stored: Kernels) -> None:
    notebook = stored.notebook
    line = "up >> locked >> opened >> locked >> unlocked"
    notebook.value("@step\ndef opened(held: dict) -> int:\n    return held['n']")
    notebook.error(f"%flujo run {line} -i 1")
    notebook = stored.restart()
    notebook.value("@step\ndef opened(held: dict) -> int:\n    return held['n']\nfails = False")
    card = notebook.card("%flujo resume")
    assert (card.id, card.output, ran(notebook)) == ("f1", 2, ["locked 2"])
    assert "up, locked, opened kept" in repr(card)


def test_what_ran_and_what_was_kept_is_told_below_the_frame(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up >> loop >> two -i 1")
    kernels.notebook.error("%flujo run two >> odd -i 2")
    notebook = kernels.restart()
    told = repr(notebook.card("%flujo fork f0/loop/[1]/two"))
    assert "inside: up, loop/[0], loop/[1]/up kept; loop/[1]/two, loop/[2], two ran" in told
    assert "inside: up, loop, two ran" in repr(notebook.card("%flujo fork f0"))
    notebook.value("@step\ndef odd(n: int) -> int:\n    return n + 1")
    assert "inside: two kept; odd ran" in repr(notebook.card("%flujo resume f1"))
    assert "inside:" not in repr(notebook.card("%flujo run up -i 1"))


def test_a_fork_runs_a_command_again_on_a_line_of_its_own(kernels: Kernels) -> None:
    notebook = kernels.notebook
    notebook.value("%flujo run up -i 1")
    notebook.value("%flujo run two >> up")
    notebook = kernels.restart()
    card = notebook.card("%flujo fork f1 --as 'my other'")
    assert card.name == "my other"
    assert notebook.card('%flujo fork f1 --as="one more"').name == "one more"
    notebook = kernels.restart()
    card = notebook.card("%flujo fork f1 --as other")
    assert (card.id, card.name, card.parent, card.path) == ("f4", "other", "f0", "c[5]")
    assert (card.output, ran(notebook)) == (5, ["two 2", "up 4"])
    assert notebook.api.frames["f1"].output == 5


def test_a_fork_from_inside_keeps_what_had_finished_before(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up >> loop >> two -i 1")
    assert kernels.notebook.api.frames["f0"].output == 60
    notebook = kernels.restart()
    card = notebook.card("%flujo fork f0/loop/[1]/two")
    assert (card.id, card.output) == ("f1", 60)
    assert ran(notebook) == ["two 7", "up 14", "two 15", "two 30"]
    assert "forked from f0/loop/[1]/two" in repr(card)
    assert notebook.card("%flujo show f1/loop/[0]/up").output == 3


def test_head_goes_back_and_nothing_is_run(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up -i 1")
    kernels.notebook.value("%flujo run two")
    notebook = kernels.restart()
    assert notebook.card("%flujo back f0").id == "f0"
    assert ran(notebook) == []
    assert (notebook.card("%flujo run two").output, ran(notebook)) == (4, ["two 2"])


def test_python_has_the_same(kernels: Kernels) -> None:
    kernels.notebook.error("%flujo run ask >> up -i 1")
    notebook = kernels.restart()
    assert notebook.card("await flujo.resume('f0', True)").output == 2
    assert notebook.card("await flujo.fork('f1/up')").output == 2


def test_a_replay_finds_what_is_not_as_it_was_recorded_and_runs_nothing(stored: Kernels) -> None:
    stored.notebook.value("%flujo run up >> loop >> two -i 1")
    stored.notebook.error("%flujo run odd -i 2")
    notebook = stored.restart()
    assert "all is as recorded" in repr(notebook.view("%flujo replay f0"))
    assert "failed" in repr(notebook.view("%flujo replay f1"))
    assert "f1" in repr(notebook.view(f"%flujo replay {notebook.session.run_id}"))
    assert ran(notebook) == []
    notebook.value("@step\ndef two(n: int) -> int:\n    ran.append('two')\n    return 2 * n")
    error = notebook.error("%flujo replay f0")
    assert isinstance(error, NotAsRecorded)
    assert "c[1]/two" in str(error) and "ran.append('two')" in str(error)
    assert (ran(notebook), len(notebook.session.entries)) == ([], 2)


def test_why_tells_where_a_frame_comes_from(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up -i 1")
    kernels.notebook.value("%flujo run loop >> two")
    notebook = kernels.restart()
    told = repr(notebook.view("%flujo why f1"))
    assert "f1 loop >> two ← f0 up" in told and "not tracked" in told and "ran" in told
    inner = repr(notebook.view("%flujo why f1/loop"))
    assert "inside" in inner and "decided" in inner


def test_a_step_that_is_not_registered_is_named(stored: Kernels) -> None:
    stored.notebook.error("%flujo run odd -i 2")
    notebook = stored.restart()
    notebook.value("del odd")
    for line in ("resume f0", "fork f0", "replay f0"):
        error = notebook.error(f"%flujo {line}")
        assert isinstance(error, UsageError)
        assert "'odd' is not registered in this kernel: run the cell" in str(error)


def test_all_that_is_not_registered_is_named_at_once(stored: Kernels) -> None:
    stored.notebook.error("%flujo run two >> odd -i 2")
    notebook = stored.restart()
    notebook.value("del two, odd")
    assert "'two', 'odd' are not registered" in str(notebook.error("%flujo resume"))


def test_a_frame_that_was_read_back_is_nothing_to_run(stored: Kernels) -> None:
    stored.notebook.card("%flujo run up >> two -i 1")
    notebook = stored.restart()
    notebook.value("del two")
    notebook.card("%flujo back f0")  # now its record is in memory, without its steps
    for line in ("fork f0", "fork f0/two", "replay f0"):
        error = notebook.error(f"%flujo {line}")
        assert isinstance(error, UsageError) and "'two' is not registered" in str(error)
    for line in ("why f0", "why f0/two"):
        told = repr(notebook.view(f"%flujo {line}"))
        assert "not registered in this kernel" in told and "definition" not in told
    notebook.value("@step\ndef two(n: int) -> int:\n    return 2 * n")
    assert "definition" in repr(notebook.view("%flujo why f0"))
    assert "Step two, definition" in repr(notebook.view("%flujo why f0/two"))


def test_a_failure_behind_what_finished_names_resuming(kernels: Kernels) -> None:
    notebook = kernels.notebook
    assert "mend it and  %flujo resume f0  (" in str(notebook.error("%flujo run up >> odd -i 1"))
    assert "mend it and run the cell again" in str(notebook.error("%flujo run odd -i 2"))


def test_what_was_gone_on_with_names_where_to_go_on(kernels: Kernels) -> None:
    notebook = kernels.notebook
    notebook.error("%flujo run up >> odd -i 1")
    notebook.error("%flujo resume f0")
    notebook.error("%flujo resume f1")
    assert "by f2: %flujo resume f2" in str(notebook.error("%flujo resume f0"))
    if kernels.restarts:
        assert "%flujo replay f2" in repr(notebook.view("%flujo why f0"))
        assert "%flujo replay f2" in str(notebook.error("%flujo replay f0"))
    notebook.value("@step\ndef odd(n: int) -> int:\n    return n")
    notebook.card("%flujo resume")
    assert "by f3, which completed" in str(notebook.error("%flujo resume f0"))


def test_an_answer_that_is_no_json_is_told_as_that(kernels: Kernels) -> None:
    kernels.notebook.error("%flujo run judge -i 1")
    notebook = kernels.restart()
    error = notebook.error("%%flujo resume\n{'ok': True}")
    assert isinstance(error, UsageError) and "is no JSON" in str(error) and "--with" in str(error)


def test_a_frame_is_shown_though_what_is_inside_is_of_a_class_that_is_not_here(
    stored: Kernels,
) -> None:
    notebook = stored.notebook
    notebook.value("told = Step.from_callable(lambda one: one.why, name='told')")
    notebook.error("%flujo run judge >> told -i 1")
    notebook.card("%flujo resume --with {'ok': True, 'why': 'good'}")
    notebook = stored.restart()
    notebook.value("del Verdict, judge")
    card = notebook.card("%flujo show f1")
    assert card.output == "good" and "run the cell that defines Verdict" in repr(card)
    assert "run the cell that defines Verdict" in repr(notebook.view("%flujo why f1"))
    error = notebook.error("%flujo show f1/judge")
    assert isinstance(error, UsageError) and "Verdict" in str(error)


def test_status_tells_of_an_open_question_and_of_the_way_back(kernels: Kernels) -> None:
    kernels.notebook.card("%flujo run up -i 1")
    kernels.notebook.error("%flujo run ask")
    notebook = kernels.restart()
    told = repr(notebook.view("%flujo"))
    assert "f1 ask: Publish?" in told
    assert ("none: %flujo back f0" in told) is kernels.restarts
    notebook.card("%flujo resume --with True")
    assert "Publish?" not in repr(notebook.view("%flujo"))
