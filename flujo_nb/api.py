"""The name ``flujo`` in the user's namespace: the session, from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.steps import Node, Pipeline, Step, name_of
from flujo_nb.engine.usage import UsageLimits

from .awaiting import guarded, run_bridged
from .border import copied
from .commands.look import status_view
from .display import FrameCard
from .errors import unknown
from .front import Front
from .head import Given, Request

_NOT_GIVEN = object()


class Frames(Mapping[str, FrameCard]):
    """The session's frames by id: ``flujo.frames["f3"]``, ``flujo.frames["f3/words"]``."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def __getitem__(self, frame_id: str) -> FrameCard:
        session = self._front.session
        try:
            record = session.record(frame_id)
        except UsageError as error:
            raise KeyError(str(error)) from None
        return self._front.card(session.entry(record))

    def __iter__(self) -> Iterator[str]:
        return (entry.record.id for entry in self._front.session.entries)

    def __len__(self) -> int:
        return len(self._front.session.entries)


class SessionApi:
    """What ``%flujo`` does, for Python: ``await flujo.run(words, input="to be")``."""

    def __init__(self, front: Front) -> None:
        self._front = front

    @property
    def head(self) -> FrameCard | None:
        """The frame that the next run continues from."""
        head = self._front.session.head
        return None if head is None else self._front.card(self._front.session.entry(head))

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
            inside: list[FrameRecord] = [*reversed(session.children(entry.record)), entry.record]
            for record in inside:
                if record.name == name and record.succeeded:
                    return copied(record.output).value
                names.append(record.name)
        raise KeyError(str(unknown("output of a step called", name, dict.fromkeys(names))))

    async def run(
        self,
        target: str | Node | Callable[..., object],
        *,
        input: object = _NOT_GIVEN,  # noqa: A002  # what it is
        from_: str | None = None,
    ) -> FrameCard:
        """Run ``target`` (names, a step or pipeline, or a function) where ``%flujo run`` would.

        ``input`` starts a new line with that value; ``from_`` names the frame to continue from.
        Raises what a cell would show: `StepFailed`, `RunAborted`, `RunInterrupted`, `UsageError`.
        """
        node, name = self._resolved(target)
        request = self._request(name, input, from_)
        return await guarded(lambda: self._front.run(node, name, request))

    def run_sync(
        self,
        target: str | Node | Callable[..., object],
        *,
        input: object = _NOT_GIVEN,  # noqa: A002  # what it is
        from_: str | None = None,
    ) -> FrameCard:
        """As `run`, where ``await`` is not allowed; the run has a loop of its own."""
        node, name = self._resolved(target)
        request = self._request(name, input, from_)
        return run_bridged(lambda: self._front.run(node, name, request))

    def configure(
        self,
        *,
        context: type[BaseModel] | BaseModel | None = None,
        init: Mapping[str, object] | BaseModel | None = None,
        resources: object = None,
        limits: UsageLimits | None = None,
    ) -> None:
        """Set the context model and its first values, the resources, and the session's budget."""
        self._front.session.configure(
            context=context, init=init, resources=resources, limits=limits
        )

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
        )

    def __repr__(self) -> str:
        return repr(status_view(self._front))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> dict[str, object]:
        return status_view(self._front)._repr_mimebundle_()
