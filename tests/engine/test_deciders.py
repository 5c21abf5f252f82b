"""The functions that a container asks: what they get, what they give, that each is asked once."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from flujo_nb.engine.deciders import CONTEXT, Question, decided
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.frame import make_execution_frame
from flujo_nb.engine.journal import Decision, Journal
from flujo_nb.engine.user_code import Raised
from tests.engine.fakes import Counts, Wait, echo


def asked(
    wait: Wait,
    function: Callable[..., Any],
    *offered: object,
    context: BaseModel | None = None,
    journal: Journal | None = None,
    **options: Any,
) -> Any:
    """What came of asking a function, offered the data, the context and whatever else."""
    frame = make_execution_frame(echo, journal=journal)
    question = Question("what", function, 1 + len(offered) + 1)
    return wait(question.ask(ExecutorCore(), frame, context, "data", CONTEXT, *offered, **options))


class Callable_:  # noqa: N801  # not to be taken for typing's
    def __call__(self, data: object) -> tuple[object, ...]:
        return (data,)

    def method(self, data: object, context: object) -> tuple[object, ...]:
        return data, context


def optional(data: object, context: object = "default", *, flag: bool = False) -> Any:
    return data, context


SHAPES: dict[str, tuple[Callable[..., Any], tuple[object, ...]]] = {
    "no parameter": (lambda: (), ()),
    "one": (lambda data: (data,), ("data",)),
    "two": (lambda data, context: (data, context), ("data", None)),
    "three": (lambda data, context, number: (data, context, number), ("data", None, 7)),
    "any number": (lambda *all_of_them: all_of_them, ("data", None, 7)),
    "one and any number": (lambda data, *rest: (data, *rest), ("data", None, 7)),
    "a default": (optional, ("data", None)),
    "named only": (lambda data, *, context=None: (data, context), ("data", None)),
    "partial": (functools.partial(optional, context=1), ("data", 1)),
    "an object": (Callable_(), ("data",)),
    "a method": (Callable_().method, ("data", None)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_function_gets_as_many_arguments_as_it_takes(wait: Wait, name: str) -> None:
    function, given = SHAPES[name]
    assert asked(wait, function, 7) == Decision(given)


@pytest.mark.parametrize("function", [str, bool, len, repr])
def test_builtins_get_the_data(wait: Wait, function: Callable[..., Any]) -> None:
    assert asked(wait, function) == Decision(function("data"))


def test_whether_a_question_takes_a_context() -> None:
    assert not Question("what", lambda data: data, 2).takes_context
    assert not Question("what", lambda: 1, 2).takes_context
    assert not Question("what", lambda *given: 1, 1).takes_context
    assert Question("what", lambda data, context: data, 2).takes_context
    assert Question("what", lambda *given: 1, 2).takes_context


def test_a_function_that_takes_more_than_there_is_has_raised(wait: Wait) -> None:
    given = asked(wait, lambda data, context, one_more: data)
    assert isinstance(given, Raised)
    assert isinstance(given.error, TypeError)


def test_what_it_changes_in_its_copy_of_the_context_is_the_decisions(wait: Wait) -> None:
    context = Counts(names=["a"])

    def decide(data: str, own: Counts) -> str:
        own.names.append(data)
        own.total += 1
        return "yes"

    decision = asked(wait, decide, context=context)
    assert decision.value == "yes"
    assert context == Counts(names=["a"])
    after = ExecutorCore().contexts.merge(context, decision.update)
    assert after == Counts(names=["a", "data"], total=1)


def test_one_that_changes_nothing_has_no_update(wait: Wait) -> None:
    decision = asked(wait, lambda data, own: [*own.names], context=Counts(names=["a"]))
    assert decision == Decision(["a"])
    assert decision.update is None


def test_what_an_async_one_changes_late_counts(wait: Wait) -> None:
    async def decide(data: str, own: Counts) -> str:
        await asyncio.sleep(0)
        own.total = 3
        return data

    decision = asked(wait, decide, context=Counts())
    assert (decision.value, decision.update.changes[0].value) == ("data", 3)


def test_a_context_that_it_gives_is_a_plain_one(wait: Wait) -> None:
    decision = asked(wait, lambda data, own: own, context=Counts(total=4))
    assert type(decision.value).__mro__[0] is Counts
    assert decision.value == Counts(total=4)


@pytest.mark.parametrize("context", [None, Counts()], ids=["no context", "context"])
@pytest.mark.parametrize(
    "error", [KeyError("x"), KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError()]
)
def test_what_it_raises_comes_back(
    wait: Wait, error: BaseException, context: Counts | None
) -> None:
    def decide(data: object, own: object) -> None:
        raise error

    async def decide_later(data: object, own: object) -> None:
        raise error

    assert asked(wait, decide, context=context) == Raised(error)
    if not isinstance(error, KeyboardInterrupt | SystemExit):
        assert asked(wait, decide_later, context=context) == Raised(error)


def test_changes_of_one_that_raised_are_dropped(wait: Wait) -> None:
    def decide(data: object, own: Counts) -> None:
        own.total = 9
        raise KeyError("x")

    context = Counts()
    assert isinstance(asked(wait, decide, context=context), Raised)
    assert context == Counts()


class Array:
    """Cannot be asked whether it equals another value."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = object.__hash__


def test_data_that_cannot_be_compared_are_no_obstacle(wait: Wait) -> None:
    array = Array()
    frame = make_execution_frame(echo)
    question = Question("what", lambda data, own: data, 2)
    decision = wait(question.ask(ExecutorCore(), frame, Counts(), array, CONTEXT))
    assert isinstance(decision, Decision)
    assert decision.value is array


def test_a_journal_has_it_asked_once(wait: Wait) -> None:
    calls: list[object] = []

    def decide(data: object, own: Counts) -> int:
        calls.append(data)
        own.total = len(calls)
        return len(calls)

    journal = Journal()
    first = asked(wait, decide, context=Counts(), journal=journal)
    again = asked(wait, decide, context=Counts(), journal=journal)
    assert again is first
    assert (first.value, calls) == (1, ["data"])
    other = asked(wait, decide, context=Counts(), journal=journal, number=2)
    assert other.value == 2
    assert asked(wait, decide, context=Counts(), journal=journal, number=2) is other


def test_none_is_a_decision_too(wait: Wait) -> None:
    calls: list[object] = []
    journal = Journal()
    for _ in range(2):
        assert asked(wait, calls.append, journal=journal) == Decision(None)
    assert calls == ["data"]


def test_a_question_that_raised_is_asked_again(wait: Wait) -> None:
    calls: list[object] = []

    def decide(data: object) -> str:
        calls.append(data)
        if len(calls) == 1:
            raise KeyError("not yet")
        return "yes"

    journal = Journal()
    assert isinstance(asked(wait, decide, journal=journal), Raised)
    assert asked(wait, decide, journal=journal) == Decision("yes")


def test_decided(wait: Wait) -> None:
    async def later() -> str:
        return "later"

    error = Raised(KeyError("x"))
    assert wait(decided(5)) == Decision(5)
    assert wait(decided(later())) == Decision("later")
    assert wait(decided(error)) is error
