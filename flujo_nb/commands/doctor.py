"""``%flujo doctor``: where things are, and what may be in the way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from flujo_nb.command_line import Parsed
from flujo_nb.display import View, table_view
from flujo_nb.engine.digests import definition_of
from flujo_nb.engine.errors import StoreError
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.front import Front
from flujo_nb.notebook_place import why_unfit
from flujo_nb.sizes import size_text
from flujo_nb.widgets.previews import clipped, short

from .command import Command

_PACKAGES = ("flujo-nb", "ipython", "ipykernel", "pydantic", "numpy", "pandas")
_LOSING = ("7.0.", "7.1.", "7.2.", "7.3.")
"""Versions of ipykernel that lose a request which arrives while a reply is written."""


async def doctor(front: Front, parsed: Parsed, body: str) -> View:
    """Look at the store, the kernel and the steps."""
    rows = [*_notebook(front), *_store(front), *await _owners(front), *_kernel(front)]
    rows += [("not tracked", told) for told in _untracked(front)]
    return table_view("flujo-nb doctor", ("", ""), rows, ("%flujo session list", "%flujo why"))


def _notebook(front: Front) -> Iterator[tuple[str, str]]:
    place = front.sessions.place
    named = "the front end does not name it: each kernel begins a new session"
    yield "notebook", named if place.notebook is None else str(place.notebook)
    yield "session", f"{front.session.run_id}, {front.sessions.kept}"


def _store(front: Front) -> Iterator[tuple[str, str]]:
    from flujo_nb.store_look import look_at  # noqa: PLC0415  # sqlite, when it is needed

    path = front.sessions.path
    if path is None:
        yield "store", "none: Flujo.store is None"
        return
    store = front.sessions.store
    if not path.exists():
        if store is not None and store.path == path:
            yield "store", f"{path} was removed: what is recorded now ends with this kernel"
            yield "", "%flujo session new makes another one"
            return
        unfit = None if front.sessions.is_named else why_unfit(front.sessions.place.folder)
        yield (
            "store",
            f"{path}: {'it is made when something is recorded' if unfit is None else unfit}",
        )
        return
    found = look_at(path)
    readable = f"{_counted(found.runs, 'run')} and {_counted(found.rows, 'row')} in the file"
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size:
        size = size_text(log.stat().st_size)
        readable += f", and {size} in its write-ahead log, where the newest rows are"
    if found.fault is None:
        yield "store", f"{path}: whole: {readable}"
    else:
        yield "store", f"{path} is damaged: {clipped(found.fault, 200)}; {readable}"
        yield "", "restore a copy of it, or %config Flujo.store = 'another file'; it is not changed"


async def _owners(front: Front) -> list[tuple[str, str]]:
    """Who executes the sessions that are in the store."""
    try:
        listed = await front.sessions.listed()
    except StoreError as error:
        said = " ".join(str(error).split())
        return [] if said in front.sessions.kept else [("store", said)]
    from flujo_nb.engine.store.owners import is_dead  # noqa: PLC0415  # with the store

    return [
        (
            "owner",
            f"{one.run.run_id}: {one.run.owner}{', which has ended' * is_dead(one.run.owner)}",
        )
        for one in listed
        if one.run.owner is not None
    ]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _kernel(front: Front) -> Iterator[tuple[str, str]]:
    way = front.way()
    if way is not None:
        yield "cells", f"{way.kind}: {way.reason}"
    yield "kernel", f"Python {sys.version.split()[0]} at {sys.executable}"
    yield "kernelspec", _kernelspec()
    yield "versions", ", ".join(_versions())
    version = _version("ipykernel") or ""
    if version.startswith(_LOSING):
        yield "", f"ipykernel {version} can lose a request and hang: 7.4 mends that"


def _kernelspec() -> str:
    """Whether the kernel that loads this extension by itself is installed, and works."""
    from flujo_nb.kernel import health  # noqa: PLC0415  # slow to import

    return health()


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        version = _version(name)
        if version is not None:
            yield f"{name} {version}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _untracked(front: Front) -> Iterator[str]:
    """What registered steps use that can change without anybody noticing."""
    for name, registered in front.session.steps.items():
        taken = caught_inline(definition_of, registered.node)
        if isinstance(taken, Raised):
            yield f"{name}: its definition cannot be taken: {short(taken.error)}"
        elif taken.untracked:
            yield f"{name}: {clipped(', '.join(taken.untracked), 200)}"


DOCTOR = (
    Command(
        name="doctor",
        summary="look at the store, the kernel and the steps",
        usage="%flujo doctor",
        example="%flujo doctor",
        handler=doctor,
        after=(),
    ),
)
