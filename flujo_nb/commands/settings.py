"""``%flujo session``: what new lines start with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from IPython.core.error import UsageError
from pydantic import BaseModel

from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View, table_view
from flujo_nb.front import Front
from flujo_nb.widgets.view_model import short

from .command import Command


async def session(front: Front, parsed: Parsed, body: str) -> View:
    """Set the context and the resources; show them."""
    name = parsed.values.get("--context")
    model = None if name is None else front.variable(name)
    init = _evaluated(front, parsed, "--init")
    if init is not None and not isinstance(init, Mapping | BaseModel):
        raise UsageError(f"--init takes a dict or a model; found {type(init).__name__}")
    if model is not None and not _is_model(model):
        raise UsageError(
            f"--context {name}: a context is a pydantic model (class {name}(BaseModel): …); "
            f"found {short(model, 40)}"
        )
    resources = _evaluated(front, parsed, "--resources")
    front.session.configure(context=model, init=init, resources=resources)
    return _shown(front)


def _evaluated(front: Front, parsed: Parsed, option: str) -> object:
    expression = parsed.values.get(option)
    return None if expression is None else front.evaluate(expression, option)


def _is_model(value: object) -> TypeGuard[type[BaseModel] | BaseModel]:
    return isinstance(value, BaseModel) or (
        isinstance(value, type) and issubclass(value, BaseModel)
    )


def _shown(front: Front) -> View:
    kept = front.session
    context, resources = kept.initial_context, kept.resources
    rows = [
        ("context", "none" if context is None else short(context)),
        ("resources", "none" if resources is None else type(resources).__name__),
        ("kept", "in memory only: a restart of the kernel ends the session"),
    ]
    if kept.head is not None:
        rows.append(("HEAD", f"{kept.head.id} goes on with its own context; -i starts a new line"))
    return table_view(kept.run_id, ("", ""), rows, ("%%flujo step", "%flujo"))


SETTINGS = (
    Command(
        name="session",
        summary="what new lines start with: context and resources",
        usage="%flujo session [--context MODEL] [--init EXPR] [--resources EXPR]",
        example="%flujo session --context PipelineContext --init {'initial_prompt': 'hello'}",
        handler=session,
        options=(
            Option(("--context",), "a pydantic model of yours, by its name", "MODEL"),
            Option(("--init",), "the values that it starts with: a dict or an instance", "EXPR"),
            Option(("--resources",), "clients, models, connections: for steps, not saved", "EXPR"),
        ),
    ),
)
