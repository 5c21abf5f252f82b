"""What ``%config Flujo.…`` sets."""

from __future__ import annotations

import os

from traitlets import Bool, CaselessStrEnum, Int, Unicode, default
from traitlets.config import Configurable

AUTO = "auto"
OFF = ("", "off", "none", "None")


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
    reuse = CaselessStrEnum(
        ["off", "same"],
        "off",
        help="'same': a command whose steps and input equal those of a recorded frame gives that "
        "frame, and runs nothing. Steps that are declared pure=False always run.",
    ).tag(config=True)
    store = Unicode(
        AUTO,
        allow_none=True,
        help="Where sessions are kept: 'auto' (.flujo/flujo.db beside the notebook, where that is "
        "possible), a file, or None (in memory). FLUJO_STORE in the environment sets the default.",
    ).tag(config=True)
    max_memory = Int(
        512,
        min=0,
        help="How many MB of values the frames of a session keep in memory: more are read back.",
    ).tag(config=True)

    @default("store")
    def _store_of_the_environment(self) -> str | None:
        named = os.environ.get("FLUJO_STORE", AUTO)
        return None if named in OFF else named
