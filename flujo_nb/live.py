"""One line that says how a run stands while it works, with the text that is being written.

`Progress` is the pure part: what events tell, as words. `live_options` has it shown, in one place
of the cell: before each synchronous step, which stops everything else on the loop, and otherwise
at most five times a second. What is shown last stays.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from time import strftime
from uuid import uuid4

from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from flujo_nb.engine.agent_orchestrator import Again, decide_retry
from flujo_nb.engine.hooks import AttemptFailed, FrameFinished, FrameStarted, Hook
from flujo_nb.engine.outcomes import Chunk, RunStatus, status_of
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.signatures import CallKind
from flujo_nb.engine.step_body import runs_in_thread
from flujo_nb.engine.steps import AgentStep, Node, Step
from flujo_nb.engine.usage import Quota, Usage
from flujo_nb.widgets.previews import SHOWN, clipped, duration_text, short, veiled

from .display import View, progress_view
from .front import Front
from .html import without_controls
from .run_options import PLAIN, RunOptions

EVERY_S = 0.2
"""The seconds between two looks at how a run stands."""

TEXT = 10_000
"""How many characters of what is being written are shown: the newest."""

_FRAMES = 4
"""How many frames that work at once are told of."""

_FINISHED = (RunStatus.COMPLETED, RunStatus.FAILED)
_WRITING = "writing …"
_BEGUN_WORD = re.compile(r"[!-~]+\Z")


@dataclass(slots=True)
class Working:
    """A frame that works: since when, in which attempt, and what it has written in that."""

    path: FramePath
    step: Node
    since: str
    attempt: int = 1
    because: str = ""
    written: list[str] = field(default_factory=list)
    inner: int = 0
    """How many pipelines are at work that stand at the same path."""

    @property
    def line(self) -> str:
        """Where it stands, and since when."""
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        because = f" ({self.because})" if again and self.because else ""
        return f"{self.path} since {self.since}{again}{because}"

    def text(self, limit: int, *, is_whole: bool = False) -> str:
        """The end of what it has written; a word that may go on is held back.

        What looks like a secret is known by its whole word only.
        """
        text = "".join(self.written)
        if not is_whole:
            text = _BEGUN_WORD.sub("", text)
            if not text.strip() and isinstance(self.step, AgentStep):
                return _WRITING
        text = veiled(text)
        if len(text) <= limit:
            return text
        end = re.split(r"\s", text[-limit:], maxsplit=1)[-1]
        return f"… ({len(text) - len(end):,} characters before this)\n{end}"


class Progress:
    """How the run of ``name`` stands, as far as its events tell."""

    def __init__(self, name: str) -> None:
        self.status = RunStatus.RUNNING
        self._name = name
        self._working: dict[FramePath, Working] = {}
        self._root: Working | None = None
        self._finished = 0
        self._duration = ""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status is not RunStatus.RUNNING

    def started(self, event: FrameStarted, at: str) -> None:
        """A frame begins, ``at`` a time for people; the first is the whole run's."""
        known = self._working.get(event.path)
        if known is not None:
            known.inner += 1
            return
        working = Working(event.path, event.step, at)
        self._working[event.path] = working
        if self._root is None:
            self._root = working

    def failed(self, event: AttemptFailed) -> None:
        """An attempt failed: what it had written counts no more, if another follows."""
        working = self._working.get(event.path)
        if working is None or not isinstance(working.step, Step):
            return
        step = working.step
        again = decide_retry(event.error, event.attempt, step.max_retries, step.config)
        if isinstance(again, Again):
            working.attempt = event.attempt + 1
            working.because = clipped(event.feedback, SHOWN)
            working.written.clear()

    def wrote(self, chunk: Chunk) -> None:
        """A frame put out a piece: text as it is, of anything else how it begins, in a line."""
        working = self._working.get(chunk.path)
        if working is not None:
            data = chunk.data
            piece = data if isinstance(data, str) else f"{short(data)}\n"
            working.written.append(without_controls(piece))

    def finished(self, event: FrameFinished) -> None:
        """A frame ended."""
        working = self._working.get(event.path)
        if working is None:
            return
        if working.inner:
            working.inner -= 1
            return
        del self._working[event.path]
        status = status_of(event.outcome)
        if working is self._root:
            self._duration = f" in {duration_text(event.outcome.latency_s)}"
            self.end(status)
        elif status in _FINISHED and not working.step.is_sequence:
            self._finished += 1

    def end(self, status: RunStatus) -> None:
        """The run is over; of what still works behind it nothing is told."""
        self.status = status
        self._working.clear()

    def view(self, spent: Usage) -> View:
        """What is shown of it, now that ``spent`` was spent."""
        title = f"{self._name} {self.status.value}{self._duration}"
        finished = [f"{self._finished} finished"] if self._finished else []
        told = [*finished, *([spent_text(spent)] if spent else [])]
        if self.is_over:
            root = self._root
            text = root.text(TEXT, is_whole=True) if root is not None else ""
            return progress_view(title, told, [("", text)], self.status)
        shown, more = self._at_work()
        if len(shown) == 1:
            [one] = shown
            return progress_view(title, [one.line, *told], [("", one.text(TEXT))], self.status)
        at_work = f"{len(shown) + more} at work"
        blocks = [(one.line, one.text(TEXT // len(shown))) for one in shown]
        blocks += [(f"and {more} more", "")] if more else []
        return progress_view(title, [at_work, *told], blocks, self.status)

    def _at_work(self) -> tuple[Sequence[Working], int]:
        """The frames that work, without those around them: some of them, and how many more."""
        around = {above for path in self._working for above in _above(path)}
        inmost = [one for path, one in self._working.items() if path.segments not in around]
        return inmost[:_FRAMES], max(len(inmost) - _FRAMES, 0)


def _above(path: FramePath) -> Iterable[tuple[object, ...]]:
    return (path.segments[:count] for count in range(len(path.segments)))


def spent_text(spent: Usage) -> str:
    """Tokens, and the price as far as it is known."""
    price = f", ${spent.cost_usd:.4f}" if spent.cost_micros else ""
    return f"{spent.tokens:,} tokens{price}"


def live_options(front: Front, name: str, options: RunOptions = PLAIN) -> RunOptions:
    """``options`` for a run that is called ``name``, with which the cell shows how it stands.

    They are for one run. Its agents stream.
    """
    live = _Live(front.shell, Progress(name))
    return replace(
        options,
        hooks=(*options.hooks, *live.hooks),
        on_chunk=live.progress.wrote,
        on_quota=live.watch,
    )


class _Live:
    """Shows how a run stands: hears its events, and looks at it now and then."""

    def __init__(self, shell: InteractiveShell, progress: Progress) -> None:
        self.progress = progress
        self.hooks = (
            Hook(self._started, (FrameStarted,)),
            Hook(progress.failed, (AttemptFailed,)),
            Hook(self._finished, (FrameFinished,)),
        )
        self._shell = shell
        self._id = f"flujo_{uuid4().hex}"
        self._shown: dict[str, object] | None = None
        self._quota = Quota()
        self._next_look: asyncio.TimerHandle | None = None

    def watch(self, quota: Quota) -> None:
        """Tell what is spent of ``quota``."""
        quota.in_flight = set()
        self._quota = quota

    def _started(self, event: FrameStarted) -> None:
        is_first = self._next_look is None
        if is_first and self.progress.is_over:
            return  # it works on behind the run
        self.progress.started(event, strftime("%H:%M:%S"))
        if is_first:
            task = asyncio.current_task()
            if task is not None:  # a run that is broken off may not tell its end
                task.add_done_callback(lambda _: self._end(RunStatus.INTERRUPTED))
            self._look()
        elif _holds_the_loop(event.step):
            self._show()

    def _finished(self, event: FrameFinished) -> None:
        self.progress.finished(event)
        if self.progress.is_over:
            self._end(self.progress.status)

    def _look(self) -> None:
        self._show()
        self._next_look = asyncio.get_running_loop().call_later(EVERY_S, self._look)

    def _end(self, status: RunStatus) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
            self.progress.end(status)
            self._show()

    def _show(self) -> None:
        """Send what is shown, if it is another than before."""
        publisher = self._shell.display_pub
        if type(publisher) is DisplayPublisher and not self.progress.is_over:
            return  # a terminal: what was printed stays
        bundle = self.progress.view(self._quota.so_far)._repr_mimebundle_()
        if bundle != self._shown:
            publisher.publish(
                bundle, transient={"display_id": self._id}, update=self._shown is not None
            )
            self._shown = bundle


def _holds_the_loop(step: Node) -> bool:
    """Whether nothing else can go on while ``step`` works, unless others work beside it."""
    is_sync = step.shape is not None and step.shape.kind is CallKind.SYNC
    return is_sync and isinstance(step, Step) and not runs_in_thread(step)
