"""``%flujo session``: what new lines start with, and which session the kernel works in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeGuard

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View, table_view
from flujo_nb.engine.errors import RunHeld, StoreError
from flujo_nb.engine.stores import StoredRun
from flujo_nb.errors import unknown
from flujo_nb.front import Front
from flujo_nb.session import Session
from flujo_nb.sizes import size_text
from flujo_nb.widgets.previews import SHOWN, clipped, duration_text, short

from .command import ANY_WORDS, Command
from .look import shown_of

_USAGE = (
    "%flujo session [new | list [SESSION] | use SESSION] [--context MODEL] [--init EXPR] "
    "[--resources EXPR] [--max-concurrency N]"
)
_WORDS = ("new", "list", "use")


async def session(front: Front, parsed: Parsed, body: str) -> View:
    """Set the context and the resources; show them. Or exchange the session, or list others."""
    match parsed.words:
        case []:
            pass
        case ["new"]:
            await front.sessions.new(_configuring(front, parsed))
            return _shown(front)
        case ["list"]:
            return await _listed(front)
        case ["list", run_id]:
            return await _frames_of(front, run_id)
        case ["use", run_id]:
            return await _used(front, run_id)
        case [word] if word not in _WORDS:
            raise unknown("word of session", word, _WORDS)
        case words:
            raise UsageError(f"session {' '.join(words)}: usage: {_USAGE}")
    _configuring(front, parsed)(front.session)
    return _shown(front)


def _configuring(front: Front, parsed: Parsed) -> Callable[[Session], None]:
    """Sets what the options say, whose expressions are evaluated now."""
    name = parsed.values.get("--context")
    model = None if name is None else front.variable(name)
    init = _evaluated(front, parsed, "--init")
    if init is not None and not isinstance(init, Mapping | BaseModel):
        raise UsageError(f"--init takes a dict or a model; found {type(init).__name__}")
    if model is not None and not _is_model(model):
        raise UsageError(
            f"--context {name}: a context is a pydantic model (class {name}(BaseModel): …); "
            f"found {short(model, 40)}"
        )
    resources = _evaluated(front, parsed, "--resources")
    most = parsed.values.get("--max-concurrency")
    return lambda one: one.configure(
        context=model, init=init, resources=resources, max_concurrency=most
    )


def _evaluated(front: Front, parsed: Parsed, option: str) -> object:
    expression = parsed.values.get(option)
    return None if expression is None else front.evaluate(expression, option)


def _is_model(value: object) -> TypeGuard[type[BaseModel] | BaseModel]:
    return isinstance(value, BaseModel) or (
        isinstance(value, type) and issubclass(value, BaseModel)
    )


def _shown(front: Front) -> View:
    kept = front.session
    context, resources, most = kept.initial_context, kept.resources, kept.slots.most
    rows = [
        ("context", "none" if context is None else short(context)),
        ("resources", "none" if resources is None else type(resources).__name__),
        ("attempts", f"{'any number' if most is None else f'at most {most}'} in flight"),
        ("kept", front.sessions.kept),
    ]
    store = front.sessions.store
    if store is not None and kept.keeper.is_stored:
        rows.append(("disk", size_text(store.size)))
    if kept.head is not None:
        rows.append(("HEAD", f"{kept.head.id} goes on with its own context; -i starts a new line"))
    following = ("%%flujo step", "%flujo session list", "%flujo")
    return table_view(kept.run_id, ("", ""), rows, following)


async def _listed(front: Front) -> View:
    """The sessions in the store."""
    try:
        found = await front.sessions.listed()
    except StoreError as error:
        raise UsageError(" ".join(str(error).split())) from error
    now, current = time.time(), front.session.run_id
    rows = [
        (
            one.run.run_id,
            one.about.name or "",
            f"{duration_text(max(now - one.run.updated_at, 0))} ago",
            size_text(one.run.size),
            "this one" if one.run.run_id == current else _held_by(one.run),
        )
        for one in found
    ]
    free = [one.run.run_id for one in found if one.run.run_id != current and not _is_held(one.run)]
    following = [f"%flujo session use {one}" for one in free][:1]
    following += [f"%flujo session list {row[0]}" for row in rows if row[0] != current][:1]
    header = ("session", "notebook", "touched", "size", "")
    if not rows:
        return table_view("no sessions are kept", (), (), ("%%flujo step", "%flujo doctor"))
    count = f"{len(rows)} session{'' if len(rows) == 1 else 's'}"
    return table_view(count, header, rows, (*following, "%flujo session new"))


def _is_held(run: StoredRun) -> bool:
    """Whether another process has the session, as far as is known."""
    from flujo_nb.engine.store.owners import is_dead  # noqa: PLC0415  # with the store

    return run.owner is not None and not is_dead(run.owner)


def _held_by(run: StoredRun) -> str:
    if run.owner is None:
        return ""
    return f"at work in {run.owner}" if _is_held(run) else "its kernel has ended"


async def _frames_of(front: Front, run_id: str) -> View:
    """The frames of a session that another kernel may have. No value is read."""
    found = await front.sessions.looked_at(run_id)
    rows = [
        (one.id, one.name, one.status.value, f"← {one.origin}", clipped(shown_of(one), SHOWN))
        for one in found.entries
    ]
    header = ("frame", "name", "status", "input", "output")
    following = "%flujo frames"
    if found is not front.session:
        listed = await front.sessions.listed()
        held = any(_is_held(one.run) for one in listed if one.run.run_id == run_id)
        following = f"%flujo {'replay' if held else 'session use'} {run_id}"
    return table_view(run_id, header, rows, (following,))


async def _used(front: Front, run_id: str) -> View:
    """Go on with another session."""
    try:
        said = await front.sessions.use(run_id)
    except RunHeld as error:
        held = " ".join(str(error).split())
        raise UsageError(f"{held}  %flujo session list {run_id} shows its frames") from error
    except StoreError as error:
        raise UsageError(" ".join(str(error).split())) from error
    return table_view(said, (), (), ("%flujo frames", "%flujo"))


SETTINGS = (
    Command(
        name="session",
        summary="what new lines start with; where it is kept; new, list, use",
        usage=_USAGE,
        example=(
            "from flujo_nb import PipelineContext\n\n"
            "%flujo session --context PipelineContext --init {'initial_prompt': 'hello'}"
        ),
        handler=session,
        options=(
            Option(("--context",), "a pydantic model of yours, by its name", "MODEL"),
            Option(("--init",), "the values that it starts with: a dict or an instance", "EXPR"),
            Option(("--resources",), "clients, models, connections: for steps, not saved", "EXPR"),
            Option(
                ("--max-concurrency",),
                "attempts in flight at most, of the runs that cells begin; runs inside a step "
                "stand in that step's own place; or none",
                "N",
            ),
        ),
        word=ANY_WORDS,
        completes=("session",),
        after=(),
    ),
)
