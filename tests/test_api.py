"""The session from Python, and the promise that records never change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.error import UsageError

from flujo_nb.display import FrameCard
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.steps import Step
from flujo_nb.errors import StepFailed
from tests.notebook import Notebook

SET_UP = """\
from typing import Any
from pydantic import BaseModel

class Inner(BaseModel):
    tags: list[int] = []

class Ctx(BaseModel):
    rows: Any = None
    inner: Inner = Inner()
    plain: list = []

rows, inner, plain, kept = [1], Inner(tags=[1]), [[1]], []
given = {"a": [1]}
"""
MAKE = """\
%%flujo step make -i given
def make(data, context):
    kept.extend([data, context, made := {"b": [data["a"]]}])
    context.rows.append(2)
    return made
"""


@pytest.fixture
def made(notebook: Notebook) -> Notebook:
    """A notebook with a frame ``f0``, and with what its step was given and gave in ``kept``."""
    notebook.run(SET_UP)
    notebook.run(
        "%flujo session --context Ctx --init {'rows': rows, 'inner': inner, 'plain': plain}"
    )
    notebook.run(MAKE)
    return notebook


def content(record: FrameRecord) -> str:
    """All the data that a record holds, as text."""
    return repr((record.data, record.context, record.output, record.context_after))


MUTATIONS: dict[str, str] = {
    "the variable behind -i": "given['a'].append(9); given['z'] = 9",
    "the input that the step kept": "kept[0]['a'].append(9)",
    "the context that the step kept": "kept[1].rows.append(9); kept[1].inner.tags.append(9)",
    "the output that the step kept": "kept[2]['b'].append(9); kept[2]['b'][0].append(9)",
    "what flujo[…] gives": "flujo['make']['b'].append(9)",
    "a card's output": "flujo.head.output['b'][0].append(9)",
    "a card's data": "flujo.head.data['a'].append(9)",
    "a card's context": "flujo.head.context.rows.append(9)",
    "a card's later context": "flujo.head.context_after.rows.append(9)",
    "a frame by its id": "flujo.frames['f0'].output.clear()",
    "a value that the context was started with": "rows.append(9)",
    "a model that the context was started with": "inner.tags.append(9)",
    "a list in the values that the context was started with": "plain[0].append(9)",
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_record_does_not_change_when_user_code_changes(made: Notebook, mutation: str) -> None:
    (entry,) = made.session.entries
    before = content(entry.record)
    assert before == (
        "({'a': [1]}, Ctx(rows=[1], inner=Inner(tags=[1]), plain=[[1]]), {'b': [[1]]}, "
        "Ctx(rows=[1, 2], inner=Inner(tags=[1]), plain=[[1]]))"
    )
    made.value(MUTATIONS[mutation])
    assert content(entry.record) == before


STEPS: dict[str, str] = {
    "its input": "data['b'].append(9)",
    "its context": "context.rows.append(9)",
    "its frame's data": "frame.data['b'].append(9)",
    "its frame's context": "frame.context.rows.append(9)",
}


@pytest.mark.parametrize("change", STEPS)
def test_a_record_does_not_change_when_the_next_step_changes(made: Notebook, change: str) -> None:
    record = made.session.entries[0].record
    before = content(record)
    made.value(f"%%flujo step next\ndef next(data, context, frame):\n    {STEPS[change]}")
    assert content(record) == before


def test_frames_inside_a_pipeline_do_not_change_either(made: Notebook) -> None:
    made.run(
        "%%flujo step first --no-run\ndef first(data):\n    kept.append([1])\n    return kept[-1]"
    )
    made.run("%%flujo step last --no-run\ndef last(data):\n    return len(data)")
    made.value("%flujo run first >> last")
    made.value("kept[-1].append(9)")
    assert made.api.frames["f1/first"].output == [1]
    assert made.api.frames["f1/last"].data == [1]


def test_what_cannot_be_copied_is_shared_and_the_card_says_so(notebook: Notebook) -> None:
    notebook.run("import queue\npending = queue.Queue()")
    card = notebook.card("%%flujo step hold -i pending\ndef hold(q):\n    return {'q': q}")
    assert card.output == {"q": notebook.shell.user_ns["pending"]}
    assert "input shared, not copied: Queue; changing it changes the frame" in repr(card)
    assert "output shared, not copied: Queue" in repr(card)


@pytest.mark.parametrize(
    "expression",
    [
        "np.array([threading.Lock()], dtype=object)",
        "10 ** 5000",
        "Strange()",
        "Doubled(1)",
        "[1].__class__",
    ],
)
def test_a_run_is_recorded_and_shown_whatever_its_output_is(
    notebook: Notebook, expression: str
) -> None:
    notebook.run(
        "import threading\nimport numpy as np\nfrom collections import namedtuple\n"
        "class Strange:\n    @property\n    def shape(self): raise RuntimeError\n"
        "class Doubled(namedtuple('Doubled', 'x y')):\n"
        "    def __new__(cls, x): return super().__new__(cls, x, 2 * x)\n"
    )
    card = notebook.card(f"%%flujo step odd\ndef odd():\n    return {expression}")
    assert notebook.session.head is notebook.session.entries[0]
    assert card.status == "completed"
    assert repr(notebook.view("%flujo frames"))


@pytest.fixture
def words(notebook: Notebook) -> Notebook:
    notebook.run("%%flujo step words -i 'b a'\ndef words(text):\n    return text.split()")
    notebook.run("%%flujo step count\ndef count(found):\n    return len(found)")
    return notebook


def ran(notebook: Notebook, *given: Any, **named: Any) -> FrameCard:
    return notebook.during(lambda: notebook.api.run(*given, **named))


def test_running_by_name_from_head(words: Notebook) -> None:
    card = ran(words, "words >> count", input="a b c")
    assert (card.output, card.parent, card.name) == (3, None, "words >> count")
    assert ran(words, "count", from_="f0").output == 2


@pytest.mark.parametrize("target", [len, lambda found: len(found), Step.from_callable(len)])
def test_running_a_function_or_a_step(words: Notebook, target: Callable[..., object]) -> None:
    assert ran(words, target, input="abc").output == 3


def test_none_is_an_input(words: Notebook) -> None:
    card = ran(words, lambda x: x, input=None)
    assert (card.data, card.parent) == (None, None)


def test_a_sync_run_under_a_running_loop(words: Notebook) -> None:
    async def within() -> FrameCard:
        return words.api.run_sync("count", input=[1])

    assert words.during(within).output == 1


def test_what_the_api_refuses(words: Notebook) -> None:
    for given in ({"target": "wrods"}, {"target": "count", "from_": "f9"}, {"target": 5}):
        with pytest.raises(UsageError):
            ran(words, **given)
    with pytest.raises(StepFailed) as failed:
        ran(words, "count", input=3)
    assert failed.value.record.id == "f2"
    assert isinstance(failed.value.__cause__, TypeError)


def test_the_newest_output_of_a_step_wherever_it_ran(words: Notebook) -> None:
    assert words.api["words"] == ["b", "a"]
    ran(words, "words >> count", input="x")
    assert words.api["words"] == ["x"]
    assert words.api["count"] == 1
    with pytest.raises(KeyError, match="did you mean 'words'"):
        words.api["wrods"]


def test_frames_are_a_mapping(words: Notebook) -> None:
    frames = words.api.frames
    assert list(frames) == ["f0", "f1"]
    assert len(frames) == 2
    assert "f1" in frames and "f2" not in frames
    assert frames["f1"].parent == "f0"
    with pytest.raises(KeyError, match="f9"):
        frames["f9"]


def test_head(notebook: Notebook) -> None:
    assert notebook.api.head is None
    notebook.run("%%flujo step one\ndef one():\n    return 1")
    assert notebook.api.head is not None
    assert notebook.api.head.id == "f0"


def test_configure_sets_only_what_is_given(made: Notebook) -> None:
    before = made.session.initial_context
    made.api.configure(resources="r")
    assert (made.session.initial_context, made.session.resources) == (before, "r")
    with pytest.raises(UsageError, match="pydantic model"):
        made.api.configure(context=int, resources="other")  # type: ignore[arg-type]
    assert made.session.resources == "r"


def test_the_session_shows_itself(words: Notebook) -> None:
    assert repr(words.api).startswith("session_")
    assert "text/html" in words.api._repr_mimebundle_()


def test_steps_by_name(words: Notebook) -> None:
    assert set(words.api.steps) >= {"words", "count"}
    assert words.api.steps["words"].name == "words"  # type: ignore[union-attr]


def test_a_run_that_nobody_awaits_says_that_it_has_not_run(words: Notebook) -> None:
    shown = words.value("flujo.run('count', [1, 2])")
    assert "await it" in repr(shown)
    assert len(words.session.entries) == 2
    assert words.card("await flujo.run('count', [1, 2])").output == 2
    words.run("import asyncio")
    assert words.card("await asyncio.create_task(flujo.run('count', []))").output == 0
    assert words.api.run_sync("count", [1]).output == 1


def test_a_step_without_output_is_not_offered_in_its_own_place(words: Notebook) -> None:
    words.run("%%flujo step boom\ndef boom(x): raise ValueError")
    with pytest.raises(KeyError) as missing:
        words.api["boom"]
    assert "did you mean 'boom'" not in str(missing.value)


def test_the_output_of_a_step_deep_inside(words: Notebook) -> None:
    words.run("from flujo_nb import Step\nup = Step.from_callable(lambda n: n + 1, name='up')")
    words.run("both = Step.parallel('both', {'a': up >> up})")
    words.value("%flujo run both -i 1")
    assert words.api["up"] == 3


def test_an_interrupted_run_says_what_to_do_next(notebook: Notebook) -> None:
    error = notebook.error("%%flujo step\ndef stop(): raise KeyboardInterrupt")
    assert "next: run the cell again, or  %flujo show f0" in str(error)
