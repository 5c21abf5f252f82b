"""``@step`` and ``@adapter_step``: a step of the function below."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Concatenate, TypeVar, Unpack, overload

from .step_config import StepOptions
from .steps import AnyStep, Step

InT = TypeVar("InT")
OutT = TypeVar("OutT")


@overload
def step(function: Callable[[], Awaitable[OutT]], /) -> Step[object, OutT]: ...
@overload
def step(function: Callable[[], OutT], /) -> Step[object, OutT]: ...
@overload
def step(function: Callable[Concatenate[InT, ...], Awaitable[OutT]], /) -> Step[InT, OutT]: ...
@overload
def step(function: Callable[Concatenate[InT, ...], OutT], /) -> Step[InT, OutT]: ...
@overload
def step(**options: Unpack[StepOptions]) -> StepDecorator: ...
def step(
    function: Callable[..., object] | None = None, /, **options: Unpack[StepOptions]
) -> AnyStep | StepDecorator:
    """Make a `Step` of the function below it: ``@step`` or ``@step(timeout_s=5)``.

    Options are fields of `Step` and of its `StepConfig`; the latter win over ``config``.
    """
    decorate = StepDecorator(options)
    return decorate if function is None else decorate(function)


def adapter_step(
    *, adapter_id: str, adapter_allow: str, **options: Unpack[StepOptions]
) -> StepDecorator:
    """Make a step that only fits one value to the next step; both names are kept in ``meta``."""
    meta = {**options.get("meta", {}), "adapter_id": adapter_id, "adapter_allow": adapter_allow}
    options["meta"] = meta
    return StepDecorator(options)


@dataclass(frozen=True, slots=True)
class StepDecorator:
    """What ``@step(…)`` with options returns."""

    options: StepOptions

    @overload
    def __call__(self, function: Callable[[], Awaitable[OutT]], /) -> Step[object, OutT]: ...
    @overload
    def __call__(self, function: Callable[[], OutT], /) -> Step[object, OutT]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[InT, ...], Awaitable[OutT]], /
    ) -> Step[InT, OutT]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[InT, ...], OutT], /) -> Step[InT, OutT]: ...
    def __call__(self, function: Callable[..., object], /) -> AnyStep:
        """The step of ``function``."""
        return Step.from_callable(function, **self.options)
