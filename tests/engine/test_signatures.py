"""What a function asks for, and which types are checked."""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Annotated, Any, Literal, Optional, Protocol, TypedDict

import pytest

from flujo_nb.engine.errors import StepSignatureError
from flujo_nb.engine.signatures import CallKind, CallShape, call_shape, may_flow, type_names
from flujo_nb.engine.step_history_tracker import feedback_in
from flujo_nb.engine.steps import Step
from tests.engine.fakes import Counts, Wait, outcome_of


def shape_of(function: Callable[..., object]) -> CallShape:
    return call_shape(function, "it")


def test_the_kind_of_a_function_is_told() -> None:
    def sync(x: int) -> int:
        return x

    async def waiting(x: int) -> int:
        return x

    async def streaming(x: int) -> Any:
        yield x

    class Callee:
        async def __call__(self, x: int) -> int:
            return x

    assert shape_of(sync).kind is CallKind.SYNC
    assert shape_of(waiting).kind is CallKind.ASYNC
    assert shape_of(streaming).kind is CallKind.STREAM
    assert shape_of(Callee()).kind is CallKind.ASYNC
    assert shape_of(functools.partial(waiting)).kind is CallKind.ASYNC


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x, 5),
        (lambda: "no input", "no input"),
        (lambda x, context: (x, context.total), (5, 3)),
        (lambda context, x: (x, context.total), (5, 3)),
        (lambda frame, resources, x: (x, frame.data, resources), (5, 5, "given")),
        (lambda context, *, x: (x, context.total), (5, 3)),
        (lambda x=7, *, context: (x, context.total), (5, 3)),
        (lambda *args, context: (args, context.total), ((5,), 3)),
        (lambda x, /, context: (x, context.total), (5, 3)),
        (lambda x, **others: (x, others), (5, {})),
        (lambda context: context.total, 3),
        (lambda x, *, feedback, resources: (x, feedback, resources), (5, None, "given")),
    ],
    ids=lambda value: str(inspect.signature(value)) if callable(value) else "",
)
def test_what_is_injected_may_stand_anywhere(
    wait: Wait, function: Callable[..., object], expected: object
) -> None:
    step = Step.from_callable(function, name="it")
    outcome = wait(outcome_of(step, 5, context=Counts(total=3), resources="given"))
    assert feedback_in(outcome) is None
    assert outcome.output == expected


def test_an_unknown_required_parameter_is_refused_and_what_is_known_is_listed() -> None:
    def it(data: object, client: object) -> None: ...

    with pytest.raises(StepSignatureError, match="asks for 'client'") as refused:
        Step.from_callable(it)
    for known in ("'data'", "context", "resources", "feedback", "frame"):
        assert known in str(refused.value)


def test_a_generator_function_is_refused_by_name() -> None:
    def numbers_of(n: int) -> Any:
        yield n

    with pytest.raises(StepSignatureError, match="'numbers_of' is a generator function"):
        Step.from_callable(numbers_of)


def test_a_builtin_without_signature_takes_the_input() -> None:
    with pytest.raises(ValueError, match="signature"):
        inspect.signature(dict)
    assert shape_of(dict) == CallShape(CallKind.SYNC, "", (), None, None)
    assert shape_of(len).data == ""


class Pair(TypedDict):
    left: int


class Runs(Protocol):
    def run(self) -> None: ...


@pytest.mark.parametrize(
    ("hint", "values", "refused"),
    [
        (int, [1, True], ["1", 1.5, None]),
        (float, [1.5, 1], ["1", 1j]),
        (str | None, ["a", None], [1]),
        (Optional[str], ["a", None], [1]),  # noqa: UP045  # the form is what is tested
        (list[int], [[1], ["not looked into"]], [(1,)]),
        (Mapping[str, int], [{}], [[]]),
        (Annotated[int, "positive"], [1], ["1"]),
        (Literal["a"], ["a", "not checked"], []),
        (Pair, [{}, 1], []),
        (Runs, [1], []),
        (Any, [1], []),
        (object, [1], []),
        ("Undefined", [1], []),
    ],
)
def test_which_inputs_a_hint_allows(
    wait: Wait, hint: object, values: list[object], refused: list[object]
) -> None:
    def it(data):  # type: ignore[no-untyped-def]
        return "ran"

    it.__annotations__["data"] = hint
    step = Step.from_callable(it)
    for value in values:
        assert wait(outcome_of(step, value)).output == "ran"
    for value in refused:
        assert "'it' takes" in wait(outcome_of(step, value)).feedback


def test_the_message_names_the_type_also_when_it_is_an_abstract_number(wait: Wait) -> None:
    def it(data: numbers.Real) -> None: ...

    feedback = wait(outcome_of(Step.from_callable(it), "a")).feedback
    assert "takes Real, and its input is str" in feedback


def test_a_class_is_checked_by_its_constructor_not_by_its_attributes(wait: Wait) -> None:
    class Word:
        text: list[str]

        def __init__(self, text: str) -> None:
            self.text = [text]

    outcome = wait(outcome_of(Step.from_callable(Word), "a"))
    assert outcome.output.text == ["a"]


@pytest.mark.parametrize(
    ("given", "wanted", "flows"),
    [
        (int, float, True),
        (float, int, True),
        (bool, int, True),
        (object, int, True),
        (list, Sequence, True),
        (Iterable, Sized, True),
        (str, int, False),
        (dict, list, False),
    ],
)
def test_which_declared_types_may_follow_each_other(given: type, wanted: type, flows: bool) -> None:
    def before(data: Any) -> Any: ...
    def after(data: Any) -> Any: ...

    before.__annotations__["return"] = given
    after.__annotations__["data"] = wanted
    assert may_flow(shape_of(before).output_type, shape_of(after).input_type) is flows


def test_type_names_are_for_people() -> None:
    assert type_names((int, numbers.Integral, type(None))) == "int | None"
