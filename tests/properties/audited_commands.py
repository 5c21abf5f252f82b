"""Payloads through every command, option and body in a shell: they stay data, whatever they say.

A program of its own, as every one with an audit hook. It prints how many payloads it fed.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import io
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from IPython.core.error import UsageError

from flujo_nb.command_line import EXPRESSION
from flujo_nb.commands import COMMANDS
from flujo_nb.commands.command import Command
from flujo_nb.display import FrameCard, View
from flujo_nb.front import Front
from flujo_nb.magics import Extension
from tests.notebook import Notebook, fresh_notebook
from tests.properties.watch import Watch

MARK = "canary"
"""A module and a variable that only payloads name."""

EXPANDED = "EXPANDED"
"""What the variables that payloads name hold, in Python and in the environment."""

MARKUP = f"<img src=x onerror={MARK}>"
PAYLOADS = (
    MARKUP,
    *(f"__import__('{MARK}')", f"{{__import__('{MARK}')}}", "{__import__('os').system('canary')}"),
    *(f"f'{{__import__(\"{MARK}\")}}'", f"eval('{MARK}')", f"exec('import {MARK}')"),
    *(f"${MARK}", f"${{{MARK}}}", "$HOME", f"$(touch {MARK})", f"$(({MARK}))", f"${{{MARK}:-x}}"),
    *(f"`touch {MARK}`", f"!touch {MARK}", f"!!touch {MARK}", f"; touch {MARK}", f"| tee {MARK}"),
    *("!ls", "%env", "%%bash", f"%run {MARK}.py", f"%sx touch {MARK}", f"> {MARK}", f"& {MARK}"),
    *(f"%({MARK})s", "%s %n %x", f"{{{MARK}}}", f"{{{MARK}!r:>99}}", "{0}", "{0.__class__}", "{}"),
    *("{0.__init__.__globals__}", "{0.__class__.__mro__[1]}", "{:>999999999}", "{!x}", "{{0}}"),
    *("{{ data.__class__.__globals__ }}", "{{ context.__init__.__globals__ }}", "{{ data }}"),
    *("{{ steps.words.__class__ }}", f"{{{{ {MARK} }}}}", f"{{% import {MARK} %}}", "#{7*7}"),
    *("words.agent.__globals__", "flujo.__class__.__mro__", "__builtins__.eval", "os.system"),
    *("f0.__class__", "f0/__class__", "f0/../f1", "f0[0]", "f0.output", "@f0", "f0;f1", "f-1"),
    *(f"../../{MARK}", f"/no/{MARK}", f"..\\..\\{MARK}", f"~/{MARK}", f"ftp://no/{MARK}"),
    *("' OR '1'='1", '"; DROP TABLE runs; --', "'; ATTACH 'canary' AS x; --", "\\'; --", "%' --"),
    *(f"a\nimport {MARK}", f"a\r\nimport {MARK}", "a\0b", "a\x1b]0;b\x07c", "a\u2028b", "\ud800"),
    *("=", "--=", "--", "->", "a=b", "cost=x", "a >> b >> ../c", "lambda: 0", "x" * 5000, "(" * 99),
)
ASKS = "from flujo_nb import Step\nasks = Step.human_in_the_loop('asks', 'Go?')"
SHARE = 3
"""Each command gets every payload, at one in so many of its places."""
PYTHON = {"step", "pipeline", "check"}
"""The commands whose bodies are code."""

TO_FILES = {"export"}
"""The commands that write the file that they are told to, and parse the cells for it."""

ACTS = (
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pty.spawn"),
    *("subprocess.Popen", "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"),
    *("webbrowser.open", "urllib.Request", "os.putenv", "os.kill", "pickle.find_class"),
)
WRITES = (
    *("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod"),
    *("os.truncate", "os.chown", "os.utime", "shutil.copyfile", "shutil.move", "shutil.rmtree"),
    *("sqlite3.connect", "tempfile.mkstemp", "tempfile.mkdtemp", "os.mkfifo"),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def names_mark(source: object) -> bool:
    """Whether source text or code is made of a payload."""
    match source:
        case str():
            return MARK in source
        case bytes():
            return MARK.encode() in source
        case CodeType():
            return MARK in source.co_names or any(map(names_mark, source.co_consts))
        case tuple():
            return any(map(names_mark, source))
    return False


class Code:
    """Tells of code that was compiled or run, unless it is the value of an option that takes it.

    What only ``parses`` compiles too, as far as an audit hook can tell.
    """

    def __init__(self) -> None:
        self.parses = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> str | None:
        if event not in ("compile", "exec") or not names_mark(arguments[0]):
            return None
        source = arguments[0]
        place = str(source.co_filename if isinstance(source, CodeType) else arguments[1])
        is_parsed = self.parses and event == "compile" and place in ("<unknown>", "cell")
        is_told = not (place.startswith("<-") or is_parsed)
        return f"{event} {source!r:.200} of {place}" if is_told else None


class Acts:
    """Tells of processes, connections, imports of payloads, and files outside of ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, event: str, arguments: tuple[object, ...]) -> str | None:
        is_act = (
            event in ACTS
            or (event == "import" and MARK in str(arguments[0]))
            or (event in WRITES and not self._is_inside(arguments[0]))
            or (event == "open" and self._opens_to_write(*arguments))
        )
        return f"{event} {arguments!r:.200}" if is_act else None

    def _opens_to_write(self, path: object, mode: object, flags: object) -> bool:
        is_writing = isinstance(flags, int) and bool(flags & WRITING)
        return is_writing and not self._is_inside(path)

    def _is_inside(self, path: object) -> bool:
        if isinstance(path, int):
            return True  # what is open already
        named = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
        real = Path(named.removeprefix("file:").partition("?")[0]).resolve()
        return real.is_relative_to(self.folder)


class Answer(enum.Enum):
    """What a cell gives to a question: a value, or a text that may be refused as bad JSON."""

    NONE, VALUE, TEXT = range(3)


@dataclass
class Cell:
    """A cell with a payload in it, and the text that an option or body of it has to arrive as."""

    text: str
    expected: str | None = None
    answer: Answer = Answer.NONE


class Feeder:
    """Runs cells with payloads in ``folder``, and looks at what they did and showed."""

    def __init__(self, notebook: Notebook, folder: Path) -> None:
        self.notebook = notebook
        self.fed = 0
        self._folder, self._store = folder, folder / ".flujo"
        self._acts = Acts(self._store)
        self._watch = Watch(self._acts)
        self._parsing = Code()
        self._code = Watch(self._parsing)
        self._evaluated: list[object] = []
        self._listen()

    def _listen(self) -> None:
        """Listen to code while commands are carried out, and note what options came to."""
        command, evaluate = Extension._command, Front.evaluate

        async def heard(extension: Extension, line: str, body: str | None) -> object:
            with self._code.listening():
                return await command(extension, line, body)

        def noted(front: Front, expression: str, option: str) -> object:
            self._evaluated.append(evaluate(front, expression, option))
            return self._evaluated[-1]

        Extension._command = heard
        Front.evaluate = noted

    async def feed(self, cell: Cell) -> None:
        """Run ``cell``: nothing happens, nothing is expanded, and a misuse is a short error."""
        self._evaluated.clear()
        shown = io.StringIO()
        quiet = contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown)
        with quiet[0], quiet[1], self._watch.listening():
            result = await self.notebook.ran(cell.text)
        error = result.error_before_exec or result.error_in_exec
        assert self._watch.seen == [], (cell, self._watch.seen[:3])
        assert self._code.seen == [], (cell, self._code.seen[:3])
        told = type(error)
        if not (error is None or told is UsageError or told.__module__.startswith("flujo_nb.")):
            raise AssertionError(cell) from error
        assert EXPANDED not in shown.getvalue() + str(error), (cell, shown.getvalue())
        if isinstance(result.result, View):
            bundle = result.result._repr_mimebundle_()
            assert not any(EXPANDED in str(one) for one in bundle.values()), cell
            assert MARKUP not in str(bundle["text/html"]), cell
        if cell.expected is not None:
            assert self._evaluated in ([], [cell.expected]), (cell, self._evaluated)
            assert self._evaluated or error is not None or cell.answer is Answer.TEXT, cell
        if isinstance(result.result, FrameCard) and cell.answer is not Answer.NONE:
            assert result.result.output in read_as(cell), (cell, result.result.output)
        elif cell.answer is not Answer.NONE:
            is_refused = cell.answer is Answer.TEXT and isinstance(error, UsageError)
            assert is_refused and "JSON" in str(error), (cell, error)
        self.fed += 1

    async def prepare(self, command: Command) -> None:
        """Begin a session in which the command's example has been run."""
        is_written = command.name in TO_FILES
        self._acts.folder = self._folder.parent if is_written else self._store
        self._parsing.parses = is_written
        cells = ["%flujo session new", *(COMMANDS[one].example for one in command.after)]
        await self._run(*cells, command.example)

    async def ask(self) -> str:
        """Ask something that takes any answer; the frame that waits for it."""
        await self._run("%flujo session new", "%flujo run asks -i 1")
        return self.notebook.session.entries[-1].id

    async def _run(self, *cells: str) -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            for cell in cells:
                await self.notebook.ran(cell)


def mixed(count: int) -> list[str]:
    """Payloads made of others, always the same."""
    chance = random.Random(5)
    found = []
    for _ in range(count):
        parts = [chance.choice(PAYLOADS) for _ in range(chance.randrange(2, 4))]
        found.append(chance.choice(("", " ", "'", '"', ",", "=")).join(parts))
    return found


def read_as(cell: Cell) -> list[object]:
    """What the answer in ``cell`` may arrive as."""
    given = cell.expected or ""
    if cell.answer is Answer.VALUE:
        return [given]
    try:
        return [json.loads(given)]
    except ValueError:
        return [given, given.strip()]


def line_cell(line: str, body: str | None) -> str:
    """A cell with the command ``line``; a call where a cell could not hold it in one line."""
    if any(char in line for char in "\n\r\0\u2028") or not line.isprintable():
        call = "run_line_magic" if body is None else "run_cell_magic"
        arguments = [repr("flujo"), repr(line), *([] if body is None else [repr(body)])]
        return f"get_ipython().{call}({', '.join(arguments)})"
    return f"%flujo {line}" if body is None else f"%%flujo {line}\n{body}"


def example_of(command: Command) -> tuple[str, str | None]:
    """The words and the body of the call in a command's example."""
    called = re.search(rf"^%%?flujo {command.name}\b(.*)\n?", command.example, re.MULTILINE)
    if called is None:  # %flujo alone
        return "", None
    body = command.example[called.end() :] if command.has_body else None
    return " ".join(command.parse(called[1]).words), body


def cells_of(command: Command, payload: str) -> Iterator[Cell]:
    """Every way in which ``payload`` can be given to a command."""
    words, body = example_of(command)
    name = command.name
    yield Cell(line_cell(f"{name} {payload}", body))
    yield Cell(line_cell(f"{name} {words} {payload}", body))
    yield Cell(line_cell(f"{name} {words} --{payload}", body))
    for option in command.options:
        if option.value == EXPRESSION:
            given = f"{name} {words} {option.names[0]}"
            yield Cell(line_cell(f"{given} {payload!r}", body), expected=payload)
        elif option.value is not None:
            yield Cell(line_cell(f"{name} {words} {option.key} {payload}", body))
            yield Cell(line_cell(f"{name} {words} {option.key}={payload}", body))
            yield Cell(line_cell(f"{name} {option.key} {payload!r} {payload}", body))
        else:
            yield Cell(line_cell(f"{name} {words} {option.key}={payload}", body))
    if (command.has_body and name not in PYTHON) or command.may_have_body:
        yield Cell(line_cell(f"{name} {words}", payload))
        for key in ("data", "context", "output"):
            yield Cell(line_cell(f"{name} {words}", json.dumps({key: payload})))


async def feed_all(feeder: Feeder) -> None:
    """All commands with all payloads, an answer of each, and words that are no command."""
    feeder.notebook.shell.user_ns[MARK] = EXPANDED
    await feeder.notebook.ran(ASKS)
    payloads = (*PAYLOADS, *mixed(10))
    for command in COMMANDS.values():
        await feeder.prepare(command)
        for number, payload in enumerate(payloads):
            for place, cell in enumerate(cells_of(command, payload)):
                if (number + place) % SHARE == 0:
                    await feeder.feed(cell)
    for payload in payloads:
        await feeder.feed(Cell(line_cell(payload, None)))
        by_option = line_cell(f"resume {await feeder.ask()} --with {payload!r}", None)
        await feeder.feed(Cell(by_option, payload, Answer.VALUE))
        by_body = line_cell(f"resume {await feeder.ask()}", payload)
        await feeder.feed(Cell(by_body, payload, Answer.TEXT))


def main() -> int:
    """Feed everything to a shell with the default store; the number of payloads."""
    sys.dont_write_bytecode = True
    os.environ[MARK] = EXPANDED
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve() / "notebooks" / EXPANDED.swapcase()
        folder.mkdir(parents=True)
        home = Path(name) / EXPANDED
        home.mkdir()
        os.environ["HOME"] = str(home)
        os.environ["FLUJO_STORE"] = "auto"
        os.environ["JPY_SESSION_NAME"] = str(folder / "a.ipynb")
        quiet = contextlib.redirect_stdout(io.StringIO())  # background runs tell how they ended
        with contextlib.chdir(folder), quiet, fresh_notebook() as notebook:
            feeder = Feeder(notebook, folder)
            asyncio.run(feed_all(feeder))
        left = {path.name for path in folder.parent.rglob("*") if MARK in path.name}
        assert not left, left
    return feeder.fed


if __name__ == "__main__":
    print(f"{main()} payloads, and nothing was evaluated")
