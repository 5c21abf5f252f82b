"""The words after ``%flujo``, a module for each family."""

from __future__ import annotations

from .command import Command
from .define import DEFINE
from .doctor import DOCTOR
from .help import help_command
from .look import LOOK
from .move import MOVE
from .run import RUN
from .settings import SETTINGS
from .trust import TRUST

COMMANDS: dict[str, Command] = {
    command.name: command for command in (*DEFINE, *RUN, *LOOK, *MOVE, *TRUST, *SETTINGS, *DOCTOR)
}
"""All commands by name, in the order in which help lists them."""

COMMANDS["help"] = help_command(COMMANDS)
