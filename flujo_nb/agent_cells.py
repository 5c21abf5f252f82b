"""What a cell with a prompt or a question becomes: a step, its model and types found by name.

Nothing is evaluated. pydantic-ai is imported when a cell needs it, and not before.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from types import GenericAlias
from typing import TYPE_CHECKING, cast

from IPython.core.error import UsageError
from pydantic import PydanticUserError

from flujo_nb.engine.errors import FlujoError
from flujo_nb.engine.step_config import StepConfig
from flujo_nb.engine.step_kinds import HumanInTheLoopStep
from flujo_nb.engine.steps import AnyStep, Step
from flujo_nb.engine.usage import UsageEstimate

from .errors import unknown
from .front import Front

if TYPE_CHECKING:
    from pydantic_ai.models import Model

OFFLINE = "test"
"""The model that answers without a provider, and costs nothing."""

_INSTALL = "pip install 'flujo-nb[agents]'"
_CHARACTERS = 4
"""About so many characters of English are a token: the least that a prompt uses is reserved."""

_PLAIN = {one.__name__: one for one in (str, int, float, bool, list, dict)}
_LIST = re.compile(r"list\[(.+)\]")
_VARIABLE = re.compile(r"`([A-Z][A-Z0-9_]+)`")
_INSTALLING = re.compile(r"pip install [\"'`]?([\w.-]+(?:\[[\w,-]+\])?)")


def agent_step(
    front: Front, name: str, model: str, prompt: str, output: str, retries: int | None
) -> AnyStep:
    """A step of an agent that is asked ``prompt``.

    ``model`` and ``output`` are names; ``retries`` is how many attempts may follow the first.
    Raises `UsageError` when there is no such model or type, or what it needs is missing.
    """
    wanted = type_named(front, "--out", output)
    try:
        from pydantic_ai import Agent  # noqa: PLC0415  # only where a cell asks for an agent
        from pydantic_ai.exceptions import UserError  # noqa: PLC0415

        found = _model_named(front, model)
    except ImportError as error:
        raise UsageError(f"an agent needs pydantic-ai: {_INSTALL}  ({_line(error)})") from error
    try:
        agent = Agent(found, output_type=wanted, name=name)
        estimate = UsageEstimate(tokens=len(prompt) // _CHARACTERS + 1, requests=1)
        config = StepConfig(max_retries=retries, estimate=estimate)
        return Step(name=name, agent=agent, input=prompt, config=config)
    except (UserError, PydanticUserError, FlujoError) as error:
        raise UsageError(f"--out {output}: {_line(error)}") from error


def question_step(front: Front, name: str, message: str, schema: str | None) -> AnyStep:
    """A step that asks a human; ``schema`` names the type of the answer. Raises `UsageError`."""
    wanted = None if schema is None else type_named(front, "--schema", schema)
    try:
        return HumanInTheLoopStep(name=name, message_for_user=message, input_schema=wanted)
    except (PydanticUserError, FlujoError) as error:
        raise UsageError(f"--schema {schema}: {_line(error)}") from error


def type_named(front: Front, option: str, name: str) -> type[object]:
    """The class called ``name``: of the user's, a plain one, or ``list[NAME]`` of such.

    Raises `UsageError`; ``option`` is what took the name.
    """
    if name in _PLAIN:
        return _PLAIN[name]
    items = _LIST.fullmatch(name)
    if items is not None:
        inner = type_named(front, option, items[1].strip())
        return cast(type[object], GenericAlias(list, (inner,)))
    names = front.shell.user_ns
    if name.partition(".")[0] not in names:
        own = [one for one in front.names() if isinstance(names[one], type)]
        raise unknown("type", name, [*own, *_PLAIN, "list[…]"])
    found = front.variable(name)
    if not isinstance(found, type):
        raise UsageError(
            f"{option} {name}: a class of yours, such as a pydantic model; "
            f"found {type(found).__name__}"
        )
    return found


def _model_named(front: Front, name: str) -> Model:
    """The user's model of that name, or pydantic-ai's. Raises `UsageError`."""
    from pydantic_ai.models import Model, infer_model  # noqa: PLC0415

    if ":" not in name and name.partition(".")[0] in front.shell.user_ns:
        found = front.variable(name)
        if isinstance(found, Model):
            return found
        if name != OFFLINE:
            kind = type(found).__name__
            raise UsageError(f"--model {name}: a model of pydantic-ai; found {kind}")
    try:
        return infer_model(name)
    except Exception as error:  # whatever the library of a provider raises
        raise UsageError(f"--model {name}: {_what_is_missing(front, name, error)}") from error


def _what_is_missing(front: Front, name: str, error: Exception) -> str:
    """What to install or to set, or which model may be meant, for an ``error`` of pydantic-ai."""
    from pydantic_ai.models import Model, known_model_names  # noqa: PLC0415

    said = _line(error)
    if said.startswith("Unknown model"):
        own = [one for one in front.names() if isinstance(front.shell.user_ns[one], Model)]
        meant = {one.partition(":")[2]: one for one in known_model_names()}
        meant |= {one: one for one in (*meant.values(), OFFLINE, *own)}
        near = get_close_matches(name, meant, n=1, cutoff=0.5)
        hint = f"did you mean {meant[near[0]]!r}? else " if near else ""
        return (
            f"there is no such model; {hint}give a provider's, as openai:gpt-5, a variable that "
            f"holds a model, or {OFFLINE} (offline)"
        )
    package = _INSTALLING.search(said)
    if isinstance(error, ImportError) and package is not None:
        return f"its package is missing: pip install '{package[1]}'"
    variables = _VARIABLE.findall(said) if "environment variable" in said else []
    if variables:
        return (
            f"set the environment variable {' or '.join(variables)}, for example with "
            f"os.environ[{variables[0]!r}] = getpass.getpass(); --model {OFFLINE} needs none"
        )
    return said


def _line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
