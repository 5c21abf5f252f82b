"""The command ``flujo-nb``: executes notebooks from a shell, as CI does, and keeps house."""

from __future__ import annotations

import argparse
import asyncio
import copy
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import nbformat
from nbformat import NotebookNode
from traitlets.config import Config

from .engine.errors import FlujoError
from .execute import (
    CellEnd,
    CellEnded,
    CellStarted,
    FrameLine,
    execute,
    report_of,
)
from .exit_codes import FAILED, INTERRUPTED, MISUSED, PASSED, Misuse
from .html import plain
from .kernel_cli import add_kernel, kernel_lines
from .runs_cli import add_runs, runs_lines
from .widgets.previews import duration_text

_LINE = 48
_INDENT = " " * 10
_PAGE = """\
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_css -%}
<style>main { max-width: 66rem; margin: 2rem auto; }</style>
{%- endblock -%}
"""

MakePage: TypeAlias = Callable[[NotebookNode, str], str]
"""Makes the HTML page of a notebook with a title."""

Command: TypeAlias = Callable[[argparse.Namespace], int]
"""Does what a command line asks for; gives the exit code."""


@dataclass(frozen=True, slots=True)
class Options:
    """What ``flujo-nb run`` was asked for."""

    notebooks: Sequence[Path]
    output: Path | None
    make_page: MakePage | None
    timeout: int | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code says whether all went well."""
    parsed = _parser().parse_args(arguments)
    command: Command = parsed.command
    try:
        return command(parsed)
    except Misuse as error:
        return _ended(error, MISUSED)
    except FlujoError as error:
        return _ended(error, FAILED)
    except KeyboardInterrupt:
        print("\nflujo-nb: interrupted", file=sys.stderr)
        return INTERRUPTED


def run_notebooks(parsed: argparse.Namespace) -> int:
    """``flujo-nb run``: whether every notebook passed."""
    options = options_of(parsed)
    notebooks = [(path, read(path)) for path in options.notebooks]
    passed = [run(path, notebook, options) for path, notebook in notebooks]
    return PASSED if all(passed) else FAILED


def keep_runs(parsed: argparse.Namespace) -> int:
    """``flujo-nb runs``: prints what it finds and does."""
    try:
        for line in runs_lines(parsed):
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has enough; Python would flush once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PASSED


def keep_kernel(parsed: argparse.Namespace) -> int:
    """``flujo-nb install`` and ``uninstall``: prints what it did, and where."""
    for line in kernel_lines(parsed):
        print(line)
    return PASSED


def run(path: Path, notebook: NotebookNode, options: Options) -> bool:
    """Execute one notebook, print what happens, leave what was asked for."""
    print(path)
    execution = asyncio.run(
        execute(notebook, path.resolve().parent, Progress(), cell_timeout=options.timeout)
    )
    report = report_of(notebook)
    if report:
        print(f"\n{report}\n")
    for left in leave(path, notebook, options):
        print(f"  {'page' if left.suffix == '.html' else 'notebook':<9} {left}")
    print("  passed" if execution.passed else "  failed")
    return execution.passed


def leave(path: Path, notebook: NotebookNode, options: Options) -> list[Path]:
    """Write the executed notebook, and its page, where the options say."""
    if options.output is None:
        return []
    options.output.mkdir(parents=True, exist_ok=True)
    left = [options.output / path.name]
    nbformat.write(notebook, left[0])  # type: ignore[no-untyped-call]
    if options.make_page is not None:
        left.append(left[0].with_suffix(".html"))
        left[1].write_text(options.make_page(notebook, path.stem), encoding="utf-8")
    return left


class Progress:
    """Prints a line for each cell, and one for each frame that it shows."""

    def started(self, cell: CellStarted) -> None:
        """The beginning of the cell's line, so that one sees what is running."""
        print(started_text(cell), end="", flush=True)

    def ended(self, cell: CellEnded) -> None:
        """The rest of the line, the frames, and the error."""
        print(ended_text(cell), flush=True)


def started_text(cell: CellStarted) -> str:
    """``   3/12  %%flujo step collect``, padded to where the time stands."""
    line = plain(cell.first_line)
    line = line if len(line) <= _LINE else f"{line[: _LINE - 1]}…"
    return f"  {f'{cell.number}/{cell.count}':>6}  {line:<{_LINE}}"


def ended_text(cell: CellEnded) -> str:
    """What follows `started_text`: the time and the end; the frames and the error below."""
    lines = [f"  {duration_text(cell.seconds):>7}  {cell.end.value}"]
    lines += [f"{_INDENT}{line}" for line in frame_lines(cell.frames)]
    if cell.end is CellEnd.FAILED:
        lines += ["", *(f"{_INDENT}{line}".rstrip() for line in cell.error), ""]
    return "\n".join(lines)


def frame_lines(frames: Sequence[FrameLine]) -> list[str]:
    """A line for each frame, in columns."""
    return [
        plain(
            f"{f'{one.id} {one.name}':<24} {one.status:<11} "
            f"{duration_text(one.duration_s):>7}  ← {one.origin}"
        )
        for one in frames
    ]


def options_of(parsed: argparse.Namespace) -> Options:
    """The options on the command line; `Misuse` when they contradict each other."""
    notebooks: list[Path] = parsed.notebooks
    output: Path | None = parsed.output
    if parsed.html and output is None:
        raise Misuse("--html needs --output DIR, the folder that the page goes to")
    if output is not None:
        _check_output(notebooks, output)
    make_page = page_maker() if parsed.html else None
    return Options(notebooks, output, make_page, parsed.timeout)


def read(path: Path) -> NotebookNode:
    """The notebook in a file; `Misuse` when there is none."""
    try:
        notebook: NotebookNode = nbformat.read(  # type: ignore[no-untyped-call]
            path, as_version=4
        )
    except OSError as error:
        raise Misuse(f"{path}: {error.strerror}") from error
    except (AttributeError, ValueError, nbformat.ValidationError) as error:
        raise Misuse(f"{path} is not a notebook: {str(error).splitlines()[0][:120]}") from error
    return notebook


def page_maker() -> MakePage:
    """How pages are made; `Misuse` when nbconvert is not installed.

    A page holds everything that it shows: reading it needs no network.
    """
    try:
        from nbconvert import HTMLExporter  # noqa: PLC0415  # an extra
    except ImportError:
        raise Misuse("--html needs nbconvert: pip install 'flujo-nb[html]'") from None
    python = {"languages": {"%%flujo": "python"}}
    config = Config(HighlightMagicsPreprocessor=python)
    exporter = HTMLExporter(config, raw_template=_PAGE)  # type: ignore[no-untyped-call]

    def make_page(notebook: NotebookNode, title: str) -> str:
        without_widgets = copy.deepcopy(notebook)  # scripts would draw them: their text is shown
        without_widgets.metadata.pop("widgets", None)
        page: str
        page, _ = exporter.from_notebook_node(without_widgets, {"metadata": {"name": title}})
        return page

    return make_page


def _ended(error: FlujoError, code: int) -> int:
    print(f"flujo-nb: {plain(str(error))}", file=sys.stderr)
    return code


def _check_output(notebooks: Sequence[Path], output: Path) -> None:
    names = [path.name for path in notebooks]
    for path in notebooks:
        if path.resolve().parent == output.resolve():
            raise Misuse(f"--output {output} would overwrite {path}: name another folder")
        if names.count(path.name) > 1:
            raise Misuse(f"two notebooks are called {path.name}: run them into different folders")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flujo-nb", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run_command = commands.add_parser(
        "run",
        help="execute notebooks in fresh kernels",
        description="Execute notebooks, each in a fresh kernel of this interpreter. "
        "Exit code: 0 passed, 1 failed, 2 wrong arguments.",
    )
    add = run_command.add_argument
    add("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    add("--output", type=Path, metavar="DIR", help="leave the executed notebooks here")
    add("--html", action="store_true", help="leave a page of each as well (needs nbconvert)")
    add("--timeout", type=_seconds, metavar="SECONDS", help="the longest that a cell may take")
    run_command.set_defaults(command=run_notebooks)
    add_runs(commands).set_defaults(command=keep_runs)
    for command in add_kernel(commands):
        command.set_defaults(command=keep_kernel)
    return parser


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a whole number of seconds, from 1 on; found {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
