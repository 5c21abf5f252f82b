"""What ``%config Flujo.…`` sets."""

from __future__ import annotations

from traitlets import Bool, CaselessStrEnum
from traitlets.config import Configurable


class Flujo(Configurable):
    """Settings of the notebook front, listed by ``%config`` under this class's name."""

    short_errors = Bool(
        True, help="Show a failed run in a few lines; false: with the cause's full traceback."
    ).tag(config=True)
    after_failure = CaselessStrEnum(
        ["continue", "refuse"],
        "continue",
        help="A run behind a failed one goes on from the unchanged HEAD, or is refused.",
    ).tag(config=True)
