"""All that a cell shows: what it displays and returns, what it prints, and its error."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.error import UsageError

from tests.notebook import Notebook

Bundle = Mapping[str, object]


@dataclass
class Shown:
    """What a cell showed.

    ``sent`` is all that went to the front end, ``bundles`` what of that stands there in the end:
    some took the place of others. ``error`` are the lines of an error that renders itself.
    """

    cell: str
    sent: Sequence[Bundle]
    bundles: Sequence[Bundle]
    printed: str
    raised: BaseException | None
    error: Sequence[str]

    @property
    def texts(self) -> Iterator[str]:
        """The plain texts, and the error."""
        yield from (str(one["text/plain"]) for one in self.sent if "text/plain" in one)
        yield from self.error

    @property
    def everything(self) -> Iterator[str]:
        """Every form of everything."""
        yield from (
            json.dumps(one, ensure_ascii=is_ascii) for one in self.sent for is_ascii in (0, 1)
        )
        yield self.printed
        yield from self.error


def pages(bundles: Sequence[Bundle]) -> list[str]:
    """The HTML."""
    return [str(one["text/html"]) for one in bundles if "text/html" in one]


def shown_by(notebook: Notebook, cell: str) -> Shown:
    """Run a cell, which is taken for another cell than all before it, and collect what it shows."""
    shell, printed = notebook.shell, io.StringIO()
    former, shell.display_pub = shell.display_pub, CapturingDisplayPublisher(shell=shell)
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            result = notebook.run(cell, cell_id=f"cell {shell.execution_count}")
        outputs: Sequence[Mapping[str, Bundle]] = shell.display_pub.outputs
    finally:
        shell.display_pub = former
    sent = [one["data"] for one in outputs]
    places = {(one.get("transient") or {}).get("display_id", n): n for n, one in enumerate(outputs)}
    standing = [sent[n] for n in sorted(places.values())]
    bundle: Callable[[], Bundle] | None = getattr(result.result, "_repr_mimebundle_", None)
    returned = [] if bundle is None else [bundle()]
    raised = result.error_before_exec or result.error_in_exec
    return Shown(
        cell,
        [*sent, *returned],
        [*standing, *returned],
        printed.getvalue(),
        raised,
        _lines_of(raised),
    )


def _lines_of(error: BaseException | None) -> Sequence[str]:
    rendered: Callable[[], list[str]] | None = getattr(error, "_render_traceback_", None)
    if rendered is not None:
        return rendered()
    return str(error).splitlines() if isinstance(error, UsageError) else ()
