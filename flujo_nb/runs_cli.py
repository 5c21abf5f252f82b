"""``flujo-nb runs``: looks at the runs in a store, removes some, and writes one as JSON.

It never makes a store: what does not exist is said. What is removed is what was announced.
"""

from __future__ import annotations

import argparse
import asyncio
import difflib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from .engine.errors import (
    FlujoError,
    NoSuchRun,
    StoreBusy,
    StoreError,
    StoreFailed,
    StoreRefused,
)
from .engine.journal_image import Image
from .engine.store.owners import is_dead
from .engine.store.sqlite import SqliteStore
from .engine.stores import Store, StoredRun
from .exit_codes import Misuse
from .run_export import FORMAT, export_lines, run_facts
from .run_views import (
    age_of,
    bytes_of,
    command,
    counted,
    going_text,
    list_text,
    show_text,
    size_text,
)
from .stored_values import blobs_in

DEFAULT_STORE = Path(".flujo", "flujo.db")

_BESIDE = ("", "-wal", "-shm", "-journal")
"""What the names of a store's files end in."""


class NotDone(FlujoError):
    """The command ended without doing all that it was asked for; the message says what is left."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with: the store, the bytes that it takes, a loop, and the time.

    ``named`` is the store as it was named on the command line, for commands that are suggested.
    """

    store: Store
    used: Callable[[], int]
    loop: asyncio.Runner
    now: float
    named: str | None = None


T = TypeVar("T")
Work: TypeAlias = Callable[[Desk, argparse.Namespace], Iterator[str]]


def add_runs(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add ``runs`` and its own commands to the commands of ``flujo-nb``."""
    runs = commands.add_parser(
        "runs",
        help="look at stored runs, remove or export them",
        description="Look at the runs in a store, remove or export them. "
        "Exit code: 0 done, 1 not done, 2 wrong arguments.",
    )
    family = runs.add_subparsers(required=True, metavar="COMMAND")

    def added(name: str, work: Work, told: str) -> Callable[..., argparse.Action]:
        parser = family.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}.")
        told_of_store = f"the store (default: {DEFAULT_STORE})"
        parser.add_argument("--store", type=Path, metavar="PATH", help=told_of_store)
        parser.set_defaults(work=work)
        return parser.add_argument

    add = added("list", list_runs, "list all runs, the newest first")
    add("--json", action="store_true", help="as JSON")
    add = added("show", show_run, "show one run: its frames, decisions and questions")
    add("run", metavar="RUN")
    add("--all", action="store_true", help="every frame, where many stand in one")
    add = added("delete", delete_runs, "delete runs")
    add("runs", nargs="+", metavar="RUN")
    add("--yes", action="store_true", help="do not ask")
    add = added("prune", prune_runs, "delete runs by age, by the size of all, or by both")
    add("--older-than", type=_age, metavar="AGE", help="not touched for: 30d, 12h, 90m")
    add("--down-to", type=_size, metavar="SIZE", help="the oldest, until: 500kB, 20MB, 2GB")
    add("--dry-run", action="store_true", help="only say which would go")
    add("--yes", action="store_true", help="do not ask")
    add = added("export", export_run, "write one run as JSON, to stdout or to a file")
    add("run", metavar="RUN")
    add("--output", type=Path, metavar="FILE", help="write it here")
    add("--blobs", action="store_true", help="with large values, as base64 by digest")
    return runs


def runs_lines(parsed: argparse.Namespace) -> Iterator[str]:
    """Do what the command line says; gives the lines for stdout as they come.

    Raises `Misuse` before anything is done, and `FlujoError` for what did not work.
    """
    named: Path | None = parsed.store
    path = named or DEFAULT_STORE
    work: Work = parsed.work
    store = _opened(path)
    with asyncio.Runner() as loop:
        try:
            told = None if named is None else str(named)
            yield from work(Desk(store, partial(_bytes_in, path), loop, time.time(), told), parsed)
        finally:
            loop.run(store.aclose())


def list_runs(desk: Desk, parsed: argparse.Namespace) -> Iterator[str]:
    """All runs, as a table or as JSON."""
    runs = desk.store.runs()
    questions = {run.run_id: _open_questions(desk.store, run) for run in runs}
    as_json: bool = parsed.json
    if as_json:
        facts = [{**run_facts(run), "open_questions": questions[run.run_id]} for run in runs]
        yield json.dumps({"format": FORMAT, "runs": facts}, indent=2)
    else:
        runs = [_as_it_stands(run) for run in runs]
        yield list_text(runs, questions, desk.store.location, desk.now, desk.named)


def show_run(desk: Desk, parsed: argparse.Namespace) -> Iterator[str]:
    """Everything about one run."""
    run = _as_it_stands(_found(desk, parsed.run))
    rows, answers = desk.store.rows(run.run_id), desk.store.answers(run.run_id)
    all_frames: bool = parsed.all
    yield show_text(run, rows, answers, desk.now, all_frames=all_frames, store=desk.named)


def delete_runs(desk: Desk, parsed: argparse.Namespace) -> Iterator[str]:
    """Remove the runs that were named; forks before what they were forked from."""
    names: list[str] = parsed.runs
    runs = [_as_it_stands(_found(desk, run_id)) for run_id in dict.fromkeys(names)]
    runs.sort(key=lambda run: run.created_at, reverse=True)
    yield going_text(runs, desk.now)
    _confirm(runs, yes=parsed.yes)
    yield from _removed(desk, runs)


def prune_runs(desk: Desk, parsed: argparse.Namespace) -> Iterator[str]:
    """Remove the runs that are old, or too much."""
    age: float | None = parsed.older_than
    down_to: int | None = parsed.down_to
    if age is None and down_to is None:
        raise Misuse("say which runs go: --older-than 30d, --down-to 2GB, or both")
    known = [_as_it_stands(run) for run in desk.store.runs()]
    runs = prunable(known, desk.used(), None if age is None else desk.now - age, down_to)
    if not runs:
        yield f"nothing to prune: the store takes {size_text(desk.used())}"
        return
    yield going_text(runs, desk.now)
    dry: bool = parsed.dry_run
    if dry:
        yield f"dry run: {_amount(runs)} would go"
        return
    _confirm(runs, yes=parsed.yes)
    touched = [run.run_id for run in runs if _was_touched(desk.store, run)]
    yield from _removed(desk, [run for run in runs if run.run_id not in touched])
    if touched:
        raise NotDone(f"kept, because they were touched meanwhile: {', '.join(touched)}")


def export_run(desk: Desk, parsed: argparse.Namespace) -> Iterator[str]:
    """Write one run as JSON, to stdout or to a file."""
    run = _found(desk, parsed.run)
    store = desk.store
    output: Path | None = parsed.output
    if output is not None:
        _check_output(output, parsed.store or DEFAULT_STORE)
    rows, answers = store.rows(run.run_id), store.answers(run.run_id)
    with_blobs: bool = parsed.blobs
    blobs: Mapping[str, Callable[[], bytes]] | None = None
    if with_blobs:
        bodies = (*(row.body for row in rows), *answers.values())
        digests = blobs_in(bodies, store.blob)
        blobs = {digest.hex(): partial(store.blob, digest) for digest in digests}
    lines = export_lines(run, rows, answers, blobs)
    if output is None:
        yield from lines
    else:
        yield f"{output}   {size_text(write(output, lines))}"


def prunable(
    runs: Sequence[StoredRun], used: int, older_than: float | None, down_to: int | None
) -> Sequence[StoredRun]:
    """The runs that pruning removes, in the order in which they can go: the oldest first.

    Those not touched since ``older_than`` (seconds since 1970), and as many as it takes to come
    down to ``down_to`` bytes, where the store takes ``used`` now. What is being executed stays,
    and what a run that stays was forked from.
    """
    own = sum(run.size for run in runs)
    share = used / own if own else 1.0  # a file takes more than what the runs in it do
    left = float(used)
    forks = Counter(run.source.run_id for run in runs if run.source is not None)
    waiting = sorted((run for run in runs if run.owner is None), key=lambda run: run.updated_at)
    going: list[StoredRun] = []
    while (oldest := next((run for run in waiting if not forks[run.run_id]), None)) is not None:
        is_old = older_than is not None and oldest.updated_at < older_than
        if not is_old and (down_to is None or left <= down_to):
            break
        waiting.remove(oldest)
        going.append(oldest)
        left -= oldest.size * share
        if oldest.source is not None:
            forks[oldest.source.run_id] -= 1
    return going


def write(path: Path, lines: Iterable[str]) -> int:
    """Write ``lines`` into a file that only its owner reads; the bytes written.

    The file is there when all of it is. Raises `NotDone`.
    """
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="ascii", newline="\n", dir=path.parent, prefix=".", delete=False
        ) as file:
            unfinished = Path(file.name)
            try:
                file.writelines(f"{line}\n" for line in lines)
                file.close()
                size = unfinished.stat().st_size
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise NotDone(f"{path} was not written: {error.strerror}") from error
    return size


def _opened(path: Path) -> Store:
    if path.is_dir():
        raise Misuse(f"{path} is a folder: name the file of the store, --store {path / 'flujo.db'}")
    if not path.exists():
        raise Misuse(
            f"there is no store {path}: name one with --store PATH, "
            f"or go to the folder that has {DEFAULT_STORE}"
        )
    return SqliteStore(path)


def _bytes_in(path: Path) -> int:
    return path.stat().st_size


def _check_output(output: Path, store: Path) -> None:
    if output.is_dir() or not output.parent.is_dir():
        raise Misuse(f"--output {output}: name a file in a folder that exists")
    if output.resolve() in {store.resolve().with_name(f"{store.name}{end}") for end in _BESIDE}:
        raise Misuse(f"--output {output} would overwrite the store: name another file")


def _found(desk: Desk, run_id: str) -> StoredRun:
    try:
        return desk.store.run(run_id)
    except NoSuchRun:
        known = [run.run_id for run in desk.store.runs()]
    near = difflib.get_close_matches(run_id, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]!r}? " if near else ""
    every = command("list", store=desk.named)
    raise NoSuchRun(
        f"there is no run {run_id!r} in {desk.store.location}; {meant}All of them: {every}"
    )


def _as_it_stands(run: StoredRun) -> StoredRun:
    """The run, without an owner that is certain to have ended while it executed it."""
    if run.owner is None or not is_dead(run.owner):
        return run
    return replace(run, owner=None, status="crashed")


def _was_touched(store: Store, run: StoredRun) -> bool:
    try:
        return store.run(run.run_id).updated_at != run.updated_at
    except NoSuchRun:
        return False


def _open_questions(store: Store, run: StoredRun) -> int:
    if run.status != "paused":
        return 0
    image = Image(store.rows(run.run_id))
    held = image.answered(store.answers(run.run_id))
    return sum(row.path not in held for row in image.asking())


def _confirm(runs: Sequence[StoredRun], *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Misuse("nobody can be asked here: add --yes to delete them; nothing was deleted")
    sys.stderr.write(f"delete {_amount(runs)}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise NotDone("nothing was deleted")


def _removed(desk: Desk, runs: Sequence[StoredRun]) -> Iterator[str]:
    """Remove ``runs`` one by one. What cannot go now does not keep the others."""
    gone, freed, kept = 0, 0, list[str]()
    for run in runs:
        try:
            freed += desk.loop.run(desk.store.delete(run.run_id))
            gone += 1
        except NoSuchRun:  # somebody else was faster
            continue
        except (StoreBusy, StoreFailed, StoreRefused) as error:
            kept.append(str(error))
            break  # the others would fare no better
        except StoreError as error:
            kept.append(str(error))
    told = counted(gone, "run") or "nothing"
    yield f"deleted {told}, {size_text(freed)} freed; the store takes {size_text(desk.used())}"
    if kept:
        raise NotDone("; ".join(kept))


def _amount(runs: Sequence[StoredRun]) -> str:
    return f"{counted(len(runs), 'run')} ({size_text(sum(run.size for run in runs))})"


def _age(text: str) -> float:
    return _read(age_of, text)


def _size(text: str) -> int:
    return _read(bytes_of, text)


def _read(reader: Callable[[str], T], text: str) -> T:
    try:
        return reader(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
