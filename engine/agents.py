"""Agents of other libraries, made to run here: one table from library to adapter."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast

from .step_config import Agent


class AgentAdapter(Protocol):
    """A module that makes agents of one library run as steps."""

    @property
    def adapted(self) -> Callable[[Agent], Agent]:
        """Takes the library's agent; gives one with ``async run(data, …)``."""


ADAPTERS: dict[str, str] = {}
"""The adapter module (dotted name) of each library, by the name of its top-level package."""


def runnable(agent: Agent) -> Agent:
    """``agent``, or what its library's adapter, imported on first use, makes of it."""
    for base in type(agent).__mro__:
        module = ADAPTERS.get(base.__module__.partition(".")[0])
        if module is not None:
            return cast(AgentAdapter, import_module(module)).adapted(agent)
    return agent
