"""What a fork changes at the frame where it begins: the frame's input, its context, its output.

A patch is a JSON merge patch (RFC 7396) for one of the three, validated by the model it is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from pydantic import BaseModel, TypeAdapter
from pydantic_core import to_jsonable_python

from .context_update_manager import ContextUpdateManager
from .errors import ResumeError
from .frame import AnyFrame
from .outcomes import FrameOutcome, StepOutcome, Success
from .policy import Call
from .step_config import JSONValue
from .user_code import Raised, caught_inline, message_of
from .value_keys import class_name

_PARTS = ("data", "context", "output")


def checked_patch(patch: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    """``patch`` itself. Raises `ResumeError` when it does not name what it patches."""
    if len(patch) != 1 or next(iter(patch)) not in _PARTS:
        raise ResumeError(
            'a patch names what it changes: {"data": …}, {"context": …} or {"output": …}; '
            f"found {', '.join(map(repr, patch)) or 'nothing'}"
        )
    return dict(patch)


def merged(value: JSONValue, patch: JSONValue) -> JSONValue:
    """``value`` with a JSON merge patch applied (RFC 7396, section 2)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(value) if isinstance(value, Mapping) else {}
    for key, part in patch.items():
        if part is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), part)
    return result


def patched(value: object, patch: JSONValue) -> object:
    """``value`` with a patch applied, as the model or the type that it is of.

    Raises pydantic's `ValidationError` when the result does not fit.
    """
    changed = merged(cast(JSONValue, to_jsonable_python(value)), patch)
    if isinstance(value, BaseModel):
        return type(value).model_validate(changed)
    return TypeAdapter(type(value)).validate_python(changed) if value is not None else changed


def patching(
    proceed: Call,
    patch: Mapping[str, JSONValue],
    recorded: FrameOutcome | None,
    contexts: ContextUpdateManager,
) -> Call:
    """``proceed`` for a frame that is patched; ``recorded`` is how it ended before the fork.

    The call raises `ResumeError` when the patch does not fit.
    """

    async def call(frame: AnyFrame) -> StepOutcome:
        if "output" in patch:
            before = recorded if isinstance(recorded, Success) else Success()
            output = _fitting(frame, before.output, patch["output"])
            return replace(before, output=output, step=frame.step)
        if "data" in patch:
            return await proceed(replace(frame, data=_fitting(frame, frame.data, patch["data"])))
        base = frame.context
        if base is None:
            raise ResumeError(f"{frame.path} has no context that could be patched")
        context = cast(BaseModel, _fitting(frame, base, patch["context"]))
        outcome = await proceed(replace(frame, context=context))
        if not isinstance(outcome, Success):
            return outcome
        after = contexts.merge(context, outcome.update)
        return replace(outcome, update=contexts.net(base, after))

    return call


def _fitting(frame: AnyFrame, value: object, patch: JSONValue) -> object:
    result = caught_inline(patched, value, patch)
    if isinstance(result, Raised):
        told = f"the patch does not fit a {class_name(type(value))} (at {frame.path})"
        raise ResumeError(f"{told}: {message_of(result.error)}") from result.error
    return result
