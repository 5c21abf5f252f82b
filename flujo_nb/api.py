"""The name ``flujo`` in the user's namespace: the session, from Python."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from functools import cached_property
from typing import Any

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.steps import Node, Pipeline, Step, name_of
from flujo_nb.engine.usage import UsageLimits

from . import going_on
from .awaiting import guarded, run_bridged
from .border import copied
from .commands.look import status_view
from .display import FrameCard, View
from .errors import safely_told, unknown
from .front import Front
from .head import Given, Request
from .html import safe
from .patching import changes_of

_NOT_GIVEN = object()


class Frames(Mapping[str, FrameCard]):
    """The session's frames by id: ``flujo.frames["f3"]``, ``flujo.frames["f3/words"]``."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def __getitem__(self, frame_id: str) -> FrameCard:
        try:
            return self._front.card(frame_id)
        except UsageError as error:
            raise KeyError(safe(str(error))) from None

    def __iter__(self) -> Iterator[str]:
        return (entry.id for entry in self._front.session.entries)

    def __len__(self) -> int:
        return len(self._front.session.entries)


class Pending(Coroutine[object, None, FrameCard]):
    """A run that begins when it is awaited, and says so where it is only shown."""

    def __init__(self, run: Callable[[], Coroutine[object, None, FrameCard]]) -> None:
        self._run = run

    @cached_property
    def _begun(self) -> Coroutine[object, None, FrameCard]:
        return self._told()

    async def _told(self) -> FrameCard:
        with safely_told():
            return await self._run()

    def __await__(self) -> Generator[object, None, FrameCard]:
        return self._begun.__await__()

    def send(self, value: None) -> object:
        """Go on with the run, as a task does."""
        return self._begun.send(value)

    def throw(self, *error: Any) -> object:
        """Raise an error in the run, as a task does."""
        return self._begun.throw(*error)

    def close(self) -> None:
        """End a run that has begun."""
        if "_begun" in vars(self):
            self._begun.close()

    def __repr__(self) -> str:
        return "<not run yet: await it, or use flujo.run_sync>"


class SessionApi:
    """What ``%flujo`` does, for Python: ``await flujo.run(words, input="to be")``."""

    def __init__(self, front: Front) -> None:
        self._front = front

    @property
    def head(self) -> FrameCard | None:
        """The frame that the next run continues from."""
        head = self._front.session.head
        return None if head is None else self._front.card(head.id)

    @property
    def steps(self) -> Mapping[str, Node]:
        """The registered steps and pipelines by name."""
        return {name: one.node for name, one in self._front.session.steps.items()}

    @property
    def frames(self) -> Frames:
        """Every frame by its id."""
        return Frames(self._front)

    def __getitem__(self, name: str) -> object:
        """A copy of the newest output of the step called ``name``, wherever it ran."""
        session = self._front.session
        names: list[str] = []
        for entry in reversed(session.entries):
            whole = entry.record
            for record in (whole, *reversed(list(session.all_inside(whole)))):
                # A step that works in the background has none here: the frame passed on its input.
                if record.name == name and isinstance(record.outcome, Success):
                    if record.absent is not None:
                        raise UsageError(session.recaller.how_to_get(record))
                    return copied(record.output).value
                if record.name != name:
                    names.append(record.name)
        error = unknown("output of a step called", name, dict.fromkeys(names))
        raise KeyError(safe(str(error)))

    def run(
        self,
        target: str | Node | Callable[..., object],
        input: object = _NOT_GIVEN,  # noqa: A002  # what it is
        *,
        from_: str | None = None,
    ) -> Pending:
        """Run ``target`` (names, a step or pipeline, or a function) where ``%flujo run`` would.

        ``input`` starts a new line with that value; ``from_`` names the frame to continue from.
        Raises what a cell would show: `StepFailed`, `RunAborted`, `RunInterrupted`, `UsageError`.
        """

        async def run() -> FrameCard:
            node, name = self._resolved(target)
            request = self._request(name, input, from_)
            return await guarded(lambda: self._front.run(node, name, request))

        return Pending(run)

    @safely_told()
    def run_sync(
        self,
        target: str | Node | Callable[..., object],
        input: object = _NOT_GIVEN,  # noqa: A002  # what it is
        *,
        from_: str | None = None,
    ) -> FrameCard:
        """As `run`, where ``await`` is not allowed; the run has a loop of its own."""
        node, name = self._resolved(target)
        request = self._request(name, input, from_)
        return run_bridged(lambda: self._front.run(node, name, request))

    def resume(self, frame: str | None = None, answer: object = _NOT_GIVEN) -> Pending:
        """Go on with a frame that paused, failed or was interrupted; see ``%flujo resume``.

        ``answer`` is for its question. Raises as `run` does.
        """
        given = None if answer is _NOT_GIVEN else Given(answer)
        return Pending(lambda: guarded(lambda: going_on.resume(self._front, frame, given)))

    def fork(self, frame: str, name: str | None = None) -> Pending:
        """Run a frame's command again, or from a frame inside it on; see ``%flujo fork``."""
        return Pending(lambda: guarded(lambda: going_on.fork(self._front, frame, name)))

    @safely_told()
    def patch(
        self,
        frame: str,
        *,
        output: object = _NOT_GIVEN,
        data: object = _NOT_GIVEN,
        context: object = _NOT_GIVEN,
    ) -> Pending:
        """Make a frame with another output, input or context; see ``%%flujo patch``.

        One of the three is given: a JSON merge patch, as dicts, lists, texts and numbers.
        """
        parts = {"output": output, "data": data, "context": context}
        given = {name: one for name, one in parts.items() if one is not _NOT_GIVEN}
        changes = changes_of(given)
        return Pending(lambda: guarded(lambda: going_on.patch(self._front, frame, changes)))

    @safely_told()
    def diff(self, frame: str, other: str | None = None) -> View:
        """What differs between two frames, or between one and HEAD; see ``%flujo diff``."""
        from .diffs.comparing import compared  # noqa: PLC0415  # not loaded before it is asked for

        return compared(self._front, frame, other)

    @safely_told()
    def configure(
        self,
        *,
        context: type[BaseModel] | BaseModel | None = None,
        init: Mapping[str, object] | BaseModel | None = None,
        resources: object = None,
        limits: UsageLimits | None = None,
        max_concurrency: int | str | None = None,
    ) -> None:
        """Set the context model and its first values, the resources, and the session's budget.

        ``max_concurrency`` is how many attempts may be in flight, ``"none"``: any number.
        """
        self._front.session.configure(
            context=context, init=init, resources=resources, max_concurrency=max_concurrency
        )
        if limits is not None:
            run_bridged(lambda: self._front.limit(limits))

    def _resolved(self, target: str | Node | Callable[..., object]) -> tuple[Node, str]:
        if isinstance(target, str):
            return self._front.session.resolve(target, self._front.shell.user_ns), target
        if not isinstance(target, Step | Pipeline) and not callable(target):
            raise UsageError(f"run what? names, a step, a pipeline or a function; found {target!r}")
        node = target if isinstance(target, Step | Pipeline) else Step.from_callable(target)
        return node, name_of(node)

    def _request(self, name: str, value: object, source: str | None) -> Request:
        return Request(
            cell=self._front.cell_key("flujo.run", name),
            given=None if value is _NOT_GIVEN else Given(value),
            source=None if source is None else self._front.session.succeeded_record(source),
            target=name,
        )

    def __repr__(self) -> str:
        return repr(status_view(self._front))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        return status_view(self._front)._repr_mimebundle_()
