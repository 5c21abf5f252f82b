"""The words after ``%flujo``, a module for each family."""

from __future__ import annotations

from collections.abc import Sequence

from .agent import AGENT
from .cache import CACHE
from .check import CHECK
from .command import Command
from .compare import COMPARE
from .control import CONTROL
from .define import DEFINE
from .doctor import DOCTOR
from .export import EXPORT
from .help import help_command
from .look import LOOK
from .move import MOVE
from .run import RUN
from .settings import SETTINGS
from .trust import TRUST
from .values import VALUES

FAMILIES: dict[str, Sequence[Command]] = {
    "define": (*DEFINE, *AGENT),
    "run": RUN,
    "control": CONTROL,
    "look": (*LOOK, *COMPARE),
    "move": MOVE,
    "trust": (*TRUST, *CHECK),
    "values": (*VALUES, *EXPORT),
    "session": (*SETTINGS, *CACHE),
    "help": DOCTOR,
}
"""The commands by family, in the order in which help lists them."""

FAMILIES["help"] = (*DOCTOR, help_command(FAMILIES))

COMMANDS = {command.name: command for family in FAMILIES.values() for command in family}
"""All commands by name."""
