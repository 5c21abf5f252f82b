"""The errors of the notebook front: short in a cell, whole on request."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from IPython.core.error import UsageError

from flujo_nb.engine.errors import FlujoError, StepInterrupted
from flujo_nb.engine.record import FrameRecord
from flujo_nb.widgets.previews import veiled

from .html import plain, safe

_DIGEST = re.compile(r"\s*[-+ ]\s*code of \S+: [0-9a-f]{16}")


class TerseError(FlujoError):
    """An error whose message is all that a cell shows of it."""

    def __init__(self, message: str) -> None:
        super().__init__(safe(message))

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


class RunError(FlujoError):
    """A run that a cell asked for did not succeed. ``record`` is what was kept of it.

    The message is the whole story in a few lines. A cell shows only it, unless ``whole`` makes the
    lines of a traceback; no secret is shown of those.
    """

    def __init__(
        self,
        record: FrameRecord,
        lines: list[str],
        *,
        whole: Callable[[BaseException], list[str]] | None = None,
    ) -> None:
        super().__init__(safe("\n".join(lines)))
        self.record = record
        self._whole = whole

    def _render_traceback_(self) -> list[str]:
        if self._whole is None:
            return str(self).splitlines()
        lines = self._whole(self)
        told = plain("\n".join(lines))
        shown = veiled(told)
        return lines if shown == told else shown.splitlines()  # without its colours


class StepFailed(RunError):
    """A step failed."""


class RunAborted(RunError):
    """The run was ended by its budget or by a hook, or waits for a human."""


class RunInterrupted(StepInterrupted):
    """A run was interrupted. ``record`` is what was kept of it."""

    def __init__(self, record: FrameRecord, lines: list[str]) -> None:
        super().__init__(safe("\n".join(lines)))
        self.record = record

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


@contextmanager
def safely_told() -> Iterator[None]:
    """Have a `UsageError` say what it quotes of the user's without secrets and controls."""
    try:
        yield
    except UsageError as error:
        told = safe(str(error))
        if told == str(error):
            raise
        raise UsageError(told) from None


def without_digests(lines: Iterable[str]) -> list[str]:
    """A difference of definitions, without the digests of code whose source it shows too."""
    every = list(lines)
    kept = [line for line in every if _DIGEST.fullmatch(line) is None]
    return kept if any(line.lstrip().startswith(("-", "+")) for line in kept) else every


def unknown(kind: str, found: str, known: Iterable[str]) -> UsageError:
    """A one-line error for a name that does not exist, with the nearest that does."""
    names = list(known)
    near = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    if near:
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = f"there are: {', '.join(names)}" if names else "there are none yet"
    return UsageError(f"there is no {kind} {found!r}; {hint}")
