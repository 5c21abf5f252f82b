"""How the command ``flujo-nb`` ends: its exit codes, and the error that stands for one of them."""

from __future__ import annotations

from .engine.errors import FlujoError

PASSED, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


class Misuse(FlujoError):
    """The command cannot do what its arguments say. Nothing has run."""
