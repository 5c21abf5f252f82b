"""The words after ``%flujo``, a module for each family."""

from __future__ import annotations

from .command import Command
from .define import DEFINE
from .help import help_command
from .look import LOOK
from .run import RUN
from .settings import SETTINGS

COMMANDS: dict[str, Command] = {
    command.name: command for command in (*DEFINE, *RUN, *LOOK, *SETTINGS)
}
"""All commands by name, in the order in which help lists them."""

COMMANDS["help"] = help_command(COMMANDS)
