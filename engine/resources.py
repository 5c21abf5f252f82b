"""A run's resources that every attempt enters and leaves, because they are a context manager."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import TypeAlias

from .failure_builder import FailureBuilder, feedback_of, is_failure
from .user_code import Raised, caught, caught_inline

Manager: TypeAlias = AbstractAsyncContextManager[object] | AbstractContextManager[object]


def manager_of(resources: object) -> Manager | None:
    """A run's resources, when they are to be entered and left by each attempt."""
    if isinstance(resources, AbstractAsyncContextManager | AbstractContextManager):
        return resources
    return None


class Entered:
    """Resources, entered for one attempt: ``async with Entered(manager, failures) as resources``.

    Leaving them tells them how the attempt ended, and changes that only when they raise after an
    attempt that went well, or when leaving them was interrupted.
    """

    def __init__(self, manager: Manager, failures: FailureBuilder) -> None:
        self._manager = manager
        self._failures = failures

    async def __aenter__(self) -> object:
        manager = self._manager
        if isinstance(manager, AbstractAsyncContextManager):
            entered = await caught(manager.__aenter__())
        else:
            entered = caught_inline(manager.__enter__)
        if isinstance(entered, Raised):
            raise self._failures.cause_of(entered.error)
        return manager if entered is None else entered

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        manager = self._manager
        left: object
        if isinstance(manager, AbstractAsyncContextManager):
            left = await caught(manager.__aexit__(kind, error, traceback))
        else:
            left = caught_inline(manager.__exit__, kind, error, traceback)
        if not isinstance(left, Raised):
            return
        cause = self._failures.cause_of(left.error)
        if error is None or not is_failure(cause):
            raise cause
        error.add_note(f"Leaving the resources failed too: {feedback_of(cause)}")
