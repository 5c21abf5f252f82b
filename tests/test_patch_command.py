"""``%%flujo patch``: frames that differ from others by a JSON merge patch."""

from __future__ import annotations

from flujo_nb.errors import RunAborted, StepFailed
from tests.durable import Kernels
from tests.patched import (
    CELLS,  # noqa: F401  # the fixtures begin with them
    EITHER,
    LINE,
    STOPPING,
    patch,
)

# What a patch makes.


def test_another_output_of_a_command_runs_nothing(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up -i 1")
    kernels.notebook.value(LINE)
    notebook = kernels.restart()
    card = patch(notebook, "f1", output=7)
    assert (card.id, card.name, card.path, card.parent) == (
        "f2",
        "write >> shout >> count",
        "c[3]",
        None,
    )
    assert (card.output, card.data, kernels.ran()) == (7, "tea", [])
    assert repr(card.context_after) == "Ctx(total=3, names=['TEA'])"
    assert "f2 write >> shout >> count   ← -i, patched from f1   completed" in repr(card)
    assert notebook.session.head is notebook.session.entries[2]
    assert notebook.api.frames["f1"].output == 3
    notebook = kernels.restart()
    again = notebook.card("%flujo show f2")
    assert (again.output, repr(again.context_after)) == (7, "Ctx(total=3, names=['TEA'])")


def test_another_input_has_the_command_run_again_on_that(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up -i 1")
    kernels.notebook.value("%flujo run two >> up")
    notebook = kernels.restart()
    card = patch(notebook, "f1", data=10)
    assert (card.id, card.parent, card.data, card.output) == ("f2", "f0", 10, 21)
    assert kernels.ran() == ["two 10", "up 20"]
    assert "← f0.output, patched from f1 " in repr(card)
    notebook = kernels.restart()
    assert notebook.card("%flujo show f2").data == 10
    assert notebook.api.frames["f1"].data == 2


def test_another_context_has_the_command_run_again_in_that(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run write >> shout -i 'tea'")
    kernels.notebook.value("%flujo run count")
    notebook = kernels.restart()
    card = patch(notebook, "f1", context={"total": 10, "names": ["first"]})
    assert (card.parent, card.output, kernels.ran()) == ("f0", 13, ["count TEA dry"])
    notebook = kernels.restart()
    card = notebook.card("%flujo show f2")
    assert repr(card.context) == "Ctx(total=10, names=['first'])"
    assert repr(card.context_after) == "Ctx(total=13, names=['first', 'TEA'])"
    assert repr(notebook.api.frames["f1"].context) == "Ctx(total=0, names=[])"


def test_another_output_inside_has_the_rest_run_on_it(kernels: Kernels) -> None:
    kernels.notebook.value(LINE)
    notebook = kernels.restart()
    card = patch(notebook, "f0/shout", output={"text": "coffee", "tone": "warm"})
    assert (card.output, kernels.ran()) == (6, ["count coffee warm"])
    assert "← -i, patched from f0/shout " in repr(card)
    assert "inside: write kept; shout patched; count ran" in repr(card)
    notebook = kernels.restart()
    assert repr(notebook.card("%flujo show f1/shout").output) == "Draft(text='coffee', tone='warm')"
    assert repr(notebook.card("%flujo show f0/shout").output) == "Draft(text='TEA', tone='dry')"


def test_another_input_inside_has_that_frame_and_the_rest_run(kernels: Kernels) -> None:
    kernels.notebook.value(LINE)
    notebook = kernels.restart()
    card = patch(notebook, "f0/shout", data={"tone": "warm"})
    assert (card.output, kernels.ran()) == (3, ["shout tea", "count TEA warm"])
    assert "inside: write kept; shout, count ran" in repr(card)
    notebook = kernels.restart()
    inner = notebook.card("%flujo show f1/shout")
    assert repr(inner.data) == "Draft(text='tea', tone='warm')"
    assert "← its place in the pipeline, patched " in repr(inner)
    assert repr(notebook.card("%flujo show f1/write").output) == "Draft(text='tea', tone='dry')"


def test_another_context_inside_is_that_of_all_that_follows(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run write >> count >> up -i 'tea'")
    notebook = kernels.restart()
    card = patch(notebook, "f0/count", context={"total": 10})
    assert (card.output, kernels.ran()) == (14, ["count tea dry", "up 13"])
    notebook = kernels.restart()
    card = notebook.card("%flujo show f1")
    assert repr(card.context) == "Ctx(total=0, names=[])"
    assert repr(card.context_after) == "Ctx(total=13, names=['tea'])"
    assert repr(notebook.card("%flujo show f1/count").context) == "Ctx(total=10, names=[])"


def test_an_iteration_of_a_loop_is_patched_and_those_before_it_stand(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up >> loop >> two -i 1")  # 2; 6, 14, 30; 60
    notebook = kernels.restart()
    assert patch(notebook, "f0/loop/[1]/two", output=100).output == 200
    assert kernels.ran() == ["two 100"]
    assert patch(notebook, "f0/loop/[1]/up", data=4).output == 44
    assert kernels.ran() == ["up 4", "two 5", "up 10", "two 11", "two 22"]


def test_a_whole_container_is_patched(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up >> loop >> two -i 1")
    notebook = kernels.restart()
    assert (patch(notebook, "f0/loop", output=5).output, kernels.ran()) == (10, ["two 5"])
    assert notebook.session.children(notebook.session.record("f1/loop")) == []
    card = patch(notebook, "f0/loop", data=10)
    assert (card.output, kernels.ran()) == (44, ["up 10", "two 11", "two 22"])
    notebook = kernels.restart()
    assert notebook.card("%flujo show f2/loop").data == 10
    assert notebook.card("%flujo show f2/loop/[0]/up").output == 11


def test_one_branch_or_item_is_patched_and_the_others_stand(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run both -i 3")
    kernels.notebook.value("%flujo run each -i [1,2,3]")
    notebook = kernels.restart()
    assert patch(notebook, "f0/both/:b/two", output=10).output == {"a": 8, "b": 11}
    assert patch(notebook, "f1/each/[1]/up", data=9).output == [4, 20, 8]
    ran = kernels.ran()
    assert "up 10" in ran and "up 9" in ran and "two 3" not in ran and "up 1" not in ran


def test_a_step_that_failed_is_given_its_output(kernels: Kernels) -> None:
    assert isinstance(kernels.notebook.error("%flujo run two >> odd >> up -i 2"), StepFailed)
    notebook = kernels.restart()
    card = patch(notebook, "f0/odd", output=5)
    assert (card.id, card.output, kernels.ran()) == ("f1", 6, ["up 5"])
    card = patch(notebook, "f0", output=9)
    assert (card.output, kernels.ran()) == (9, [])


def test_a_question_is_given_its_output(kernels: Kernels) -> None:
    kernels.notebook.error("%flujo run up >> ask >> two -i 1")
    notebook = kernels.restart()
    card = patch(notebook, "f0/ask", output=5)
    assert (card.output, kernels.ran()) == (10, ["two 5"])
    assert notebook.card("%flujo run up").output == 11  # the question does not stand behind HEAD


def test_a_patched_frame_may_pause_and_is_answered(kernels: Kernels) -> None:
    kernels.notebook.error("%flujo run up >> ask >> two -i 1")
    notebook = kernels.restart()
    assert isinstance(notebook.error('%%flujo patch f0/up\n{"data": 8}'), RunAborted)
    notebook = kernels.restart()
    card = notebook.card("%flujo resume f1 --with True")
    assert (card.id, card.output, kernels.ran()) == ("f2", 2, ["two True"])
    assert notebook.card("%flujo show f2/up").data == 8


def test_a_patched_frame_that_failed_is_gone_on_with_on_its_patch(kernels: Kernels) -> None:
    kernels.notebook.value("fails = False")
    kernels.notebook.value("%flujo run two >> odd >> up -i 2")
    kernels.notebook.value("fails = True")
    assert isinstance(kernels.notebook.error('%%flujo patch f0/odd\n{"data": 6}'), StepFailed)
    notebook = kernels.restart()
    assert isinstance(notebook.error("%flujo resume f1"), StepFailed)
    assert kernels.ran() == ["odd 6"]
    notebook = kernels.restart()
    notebook.value("fails = False")
    card = notebook.card("%flujo resume f2")
    assert (card.id, card.output, kernels.ran()) == ("f3", 7, ["odd 6", "up 6"])
    assert "← -i, patched from f0/odd, goes on with f2 " in repr(card)
    assert "f0/odd, with {'data': 6}" in repr(notebook.view("%flujo why f3"))
    if kernels.restarts:
        assert "all is as recorded" in repr(notebook.view("%flujo replay f3"))


def test_inside_a_patched_loop_that_was_interrupted_the_rest_runs(kernels: Kernels) -> None:
    kernels.notebook.value(STOPPING)
    kernels.notebook.value("%flujo run up >> halting -i 1")
    kernels.notebook.value("stops = [40]")
    error = kernels.notebook.error('%%flujo patch f0/halting\n{"data": 5}')
    assert isinstance(error, KeyboardInterrupt)
    notebook = kernels.restart()
    if kernels.restarts:
        notebook.value(STOPPING)
    notebook.value("stops = []")
    kernels.ran()
    assert notebook.card("%flujo resume f1").output == 80
    assert kernels.ran() == ["stop 40", "two 40"]
    assert notebook.card("%flujo show f2/halting").data == 5


def test_what_is_patched_can_be_patched_and_forked(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up >> loop >> two -i 1")
    notebook = kernels.restart()
    patch(notebook, "f0/loop", data=4)  # 10, 22
    kernels.ran()
    notebook = kernels.restart()
    card = notebook.card("%flujo fork f1/loop/[1]/two")
    assert (card.output, kernels.ran()) == (44, ["two 11", "two 22"])
    card = patch(notebook, "f1/loop/[1]/two", output=50)
    assert (card.output, kernels.ran()) == (100, ["two 50"])
    card = notebook.card("%flujo fork f1/loop")  # as it ran
    assert (card.output, kernels.ran()[0]) == (44, "up 4")
    assert notebook.card("%flujo fork f1").output == 60  # all of it
    told = str(notebook.error('%%flujo patch f1/loop\n{"data": 5}'))
    assert "f1/loop was patched already: patch f0/loop, and say all" in told


def test_an_output_that_was_given_is_patched_again(kernels: Kernels) -> None:
    kernels.notebook.value(LINE)
    patch(kernels.notebook, "f0/shout", output={"text": "coffee"})
    notebook = kernels.restart()
    assert patch(notebook, "f1/shout", output={"tone": "warm"}).output == 6
    assert kernels.ran() == ["count coffee warm"]
    assert patch(notebook, "f1", output=1).output == 1
    assert patch(notebook, "f3", output=2).output == 2


def test_a_fork_of_a_frame_that_was_given_its_output_runs_it(kernels: Kernels) -> None:
    kernels.notebook.value(LINE)
    patch(kernels.notebook, "f0/shout", output={"text": "coffee"})
    notebook = kernels.restart()
    assert notebook.card("%flujo fork f1/shout").output == 3
    assert kernels.ran() == ["shout tea", "count TEA dry"]


def test_a_step_has_another_name_by_now_and_is_given_its_output(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run up -i 1")
    notebook = kernels.restart()
    notebook.value("up = Step.from_callable(lambda n: ran.append('it ran'), name='other')")
    assert (patch(notebook, "f0", output=7).output, kernels.ran()) == (7, [])


def test_what_a_run_changed_is_not_looked_for_in_others(kernels: Kernels) -> None:
    notebook = kernels.notebook
    notebook.value("%flujo run up >> two -i 1")
    patch(notebook, "f0/up", output=7)
    patch(notebook, "f0", output=7)
    entry = notebook.session.entries[-1]
    assert notebook.session.keeper.journal_of(entry.command).patches == {}


def test_records_do_not_change_when_what_follows_a_patch_works_in_place(kernels: Kernels) -> None:
    notebook = kernels.notebook
    notebook.value("made = Step.from_callable(lambda n: {'rows': [n], 'n': n}, name='made')")
    notebook.value("@step\ndef add(to: dict) -> int:\n    to['rows'].append(9)\n    return to['n']")
    notebook.value("%flujo run made >> add -i 1")
    before = notebook.card("%flujo show f0/made").output
    assert patch(notebook, "f0/made", output={"n": 2}).output == 2
    assert notebook.card("%flujo show f0/made").output == before


def test_a_part_that_is_only_in_memory_stands_beside_what_is_patched(kernels: Kernels) -> None:
    kernels.notebook.value("%flujo run locked >> unlocked -i 1")
    assert patch(kernels.notebook, "f0/locked", output={"n": 5}).output == 5
    notebook = kernels.restart()
    if kernels.restarts:
        told = str(notebook.error('%%flujo patch f0/locked\n{"output": {"n": 6}}'))
        assert "live only" in told and "again to have it" in told
        assert len(notebook.session.entries) == 2


def test_a_patch_that_the_run_does_not_come_to_is_told(kernels: Kernels) -> None:
    notebook = kernels.notebook
    notebook.value(EITHER)
    notebook.value("%flujo run either -i 1")
    told = repr(patch(notebook, "f0/either/:a/up", data=5))
    changed_nothing = "the patch changed nothing: the run did not come to either/:a/up" in told
    assert changed_nothing is not kernels.restarts  # a store holds what was decided
