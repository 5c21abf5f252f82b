"""A notebook without a kernel: a shell of IPython's own, with the extension loaded into it."""

from __future__ import annotations

import asyncio
import atexit
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

from flujo_nb import magics
from flujo_nb.api import SessionApi
from flujo_nb.display import FrameCard, View
from flujo_nb.front import Front
from flujo_nb.session import Session

T = TypeVar("T")


class Notebook:
    """Runs cells one after the other, as a front end would have them run."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell

    @property
    def front(self) -> Front:
        return magics._extensions[id(self.shell)].front

    @property
    def session(self) -> Session:
        return self.front.session

    @property
    def api(self) -> SessionApi:
        found = self.shell.user_ns["flujo"]
        assert isinstance(found, SessionApi)
        return found

    def load(self) -> None:
        """What ``%load_ext flujo_nb`` does."""
        assert self.shell.extension_manager is not None
        self.shell.extension_manager.load_extension("flujo_nb")

    def unload(self) -> None:
        """What ``%unload_ext flujo_nb`` does."""
        assert self.shell.extension_manager is not None
        self.shell.extension_manager.unload_extension("flujo_nb")

    def run(self, text: str, cell_id: str | None = None) -> ExecutionResult:
        """Run a cell; errors are in the result, and shown."""
        return asyncio.run(self.ran(text, cell_id))

    async def ran(self, text: str, cell_id: str | None = None) -> ExecutionResult:
        """Run a cell on the running loop, as a kernel would: what it launches may work on."""
        transform: Callable[[str], str] = self.shell.transform_cell
        try:
            cell, error = transform(text), None
        except SyntaxError:
            cell, error = text, sys.exc_info()
        return await self.shell.run_cell_async(
            text,
            store_history=True,
            transformed_cell=cell,
            preprocessing_exc_tuple=error,
            cell_id=cell_id,
        )

    def value(self, text: str, cell_id: str | None = None) -> object:
        """What the last expression of a cell came to; raises its error."""
        result = self.run(text, cell_id)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            raise error
        return result.result

    def view(self, text: str, cell_id: str | None = None) -> View:
        found = self.value(text, cell_id)
        assert isinstance(found, View), found
        return found

    def card(self, text: str, cell_id: str | None = None) -> FrameCard:
        found = self.value(text, cell_id)
        assert isinstance(found, FrameCard), found
        return found

    def error(self, text: str, cell_id: str | None = None) -> BaseException:
        """What a cell raised; it must have."""
        result = self.run(text, cell_id)
        found = result.error_before_exec or result.error_in_exec
        assert isinstance(found, BaseException), f"no error in {text!r}"
        return found

    def during(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine of the test's own on a loop."""

        async def whole() -> T:
            return await work()

        return asyncio.run(whole())

    def state(self) -> Sequence[object]:
        """All that commands may change in the session, to be compared before and after."""
        kept = self.session
        return (
            kept.run_id,
            dict(kept.steps),
            list(kept.entries),
            kept.head,
            kept.initial_context,
            kept.initial_context and kept.initial_context.model_copy(deep=True),
            kept.resources,
            kept.quota,
            kept.quota.spent,
        )


@contextmanager
def fresh_notebook() -> Iterator[Notebook]:
    """A notebook of its own, with the extension loaded; nothing of it is left behind."""
    InteractiveShell.clear_instance()
    main = sys.modules["__main__"]  # the shell takes its place; so each would hold the one before
    with tempfile.TemporaryDirectory() as folder:
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.ipython_dir = folder
        config.InteractiveShell.colors = "nocolor"
        shell = InteractiveShell.instance(config=config)
        try:
            notebook = Notebook(shell)
            notebook.load()
            yield notebook
        finally:
            magics.unload(shell)
            atexit.unregister(shell.atexit_operations)
            shell.atexit_operations()  # type: ignore[no-untyped-call]
            sys.modules["__main__"] = main
            InteractiveShell.clear_instance()
