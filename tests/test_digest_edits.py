"""Which edits of a notebook make a step another one: after each, its digest tells.

Both digests are looked at: the one of a step with all that it runs, and those of the steps in it,
one by one, which frames are recorded with.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from flujo_nb.engine.digests import definition_of
from flujo_nb.engine.step_definitions import StepDefinitions
from flujo_nb.engine.steps import Node
from flujo_nb.targets import all_nodes
from tests.edits import SET_UP, WORK, Edit
from tests.edits_that_do_not import ADDS, DO_NOT, STATES, State
from tests.edits_that_matter import MATTER
from tests.notebook import Notebook


class Digests(NamedTuple):
    """A step's digests."""

    whole: str
    steps: Sequence[bytes]


class Looking:
    """Runs cells, and takes the digests of what is called ``work`` behind them."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook
        self._kept = StepDefinitions()
        notebook.value(SET_UP)

    @property
    def node(self) -> Node:
        return self._notebook.session.resolve("work", self._notebook.shell.user_ns)

    def after(self, cells: Sequence[str]) -> Digests:
        for cell in cells:
            self._notebook.value(cell)
        nodes = all_nodes(self.node)
        steps = [self._kept.of(node).digest for node in nodes]
        assert steps == [StepDefinitions().of(node).digest for node in nodes]
        return Digests(definition_of(self.node).digest, steps)


@pytest.fixture
def looking(notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looking:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it may be as old as an edit behind it
    monkeypatch.delitem(sys.modules, "prices", raising=False)
    return Looking(notebook)


def test_there_are_enough_edits() -> None:
    assert len(MATTER) >= 40
    assert len(DO_NOT) + len(STATES) >= 40


@pytest.mark.parametrize("edit", MATTER.values(), ids=MATTER)
def test_an_edit_that_matters(looking: Looking, edit: Edit) -> None:
    before = looking.after(edit.cells)
    after = looking.after(edit.after)
    assert after.whole != before.whole
    assert after.steps != before.steps
    assert looking.after(edit.cells) == before


@pytest.mark.parametrize("edit", DO_NOT.values(), ids=DO_NOT)
def test_an_edit_that_does_not(looking: Looking, edit: Edit) -> None:
    before = looking.after(edit.cells)
    assert looking.after(edit.after) == before
    assert looking.after(edit.cells) == before


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_what_changes_in_place_is_listed_and_does_not_count(
    looking: Looking, notebook: Notebook, state: State
) -> None:
    before = looking.after([state.cell, f"{WORK}{state.body}"])
    assert state.told in definition_of(looking.node).untracked
    assert looking.after([state.change]) == before
    notebook.card("%flujo run work -i 1")
    assert looking.after([]) == before
    told = [line for line in str(notebook.view("%flujo why")).splitlines() if "not tracked" in line]
    assert len(told) == 1
    assert state.told in told[0]


def test_what_is_tracked_only_is_told_so(looking: Looking, notebook: Notebook) -> None:
    looking.after([f"{WORK}{ADDS}"])
    notebook.card("%flujo run work -i 1")
    told = [line for line in str(notebook.view("%flujo why")).splitlines() if "not tracked" in line]
    assert [line.split()[-1] for line in told] == ["nothing"]
