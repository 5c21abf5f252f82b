"""Cells that run in any order, are edited, and outlive their kernel, against the rules of HEAD.

The model below is the rules (a) to (i) of the notebook, staleness and reuse, and nothing else.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flujo_nb.engine.outcomes import RunStatus
from tests.notebook import Notebook, fresh_notebook

STEPS = "abcd"
"""Cells that define a step of that name and run it; the first begins a line, the last may fail."""

AGAIN = "e"
"""A cell that runs the step of another cell again."""

JOINED = "f"
"""A cell that joins two steps and runs them."""

CELLS = [*STEPS, AGAIN, JOINED]


def text_of(cell: str, version: int) -> str:
    """The text of a cell in one of its versions."""
    if cell == AGAIN:
        return "%flujo run b"
    if cell == JOINED:
        return "%%flujo pipeline joined\nb >> c"
    line = "%%flujo step -i 'in'" if cell == "a" else "%%flujo step"
    fails = "raise ValueError(x)" if cell == "d" and version % 2 else "pass"
    return f"{line}\ndef {cell}(x):\n    {fails}\n    return f'{cell}{version}({{x}})'"


def outcome_of(cell: str, version: int, data: object) -> str | None:
    """What a step comes to; ``None`` when it fails."""
    return None if cell == "d" and version % 2 else f"{cell}{version}({data})"


Definition = tuple[tuple[str, int], ...]
"""The steps that something runs, with their versions."""


@dataclass
class Frame:
    """A frame as the rules have it."""

    id: str
    target: str
    parent: str | None
    data: object
    output: str | None
    definition: Definition
    made_by: str
    cells: set[str] = field(default_factory=set)


class Model:
    """What the rules say."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.head: Frame | None = None
        self.registered: dict[str, Definition] = {}
        self.edited = dict.fromkeys(CELLS, 0)
        self.reuses = False

    def frame(self, frame_id: str | None) -> Frame | None:
        return next((one for one in self.frames if one.id == frame_id), None)

    def line(self) -> list[Frame]:
        found, one = [], self.head
        while one is not None:
            found.append(one)
            one = self.frame(one.parent)
        return found

    def run(self, cell: str) -> tuple[Frame, bool] | None:
        """The frame that running ``cell`` gives, and whether it was reused; ``None``: refused."""
        target = {AGAIN: "b", JOINED: "joined"}.get(cell, cell)
        if cell in STEPS:
            self.registered[cell] = ((cell, self.edited[cell]),)
        elif not {"b"} <= self.registered.keys() or (cell == JOINED and "c" not in self.registered):
            return None
        if cell == JOINED:
            self.registered[target] = (*self.registered["b"], *self.registered["c"])
        definition = self.registered[target]
        earlier = next((one for one in self.line() if cell in one.cells), None)
        above = self.head if earlier is None else self.frame(earlier.parent)
        if cell == "a":
            above = None
        data = "in" if cell == "a" else None if above is None else above.output
        if self.reuses:
            for one in reversed(self.frames):
                same = (one.target, one.definition, one.data) == (target, definition, data)
                if same and one.output is not None:
                    one.cells.add(cell)
                    self.head = one
                    return one, True
        output: object = data
        for name, version in definition:
            output = outcome_of(name, version, output)
        given = output if isinstance(output, str) else None
        made = Frame(
            f"f{len(self.frames)}",
            target,
            None if above is None else above.id,
            data,
            given,
            definition,
            cell,
            {cell},
        )
        self.frames.append(made)
        if given is not None:
            self.head = made
        return made, False

    def now(self, target: str) -> Definition | None:
        """What a target would be if all its cells ran again."""
        definition = self.registered.get(target)
        if definition is None:
            return None
        return tuple(self.registered.get(one[0], (one,))[0] for one in definition)

    def stale(self) -> set[str]:
        found: set[str] = set()
        for place, one in enumerate(self.frames):
            now = self.now(one.target)
            is_edited = now is not None and now != one.definition
            parent = self.frame(one.parent)
            made_again = parent is not None and any(
                later.made_by == parent.made_by
                and later.parent == parent.parent
                and later.output is not None
                for later in self.frames[place + 1 :]
            )
            if is_edited or made_again or (one.parent in found):
                found.add(one.id)
        return found


class Cells(RuleBasedStateMachine):
    """A notebook of six cells, and its model."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = ExitStack()
        self.kernel = ExitStack()
        self.model = Model()
        self.ran = 0

    @initialize()
    def open(self) -> None:
        folder = Path(self.kept.enter_context(tempfile.TemporaryDirectory()))
        environment = {"FLUJO_STORE": "auto", "JPY_SESSION_NAME": str(folder / "a.ipynb")}
        self.kept.enter_context(mock.patch.dict(os.environ, environment))
        self._start()

    def _start(self) -> None:
        self.notebook: Notebook = self.kernel.enter_context(fresh_notebook())
        self.notebook.run(f"%config Flujo.reuse = {'same' if self.model.reuses else 'off'!r}")

    @rule(cell=st.sampled_from(CELLS))
    def run(self, cell: str) -> None:
        self.ran += 1
        before = len(self.notebook.session.entries)
        result = self.notebook.run(text_of(cell, self.model.edited[cell]), f"cell-{cell}")
        expected = self.model.run(cell)
        is_red = (result.error_before_exec or result.error_in_exec) is not None
        session = self.notebook.session
        if expected is None:
            assert is_red and len(session.entries) == before
            return
        frame, is_reused = expected
        assert is_red is (frame.output is None)
        if not is_red:
            assert result.result.id == frame.id, (result.result, frame)
            assert repr(result.result).startswith("reused ") is is_reused
        entry = session.entry_of(frame.id)
        told = f"← {entry.origin}" if is_red else repr(result.result).splitlines()[0]
        if not is_reused:
            source = "-i" if cell == "a" else f"{frame.parent}.output"
            assert (source if cell == "a" or frame.parent else "nothing (input None)") in told

    @rule(cell=st.sampled_from(STEPS))
    def edit(self, cell: str) -> None:
        """Change the text of a cell; nothing happens until it runs."""
        self.model.edited[cell] += 1

    @rule(cell=st.sampled_from(STEPS))
    def edit_back(self, cell: str) -> None:
        self.model.edited[cell] = max(self.model.edited[cell] - 1, 0)

    @rule(turns=st.booleans())
    def set_reuse(self, turns: bool) -> None:
        self.model.reuses = turns
        self.notebook.run(f"%config Flujo.reuse = {'same' if turns else 'off'!r}")

    @precondition(lambda self: any(one.output is not None for one in self.model.frames))
    @rule(number=st.integers(0, 100))
    def back(self, number: int) -> None:
        done = [one for one in self.model.frames if one.output is not None]
        self.model.head = done[number % len(done)]
        assert self.notebook.card(f"%flujo back {self.model.head.id}").id == self.model.head.id

    @precondition(lambda self: self.ran > 4)
    @rule()
    def restart(self) -> None:
        self.ran = 0
        self.kernel.close()
        self._start()
        self.notebook.view("%flujo")
        self.model.head = None
        self.model.registered.clear()

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "notebook"):
            return
        session, model = self.notebook.session, self.model
        assert (session.head and session.head.id) == (model.head and model.head.id)
        found = [(one.id, one.parent, one.status is RunStatus.COMPLETED) for one in session.entries]
        assert found == [(one.id, one.parent, one.output is not None) for one in model.frames]
        assert set(session.staleness.all()) == model.stale()
        if session.head is not None:
            record = session.head.record
            assert model.head is not None
            assert (record.data, record.output) == (model.head.data, model.head.output)

    def teardown(self) -> None:
        self.kernel.close()
        self.kept.close()


TestCells = Cells.TestCase
TestCells.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
