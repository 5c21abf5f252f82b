"""The callables that a container asks: conditions, mappers, reducers.

What one decides is noted in the run's journal and never asked again. It gets a copy of the
context; what it changes there belongs to its decision.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial

from pydantic import BaseModel

from .context_view import plain_of
from .frame import AnyFrame
from .journal import Decision, make_decision
from .policy import ExecutorPort
from .recall import not_decided
from .signatures import positional_count
from .unsaved import check_is_there
from .user_code import Raised, caught, caught_inline
from .values import ATOMS

_ANSWERS = {answer: Decision(answer) for answer in (False, True)}
"""What conditions decide: made once, because a journal keeps one for each iteration."""

CONTEXT = object()
"""Stands among the arguments where the copy of the context goes."""


class Question:
    """One callable of a container, called ``name`` in the journal.

    ``offered`` is how many arguments there are; a callable that takes fewer gets the first ones.
    The context is never the first, so one that takes a single argument takes no context.
    """

    __slots__ = ("_count", "alone", "function", "name", "takes_context")

    def __init__(self, name: str, function: Callable[..., object], offered: int) -> None:
        self.name = name
        self.function = function
        self._count = min(positional_count(function), offered)
        self.takes_context = self._count > 1
        # The callable as a function of the first argument, for when there is no context: what it
        # returns, or `Raised`.
        rest = (None,) * (self._count - 1)
        self.alone: Callable[[object], object] = partial(caught_inline, function)
        if self._count == 0:
            self.alone = lambda _: caught_inline(function)
        elif rest:
            self.alone = lambda first: caught_inline(function, first, *rest)

    async def ask(
        self,
        core: ExecutorPort,
        frame: AnyFrame,
        context: BaseModel | None,
        *offered: object,
        number: int | None = None,
    ) -> Decision | Raised:
        """The decision, from the journal or else from the callable; or what that raised.

        ``offered`` are the arguments, with `CONTEXT` where the copy of ``context`` goes;
        ``number`` tells apart the times that one frame asks. Raises `ReplayMismatch` for what
        nobody recorded, in a replay.
        """
        journal = frame.run.journal
        if journal is not None:
            known = journal.decision(frame.path, self.name, number)
            if known is not None:
                return known
            if journal.replaying:
                raise not_decided(frame, self.name)
            if journal.gave_unsaved:
                for one in offered:
                    there = caught_inline(check_is_there, one)
                    if isinstance(there, Raised):
                        return there
        if context is not None and self.takes_context:
            decision = await self._asked_with(core, context, offered[: self._count])
        else:
            if self._count < 2:
                value = self.alone(offered[0])
            else:
                given = (None if one is CONTEXT else one for one in offered[: self._count])
                value = caught_inline(self.function, *given)
            if type(value) is bool:
                decision = _ANSWERS[value]
            else:
                plain = type(value) in ATOMS
                decision = make_decision(value, None) if plain else await decided(value)
        if journal is not None and not isinstance(decision, Raised):
            return journal.decide(frame.path, self.name, decision, number) or decision
        return decision

    async def _asked_with(
        self, core: ExecutorPort, context: BaseModel, given: Sequence[object]
    ) -> Decision | Raised:
        if not any(one is CONTEXT for one in given):
            return await decided(caught_inline(self.function, *given))
        view = core.contexts.isolate(context)
        value = caught_inline(self.function, *(view if one is CONTEXT else one for one in given))
        decision = await decided(value)
        if isinstance(decision, Raised):
            return decision
        update = caught_inline(core.contexts.diff, context, view)
        if isinstance(update, Raised):
            return update
        return Decision(decision.value, update) if update is not None else decision


async def decided(value: object) -> Decision | Raised:
    """What a callable gave, awaited if it must be, as a decision."""
    if type(value) not in ATOMS:
        if inspect.isawaitable(value):
            value = await caught(value)
        if isinstance(value, Raised):
            return value
        if isinstance(value, BaseModel):
            value = plain_of(value)
    return make_decision(value, None)
