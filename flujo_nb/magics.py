"""``%flujo`` and ``%%flujo``: from a line to a command, and what is put into a shell for it."""

from __future__ import annotations

import atexit
import warnings
from typing import cast

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets import TraitError
from traitlets.config import Configurable

from flujo_nb.engine.errors import ValueNotRead
from flujo_nb.engine.run_handle import RunHandle, plainly

from .api import SessionApi
from .awaiting import Awaiting, guarded
from .bridge import run_bridged
from .cell_body import current_cell
from .commands import COMMANDS, FAMILIES
from .commands.help import overview_text
from .completion import Completion
from .errors import safely_told, unknown
from .front import Front
from .settings import Flujo

NAME = "flujo"

_BEFORE_A_CELL = "pre_run_cell"


class Extension:
    """All that loading puts into a shell, and that unloading takes out again."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._settings = _settings_of(shell)
        self.front = Front(shell, self._settings)
        self._awaiting = Awaiting(shell, NAME, self._run)
        self.front.way = lambda: self._awaiting.last_way
        self._completion = Completion(shell, self.front)
        self._api = SessionApi(self.front)

    def load(self) -> None:
        """Add the magics, the completion, the settings, and the name ``flujo`` if it is free."""
        self._awaiting.install()
        self._completion.install()
        self._configurables().append(self._settings)
        self._shell.user_ns.setdefault(NAME, self._api)
        atexit.register(self.front.sessions.close_at_once)
        if self._shell.has_trait("kernel") and current_cell(self._shell) is None:
            # The kernel is starting: nothing that is said now is shown anywhere.
            self._shell.events.register(_BEFORE_A_CELL, self._restore_in_a_cell)
        else:
            self._restore()
        RunHandle.carry = staticmethod(guarded)  # `await runner.run_async(…)` in a cell

    def unload(self) -> None:
        """Take everything out; the session rests."""
        atexit.unregister(self.front.sessions.close_at_once)
        self.front.session.background.leave()
        self.front.sessions.close_at_once()
        RunHandle.carry = staticmethod(plainly)
        if self._restore_in_a_cell in self._shell.events.callbacks[_BEFORE_A_CELL]:
            self._shell.events.unregister(_BEFORE_A_CELL, self._restore_in_a_cell)
        self._awaiting.uninstall()
        self._completion.uninstall()
        self._configurables().remove(self._settings)
        self._shell.config.pop(Flujo.__name__, None)
        if self._shell.user_ns.get(NAME) is self._api:
            del self._shell.user_ns[NAME]

    def _restore(self) -> None:
        if self.front.sessions.may_restore():
            run_bridged(lambda: self.front.sessions.ready(records=False))

    def _restore_in_a_cell(self, _info: object) -> None:
        self._shell.events.unregister(_BEFORE_A_CELL, self._restore_in_a_cell)
        self._restore()

    def _configurables(self) -> list[Configurable]:
        """What ``%config`` lists; annotated too narrowly by IPython."""
        return cast(list[Configurable], self._shell.configurables)

    async def _run(self, line: str, body: str | None) -> object:
        __tracebackhide__ = True
        with safely_told():
            return await self._command(line, body)

    _run.__doc__ = overview_text(FAMILIES)  # what `%flujo?` shows

    async def _command(self, line: str, body: str | None) -> object:
        __tracebackhide__ = True
        word, _, rest = line.strip().partition(" ")
        name = word or "status"
        command = COMMANDS.get(name)
        if command is None:
            raise unknown("command", name, COMMANDS)
        if command.has_body and body is None:
            raise UsageError(f"{name} takes a cell: write {command.magic} in its first line")
        if body is not None and not (command.has_body or command.may_have_body):
            raise UsageError(f"{name} takes no cell: write {command.magic} with one %")
        parsed = command.parse(rest)
        if (name, parsed.words) != ("session", ["new"]):  # what that leaves is not needed
            await self.front.sessions.ready(records=False)
        try:
            return await command.handler(self.front, parsed, body or "")
        except ValueNotRead as error:
            raise UsageError(" ".join(str(error).split())) from error


def _settings_of(shell: InteractiveShell) -> Flujo:
    """The settings that were configured, or the defaults when those do not fit."""
    try:
        return Flujo(parent=shell)
    except TraitError as error:
        warnings.warn(f"the defaults of Flujo are in force: {error}", stacklevel=2)
        return Flujo()


_extensions: dict[int, Extension] = {}


def load(shell: InteractiveShell) -> None:
    """Load the extension into ``shell``; once is enough."""
    if id(shell) not in _extensions:
        extension = _extensions[id(shell)] = Extension(shell)
        extension.load()


def unload(shell: InteractiveShell) -> None:
    """Take the extension out of ``shell``, if it is in."""
    extension = _extensions.pop(id(shell), None)
    if extension is not None:
        extension.unload()
