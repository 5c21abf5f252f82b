"""What an agent of pydantic-ai is, as a digest: what it was told, and which tools it has.

Agents with one digest answer alike, as far as can be seen: a function counts by its source, not by
what it closes over; of a toolset that is elsewhere (MCP) only the label counts.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Set
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.agent import AbstractAgent, WrapperAgent
from pydantic_ai.models import Model
from pydantic_ai.template import TemplateStr
from pydantic_ai.toolsets import AbstractToolset, FunctionToolset

from flujo_nb.engine.signatures import underlying


def digest_of(agent: AbstractAgent[Any, Any]) -> str:
    """A digest of all that makes ``agent`` answer as it does; the same in every process."""
    while isinstance(agent, WrapperAgent):
        agent = agent.wrapped
    parts = [*_model_of(agent), *_output_of(agent), *_prompts_of(agent), *_tools_of(agent)]
    return hashlib.sha256(json.dumps(_stable(parts), sort_keys=True).encode()).hexdigest()


def _model_of(agent: AbstractAgent[Any, Any]) -> list[object]:
    model, capability = agent.model, agent.root_capability
    return [
        [model.model_id, model.settings] if isinstance(model, Model) else model,
        agent.model_settings if isinstance(agent, Agent) else None,
        capability.get_model_settings(),
        capability.get_native_tools(),
    ]


def _output_of(agent: AbstractAgent[Any, Any]) -> list[object]:
    validators = agent._output_validators if isinstance(agent, Agent) else []
    return [agent.output_json_schema(), agent.output_type, validators]


def _prompts_of(agent: AbstractAgent[Any, Any]) -> list[object]:
    prompts: list[object] = [agent.root_capability.get_instructions()]
    if isinstance(agent, Agent):  # these have no public names
        prompts += [agent._instructions, agent._system_prompts, agent._system_prompt_functions]
    return prompts


def _tools_of(agent: AbstractAgent[Any, Any]) -> list[object]:
    found: list[object] = []

    def look_at(leaf: AbstractToolset[Any]) -> None:
        if isinstance(leaf, FunctionToolset):
            found.extend([tool.tool_def, tool.function] for tool in leaf.tools.values())

    for toolset in agent.toolsets:
        found.append(toolset.label)
        toolset.apply(look_at)
    return found


def _stable(value: object) -> object:
    """``value`` as JSON that tells definitions apart: a function is its source."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case TemplateStr():
            return str(value)
        case BaseModel():
            return _stable(value.model_dump())
        case Mapping():
            return {str(key): _stable(item) for key, item in value.items()}
        case list() | tuple():
            return [_stable(item) for item in value]
        case Set():
            return sorted(map(repr, value))
        case type():
            return value.__qualname__
        case functools.partial():
            return _stable([value.func, value.args, value.keywords])
        case _ if is_dataclass(value):
            own = {field.name: _stable(getattr(value, field.name)) for field in fields(value)}
            return [type(value).__qualname__, own]
        case _ if callable(value):
            return _source(value)
        case _:
            return repr(value)


def _source(function: Callable[..., object]) -> str:
    plain = underlying(function)
    try:
        return inspect.getsource(plain)
    except (OSError, TypeError):  # it has none: a builtin, or code that was never in a file
        return f"{plain.__module__}.{plain.__qualname__}"
