"""What commands work with: the shell, the session, the settings, and how a run ends in a cell."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from types import ModuleType

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from pydantic import BaseModel

from flujo_nb.engine.errors import (
    ConfigurationError,
    PatchMisfit,
    ResumeError,
    StoreError,
    TypeMismatchError,
    ValueNotRead,
)
from flujo_nb.engine.failure_builder import feedback_of
from flujo_nb.engine.outcomes import (
    Aborted,
    AbortReason,
    Chunk,
    Failure,
    Paused,
    StepOutcome,
    Success,
)
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.step_history_tracker import StepHistoryTracker, deepest_end
from flujo_nb.engine.steps import Node
from flujo_nb.engine.usage import Quota, UsageLimits
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.widgets.previews import FEEDBACK, clipped
from flujo_nb.widgets.view_model import CHILDREN, FrameView, budget_lines, frame_view

from .asking import answer_type, example_of
from .awaiting import Way
from .cell_body import current_cell
from .display import FrameCard, text_view
from .errors import RunAborted, RunError, RunInterrupted, StepFailed, TerseError
from .head import NOT_SAVED, CellKey, Entry, Request, Start
from .patching import is_patched
from .reuse import reusable
from .run_options import PLAIN, RunOptions
from .session import Session
from .sessions import Sessions
from .settings import Flujo
from .user_line import user_lines


class InputError(TerseError):
    """An expression that a command was given raised. No step has run."""


class Front:
    """One shell's session with everything that commands need around it."""

    def __init__(self, shell: InteractiveShell, settings: Flujo) -> None:
        self.shell = shell
        self.settings = settings
        self.sessions = Sessions(settings, shell.user_ns, self.say)
        self.way: Callable[[], Way | None] = lambda: None
        """How the newest command was run."""
        self._pauses = StepHistoryTracker()
        self._execution = -1
        self._ordinal = 0

    @property
    def session(self) -> Session:
        """The session that commands work on."""
        return self.sessions.current

    def say(self, text: str) -> None:
        """Tell the user something beside what a command returns."""
        display(text_view(text))  # type: ignore[no-untyped-call]

    # The user's namespace

    def evaluate(self, expression: str, option: str) -> object:
        """The value of a Python expression that ``option`` was given, in the user's namespace.

        Raises `UsageError` when it does not compile and `InputError` when it raises.
        """
        try:
            code = compile(expression, f"<{option}>", "eval")
        except SyntaxError as error:
            raise UsageError(f"{option} {expression}: {error.msg}") from None
        shell = self.shell
        value: object = caught_inline(eval, code, shell.user_global_ns, shell.user_ns)
        if isinstance(value, Raised):
            cause = value.error
            raise InputError(
                f"{option} {expression}: {clipped(feedback_of(cause), FEEDBACK)}\n"
                "  no step has run, and the session is as it was"
            ) from cause
        return value

    def variable(self, name: str) -> object:
        """The user's variable called ``name`` (dots reach into modules and classes)."""
        first, *rest = name.split(".")
        if first not in self.shell.user_ns:
            raise UsageError(f"there is no variable {first!r}: run the cell that defines it")
        value: object = self.shell.user_ns[first]
        for part in rest:
            inside = vars(value) if isinstance(value, ModuleType | type) else {}
            if part not in inside:
                raise UsageError(f"{name}: there is no {part!r} in a module or class {first}")
            value = inside[part]
        return value

    def names(self) -> list[str]:
        """The variables of the user's own."""
        return [name for name in self.shell.user_ns if not name.startswith("_")]

    def models(self) -> list[str]:
        """The variables that hold a pydantic model class of the user's."""
        return [
            name
            for name, value in self.shell.user_ns.items()
            if isinstance(value, type) and issubclass(value, BaseModel) and value is not BaseModel
        ]

    def cell_key(self, command: str, name: str) -> CellKey:
        """Which command of which cell is being run, with ``name`` as its target."""
        cell = current_cell(self.shell)
        number = cell.number if cell is not None else self.shell.execution_count
        self._ordinal = self._ordinal + 1 if number == self._execution else 0
        self._execution = number
        cell_id = cell.id if cell is not None else None
        return CellKey(command, name, cell_id, number, self._ordinal)

    async def limit(self, limits: UsageLimits) -> None:
        """Have the session use no more than ``limits``. Raises `StoreUnusable`."""
        self.session.limit(limits)
        try:
            await self.session.keeper.limited(limits)
        except StoreError as error:
            self.sessions.failed(error)

    # Runs

    async def run(
        self, node: Node, name: str, request: Request, options: RunOptions = PLAIN
    ) -> FrameCard:
        """Run ``node`` and return its card.

        What was recorded of the same on the same input is given instead, where `Flujo.reuse` says
        so. Raises `StepFailed`, `RunAborted` or `RunInterrupted`, with the record that was kept,
        when it did not succeed, and `UsageError` when it cannot start.
        """
        refuse = self.settings.after_failure == "refuse"
        session = await self.sessions.ready(records=True)
        start = session.start_of(request, name, refuse_after_failure=refuse)
        found = self.reusable(session, node, request, start, options)
        if found is not None:
            await session.reuse(found, request.cell)
            return self.card(found.id, is_reused=True)
        return await self.ended(
            lambda: session.run(node, name, request, start, options).carried_out()
        )

    def reusable(
        self, session: Session, node: Node, request: Request, start: Start, options: RunOptions
    ) -> Entry | None:
        """The recorded frame that stands for a run, where `Flujo.reuse` says that one may."""
        if self.settings.reuse != "same" or not options.uses_cache:
            return None
        return reusable(session, node, request.target, start)

    async def ended(self, run: Callable[[], Coroutine[None, None, Entry]]) -> FrameCard:
        """The card of what ``run`` comes to. Raises as `run` does."""
        session = self.session
        try:
            try:
                entry = await run()
            except StoreError as error:  # nothing has run yet
                self.sessions.failed(error)
                entry = await run()
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
        broken, session.store_error = session.store_error, None
        if broken is not None and (entry.succeeded or not self.sessions.is_named):
            self.sessions.failed(broken)
        if entry.succeeded:
            return self.card(entry.id)
        raise self._error(entry)

    def card(self, frame_id: str, *, is_reused: bool = False) -> FrameCard:
        """The card of a frame: ``f3``, ``f3/words``; ``is_reused`` says that nothing has run."""
        view = self.view(frame_id)
        return FrameCard(replace(view, is_reused=is_reused), self.session)

    def view(self, frame_id: str) -> FrameView:
        """What there is to say about a frame.

        When what is inside cannot be read here, that is said, and it is shown as plain data.
        """
        record = self.session.record(frame_id)
        try:
            return self._view(record)
        except ValueNotRead as error:
            bare = replace(record, outcome=replace(record.outcome, children=()))
            view = self._view(bare, f"what is inside is shown as plain data: {error}")
        inside = self.session.keeper.lines_inside(record)
        more = max(len(inside) - CHILDREN, 0)
        return replace(view, children=inside[:CHILDREN], more_children=more)

    def _view(self, record: FrameRecord, *notes: str) -> FrameView:
        session = self.session
        entry = session.entry_of(record.id)
        is_own = record.id == entry.id  # a frame inside a command has no command of its own
        head, saved = session.head, entry.ended.saved if is_own else NOT_SAVED
        return frame_view(
            record,
            origin=entry.origin if is_own else _place(record, entry),
            notes=(*(entry.notes if is_own else ()), *notes),
            children=session.children(record),
            tasks=session.tasks_below(record),
            is_head=head is not None and head.id == record.id,
            live_only=saved.live_only,
            digest=saved.digest,
            input_digest=saved.input_digest,
            stale=session.staleness.why(entry),
            budget=_budgets(session, entry.command.limits, record) if is_own else (),
        )

    def _error(self, entry: Entry) -> RunError | RunInterrupted:
        record = entry.record
        end, path = deepest_end(record.outcome, above_of(record))
        kept = self._kept(record)
        match end:
            case Failure(error=cause):
                mend = "mend it and run the cell again"
                if isinstance(cause, TypeMismatchError) and given_nothing(record):
                    mend = "give it an input with  -i EXPR"
                    if self.session.head is not None and entry.command.notes:  # it ran again
                        mend += f", or go on from {self.session.head.id} with  --on-head"
                elif _has_finished(record.outcome):
                    mend = f"mend it and  {how_to_resume(record.id)}"
                lines = [
                    f"{record.name} failed at {path}   ← {entry.origin}",
                    *user_lines(cause, self.shell),
                    *kept,
                    f"  next: {mend}, or  %flujo show {record.id}",
                ]
                whole = None if self.settings.short_errors else self._traceback_of
                failed = StepFailed(record, lines, whole=whole)
                failed.__cause__ = cause
                return failed
            case Aborted(reason=AbortReason.INTERRUPTED):
                finished = _has_finished(record.outcome)
                again = how_to_resume(record.id) if finished else "run the cell again"
                lines = [
                    f"Interrupted: {record.name} at {path}   ← {entry.origin}",
                    *kept,
                    f"  next: {again}, or  %flujo show {record.id}",
                ]
                return RunInterrupted(record, lines)
            case Paused():
                return RunAborted(record, [*self._question(entry), *kept, *ways_to_answer(entry)])
            case Aborted(reason=AbortReason.HELD, error=ResumeError() as error):
                told = str(error).partition("\nEither")[0]  # then come Python's ways
                first, *rest = told.removesuffix(f" (at {path})").splitlines()
                ways = f"%flujo resume {record.id} --keep, or  %flujo fork {record.id}"
                if isinstance(error, PatchMisfit):
                    ways = f"%%flujo patch {entry.command.forks} with what fits"
                lines = [
                    f"{record.name} did not run at {path}: {clipped(first, FEEDBACK)}",
                    *(f"  {clipped(line, FEEDBACK)}" for line in rest[:6]),
                    *kept,
                    f"  next: {ways}",
                ]
                return RunAborted(record, lines)
            case _:
                by_quota = isinstance(end, Aborted) and end.reason is AbortReason.QUOTA
                own = " --budget LIMITS" if entry.command.limits is not None else ""
                again = f"%flujo resume {record.id}{own}"
                more = f"%flujo budget LIMITS, then  {again}, or  " if by_quota else ""
                lines = [
                    f"{record.name} {record.status.value} at {path}   ← {entry.origin}",
                    f"  {clipped(record.feedback or '', FEEDBACK)}",
                    *kept,
                    f"  next: {more}%flujo show {record.id}",
                ]
                return RunAborted(record, lines)

    def _traceback_of(self, error: BaseException) -> list[str]:
        """What IPython shows of an error."""
        made = self.shell.InteractiveTB
        return made.structured_traceback(type(error), error, error.__traceback__)

    def _question(self, entry: Entry) -> list[str]:
        """What a run that paused asks, and what type of answer it takes."""
        first, *others = self._pauses.open_pauses(entry.record.outcome, above_of(entry.record))
        more = f" (and {len(others)} more)" if others else ""
        asked = clipped(" ".join(first.message.split()), FEEDBACK)
        lines = [
            f"{entry.record.name} paused at {first.path}   ← {entry.origin}",
            f"  asks: {asked}{more}",
        ]
        if first.schema is not None:
            example = example_of(first.schema)
            shown = "" if example is None else f"; for example  --with {example}"
            lines.append(f"  answer: {answer_type(first.schema)}{shown}")
        return lines

    def _kept(self, record: FrameRecord) -> list[str]:
        head = self.session.head
        kept = f"  kept: {record.id} ({record.status.value})"
        if head is None:
            return [f"{kept}; there is no HEAD yet"]
        return [f"{kept}; HEAD is still {head.id} {head.name}, all frames before it stand"]


def _place(record: FrameRecord, entry: Entry) -> str:
    """Where the input of a frame inside an entry's came from."""
    place = "its place in the pipeline"
    return f"{place}, patched" if is_patched(record, entry.command) else place


def _budgets(session: Session, own: UsageLimits | None, record: FrameRecord) -> Sequence[str]:
    """What is left of the session's budget, and of the run's own, if it had one."""
    of_run = () if own is None else budget_lines(Quota(own, spent=record.usage))
    return [*(f"{line} for this run" for line in of_run), *budget_lines(session.quota)]


def _has_finished(outcome: StepOutcome) -> bool:
    """Whether a frame inside is finished: resuming does not run that again."""
    if isinstance(outcome, Chunk):
        return True
    return any(isinstance(one, Success) or _has_finished(one) for one in outcome.children)


def how_to_resume(frame_id: str) -> str:
    """The command that goes on with a frame."""
    return f"%flujo resume {frame_id}  (what has finished is not run again)"


def ways_to_answer(entry: Entry) -> list[str]:
    """The commands that answer a frame's question."""
    return [
        f"  next: %flujo resume {entry.id} --with EXPR, or the answer itself in a cell with",
        f"        %%flujo resume {entry.id} in its first line",
    ]


def given_nothing(record: FrameRecord) -> bool:
    """Whether a record's frame was the first of a line, and what failed had its input: none."""
    inside = record.outcome.children
    went_on = any(isinstance(one, Success) for one in inside)
    return record.parent is None and record.data is None and not went_on


def above_of(record: FrameRecord) -> FramePath:
    """The path above a record's frame: its outcome tells the rest."""
    own = len(record.outcome.segments)
    return FramePath(record.path.segments[: len(record.path.segments) - own])
