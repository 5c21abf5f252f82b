"""``%flujo export``: the session's work as a module, its frames as JSON, a page of it as HTML."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View, table_view
from flujo_nb.errors import unknown
from flujo_nb.front import Front
from flujo_nb.sizes import size_text

from .command import ANY_WORDS, Command

if TYPE_CHECKING:
    from flujo_nb.exports.cell_sources import Cell, Head

_USAGE = "%flujo export py|json|html FILE [NAME | FRAME] [--force]"
_FORCE = Option(("--force",), "overwrite the file, if there is one")


async def export(front: Front, parsed: Parsed, body: str) -> View:
    """Write a file."""
    kind, *rest = parsed.words or ("",)
    if kind not in _KINDS:
        if not kind:
            raise UsageError(f"export what? usage: {_USAGE}")
        raise unknown("kind of export", kind, _KINDS)
    if not rest:
        raise UsageError(f"which file? usage: {_USAGE}")
    path = _place_of(rest[0], f".{kind}", is_forced=_FORCE.key in parsed.flags)
    return _KINDS[kind](front, path, " ".join(rest[1:]))


def _export_module(front: Front, path: Path, target: str) -> View:
    # Loaded when it is asked for.
    from flujo_nb.exports.export_module import ModuleWriter, Part, Wanted  # noqa: PLC0415
    from flujo_nb.exports.exported_line import resources_notes, wanted_line  # noqa: PLC0415

    session = front.session
    if target:
        front.session.resolve(target, front.shell.user_ns)
        notes = [*resources_notes(session)]
        title = f"{target}, from {session.run_id}."
        wanted = Wanted([Part(target)], title, session.initial_context, notes)
    else:
        wanted = wanted_line(session)
    writer = ModuleWriter(_cells(front), session.steps, front.shell.user_ns, _parsed)
    module = writer.written(wanted, path.stem)
    _write(path, module.text)
    rows = [("pipeline", module.pipeline), *(("note", note) for note in module.notes)]
    following = [f"!python {path} --input DATA"]
    if path.stem.isidentifier():
        following.append(f"from {path.stem} import run")
    return _told(path, rows, following)


def _export_frames(front: Front, path: Path, frame_id: str) -> View:
    from flujo_nb.exports.export_frames import session_document  # noqa: PLC0415  # when asked for

    session = front.session
    _write(path, session_document(front, frame_id or None))
    rows = [("frames", f"{frame_id} and what is inside" if frame_id else str(len(session.entries)))]
    return _told(path, rows, (f"!python -m json.tool {path}",))


def _export_page(front: Front, path: Path, frame_id: str) -> View:
    from flujo_nb.exports.export_page import session_page  # noqa: PLC0415  # when asked for

    if frame_id:
        raise UsageError(f"a page is of the whole session; found {frame_id}; usage: {_USAGE}")
    _write(path, session_page(front))
    return _told(path, [("frames", str(len(front.session.entries)))], ("%flujo frames",))


def _cells(front: Front) -> Sequence[Cell]:
    """The cells that this kernel has executed."""
    from flujo_nb.exports.cell_sources import Cell  # noqa: PLC0415  # when asked for

    history = front.shell.history_manager
    if history is None:
        return ()
    shown: Mapping[int, object] = history.output_hist
    return [
        Cell(number, text, has_shown=number in shown)
        for number, text in enumerate(history.input_hist_raw)
        if text
    ]


def _parsed(head: Head) -> Parsed | None:
    from . import COMMANDS  # noqa: PLC0415  # it lists this one

    try:
        return COMMANDS[head.word].parse(head.line)
    except (KeyError, UsageError):
        return None


# Files


def _place_of(token: str, suffix: str, *, is_forced: bool) -> Path:
    """The file that ``token`` names. Raises `UsageError` when it cannot be written there."""
    is_quoted = len(token) > 1 and token[0] == token[-1] and token[0] in "'\""
    path = Path(token[1:-1] if is_quoted else token)
    if path.suffix != suffix or "\0" in token:
        raise UsageError(
            f"{token}: the name of the file ends with {suffix}, as {path.stem}{suffix}"
        )
    if not path.parent.is_dir():
        raise UsageError(f"{token}: there is no folder {path.parent}")
    if path.is_dir():
        raise UsageError(f"{token} is a folder")
    if path.exists() and not is_forced:
        raise UsageError(f"{token} is there already: another name, or --force")
    return path


def _write(path: Path, text: str) -> None:
    """Write all of a file, or nothing. Raises `UsageError`."""
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
            unfinished = Path(folder) / path.name  # an ordinary file, whose mode is the usual one
            unfinished.write_text(text, "utf-8", newline="\n")
            unfinished.replace(path)
    except OSError as error:
        raise UsageError(f"{path} was not written: {error.strerror}") from error


def _told(path: Path, rows: Sequence[tuple[str, str]], following: Sequence[str]) -> View:
    size = size_text(path.stat().st_size)
    return table_view(f"wrote {path}, {size}", ("", ""), rows, following)


_KINDS: Mapping[str, Callable[[Front, Path, str], View]] = {
    "py": _export_module,
    "json": _export_frames,
    "html": _export_page,
}

EXPORT = (
    Command(
        name="export",
        summary="write a module that runs without Jupyter, the frames, or a page",
        usage=_USAGE,
        example="%flujo export py pipeline.py",
        handler=export,
        options=(_FORCE,),
        word=ANY_WORDS,
        completes=("step", "frame"),
        after=("step",),
    ),
)
