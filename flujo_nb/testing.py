"""Stand-ins for what tests of a pipeline do not want to call: agents, plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .engine.results import PipelineResult
from .engine.runner import Flujo
from .engine.step_config import PluginOutcome


class StubAgent:
    """An agent that gives the outputs it was made with, in order.

    An output that is an exception is raised. ``inputs`` holds what it was given.
    """

    def __init__(self, outputs: Iterable[object]) -> None:
        self._outputs = list(outputs)
        self.inputs: list[object] = []

    async def run(self, data: object) -> object:
        """The next output; `IndexError` when there is none left."""
        self.inputs.append(data)
        call = len(self.inputs)
        if call > len(self._outputs):
            raise IndexError(
                f"this StubAgent has {len(self._outputs)} outputs, and was called {call} times"
            )
        output = self._outputs[call - 1]
        if isinstance(output, BaseException):
            raise output
        return output


class DummyPlugin:
    """A plugin that gives the outcomes it was made with, in order; ``checked`` holds the data."""

    def __init__(self, outcomes: Iterable[PluginOutcome]) -> None:
        self._outcomes = list(outcomes)
        self.checked: list[Mapping[str, object]] = []

    async def validate(self, data: Mapping[str, object]) -> PluginOutcome:
        """The next outcome; `IndexError` when there is none left."""
        self.checked.append(data)
        call = len(self.checked)
        if call > len(self._outcomes):
            raise IndexError(
                f"this DummyPlugin has {len(self._outcomes)} outcomes, and was asked {call} times"
            )
        return self._outcomes[call - 1]


async def gather_result(runner: Flujo, data: object = None) -> PipelineResult:
    """Run to the end, reading every outcome and chunk on the way, and return the result."""
    last: object = None
    async for item in runner.run_async(data):
        last = item
    if not isinstance(last, PipelineResult):
        raise TypeError(f"a run ends with a PipelineResult; found {type(last).__name__}")
    return last
