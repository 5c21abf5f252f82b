"""Runs of one implementation of a kind of step, and what they tell on the way."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest

from flujo_nb.engine.errors import FlujoDeprecationWarning, UsageLimitExceededError
from flujo_nb.engine.hooks import ChunkArrived, FrameFinished, FrameRestored, FrameStarted
from flujo_nb.engine.outcomes import Chunk, status_of
from flujo_nb.engine.policies.built_in import built_in_policies
from flujo_nb.engine.policy_registry import PolicyRegistry
from flujo_nb.engine.results import AnswerRecorded, PipelineResult, StepResult
from flujo_nb.engine.runner import Flujo
from tests.engine.fakes import Counts, Wait

Heard = FrameStarted | ChunkArrived | FrameFinished | FrameRestored


def implementations(*others: type) -> pytest.MarkDecorator:
    """Have every test of a module run with the built-in policy and with each of ``others``."""
    names = [f"{one.__module__.rpartition('.')[2]}" for one in others]
    return pytest.mark.parametrize("policy", [None, *others], ids=["built_in", *names])


def registry_of(*policies: type) -> PolicyRegistry:
    """The built-in policies, some replaced."""
    registry = built_in_policies()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FlujoDeprecationWarning)
        for policy in policies:
            registry.register(policy())
    return registry


class Runs:
    """Runs pipelines; ``events`` and ``chunks`` hold what was heard of the newest run.

    An event is ``started``, ``chunk``, ``restored`` or how the frame ended, with its path.
    """

    def __init__(self, registry: PolicyRegistry, wait: Wait) -> None:
        self.registry = registry
        self._wait = wait
        self.events: list[str] = []
        self.chunks: list[tuple[str, object, int]] = []

    def __call__(self, node: Any, data: object = None, **options: Any) -> PipelineResult:
        """The result of a run, whose context is a `Counts` unless another is given."""
        limit_s = options.pop("time_limit_s", None)
        options.setdefault("context_model", Counts)
        self.runner = Flujo(node, registry=self.registry, hooks=[self._hear], **options)
        run = self.runner.run_async(data, on_chunk=self._take).result()
        return self._whole(run if limit_s is None else asyncio.wait_for(run, limit_s))

    def resume(self, paused: PipelineResult, answer: object, at: Any = None) -> PipelineResult:
        """The result of going on with an answer."""
        result = self._whole(self.runner.resume_async(paused, answer, pause=at))
        assert not isinstance(result, AnswerRecorded)
        return result

    def breach(self, node: Any, data: object = None, **options: Any) -> PipelineResult:
        """What had run when a run was over its budget."""
        with pytest.raises(UsageLimitExceededError) as breach:
            self(node, data, **options)
        assert breach.value.result is not None
        return breach.value.result

    def _whole(self, work: Any) -> Any:
        self.events.clear()
        self.chunks.clear()
        try:
            return self._wait(work)
        finally:
            self._check()

    def _check(self) -> None:
        """What holds of every run: each frame ends once, and all who listen hear of a chunk."""
        heard: dict[str, list[str]] = {}
        for event in self.events:
            kind, _, path = event.partition(" ")
            heard.setdefault(kind, []).append(path)
        started, chunks = heard.pop("started", []), heard.pop("chunk", [])
        restored = heard.pop("restored", [])
        assert sorted(started) == sorted(path for paths in heard.values() for path in paths)
        assert len({*started, *restored}) == len(started) + len(restored)
        assert chunks == [f"{path} {data}" for path, data, _ in self.chunks]

    def _take(self, chunk: Chunk) -> None:
        self.chunks.append((str(chunk.path), chunk.data, chunk.attempt))

    def _hear(self, event: Heard) -> None:
        match event:
            case FrameFinished(outcome=outcome):
                self.events.append(f"{status_of(outcome)} {event.path}")
            case ChunkArrived(chunk=chunk):
                self.events.append(f"chunk {event.path} {chunk.data}")
            case FrameRestored():
                self.events.append(f"restored {event.path}")
            case FrameStarted():
                self.events.append(f"started {event.path}")


def paths_in(history: Any) -> list[str]:
    """The paths of step results and of all inside them, in order."""
    return [path for one in history for path in (str(one.path), *paths_in(one.step_history))]


def only(result: PipelineResult) -> StepResult:
    """The one step of a run."""
    (one,) = result.step_history
    return one
