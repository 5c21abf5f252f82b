"""What an agent of pydantic-ai is, as a digest.

All that the agent holds counts, down to its models, toolsets and capabilities, but for the few
attributes that are named here. So what a version of pydantic-ai adds or calls otherwise makes
another digest, at worst one that no other agent has, and never hides a change. The functions in
it count as the engine has it: by what they do, with the helpers and constants that they use.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import is_dataclass
from enum import Enum
from functools import cached_property, lru_cache
from types import MethodType
from typing import Any, TypeAlias

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.agent import AbstractAgent, WrapperAgent
from pydantic_ai.capabilities import CombinedCapability
from pydantic_ai.models import Model
from pydantic_ai.models.test import TestModel
from pydantic_ai.template import TemplateStr
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset
from pydantic_core import SchemaValidator

from flujo_nb.engine.definition_parts import MadeOf
from flujo_nb.engine.digests import Definition, definition_of_parts

_LIBRARY = "pydantic_ai"
_ENTERED = {"_entered_count", "_running_count", "_exit_stack"}

_UNTOLD: dict[type, Collection[str]] = {
    # for logs; what is open during a run; what is made of the output type, which counts itself
    Agent: {
        *("_name", "_instrument", "_metadata", *_ENTERED, "_concurrency_limiter"),
        *("_entered_model_ids", "_entered_models_by_name", "_selected_models"),
        *("_output_schema", "_output_toolset"),
    },
    # the connection, made anew with each model: its address counts
    Model: {*_ENTERED, "client", "_client", "_provider"},
    TestModel: {"last_model_request_parameters"},
    AbstractToolset: {*_ENTERED, "_toolset"},
    FunctionToolset: {"output_schema"},
    CombinedCapability: {"_dispatch", "_instruction_sources"},  # both of its `capabilities`
}
"""What of the library's objects does not count."""

_Look: TypeAlias = Callable[[], Collection[object]]


class AgentDefinition:
    """Knows what an agent is, and finds it out anew once that has changed."""

    def __init__(self, agent: AbstractAgent[Any, Any]) -> None:
        while type(agent) is WrapperAgent:
            agent = agent.wrapped
        self._agent = agent
        self._walk = _Walk()
        self._taken: Definition | None = None

    def digest(self) -> str:
        """A text that is another one whenever the agent would work differently.

        It is the same in every process, unless a function of the agent uses what only its
        process can tell from others: a client, a lock.
        """
        taken = self._taken
        if taken is None or not self._walk.holds() or not taken.holds():
            self._take()
            self._taken = taken = definition_of_parts(self._walk.parts)
        return f"{taken.digest} {taken.state}"

    def parts(self) -> MadeOf:
        """All that counts of the agent, down to what is not of the library any more."""
        if not self._walk.parts or not self._walk.holds():
            self._take()
        return MadeOf(self._walk.parts, self._walk.holds)

    def _take(self) -> None:
        self._taken = None
        self._walk = _Walk()
        self._walk.take("", self._agent)


class _Walk:
    """One way through all that an agent holds, to what is not of the library any more."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, object]] = []
        self._seen: dict[int, int] = {}
        self._looks: list[tuple[_Look, list[object]]] = []

    def holds(self) -> bool:
        """Whether everything on the way is still the same object."""
        for look, kept in self._looks:
            now = look()
            if len(now) != len(kept) or not all(map(operator.is_, now, kept)):
                return False
        return True

    def take(self, name: str, value: object) -> None:
        """Note what ``value`` is."""
        untold = _untold_of(value)
        if isinstance(value, ContextVar):  # what `agent.override` sets
            self._look(lambda: [value.get(None)])
            self.take(name, value.get(None))
        elif isinstance(value, TemplateStr):
            self.parts.append((name, str(value)))
        elif isinstance(value, MethodType) and _untold_of(value.__self__) is not None:
            self.take(name, value.__func__)
            self.take(f"{name}.__self__", value.__self__)
        elif isinstance(value, list | tuple | dict) or untold is not None:
            if self._is_new(name, value):
                self._open(name, value, untold or ())
        elif isinstance(value, set):
            self._look(lambda: value)
            self.parts.append((name, frozenset(value)))
        elif not isinstance(value, SchemaValidator):  # made of a function that counts
            self.parts.append((name, value))

    def _open(self, name: str, value: object, untold: Collection[str]) -> None:
        self.parts.append((name, type(value)))
        if isinstance(value, list | tuple):
            self._look(lambda: value)
            items = [(f"[{number}]", item) for number, item in enumerate(value)]
        elif isinstance(value, dict):
            self._look(lambda: [*value, *value.values()])
            items = [(f"[{key!r}]", item) for key, item in value.items()]
        else:
            told = vars(value)
            self._look(lambda: [told[key] for key in told if key not in untold])
            items = [(f".{key}", item) for key, item in told.items() if key not in untold]
        if isinstance(value, Model):
            self.parts.append((name, (value.model_id, value.base_url)))
        for label, item in items:
            self.take(f"{name}{label}", item)

    def _look(self, look: _Look) -> None:
        self._looks.append((look, [*look()]))

    def _is_new(self, name: str, value: object) -> bool:
        count = len(self._seen)
        number = self._seen.setdefault(id(value), count)
        if number != count:
            self.parts.append((f"{name} is number", number))
        return number == count


def _untold_of(value: object) -> Collection[str] | None:
    """The attributes of ``value`` that do not count; ``None`` for what is left to the engine."""
    return _untold(type(value))  # type: ignore[arg-type]  # mypy finds no hash in a class


@lru_cache(maxsize=1024)
def _untold(kind: type[Any]) -> Collection[str] | None:
    of_library = any(base.__module__.partition(".")[0] == _LIBRARY for base in kind.__mro__)
    if not (of_library or is_dataclass(kind) or issubclass(kind, BaseModel)):
        return None
    if issubclass(kind, Enum) or not kind.__dictoffset__:
        return None
    untold = {name for base in kind.__mro__ for name in _UNTOLD.get(base, ())}
    members = (item for base in kind.__mro__ for item in vars(base).items())
    return untold | {name for name, member in members if isinstance(member, cached_property)}
