"""What a fork changes at the frame where it begins: the frame's input, its context, its output.

A patch is a JSON merge patch (RFC 7396) for one of the three. What it names is validated by the
model or the type that holds it; all else stays the very value that it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace
from types import GenericAlias
from typing import cast

from pydantic import AliasChoices, BaseModel, RootModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from .context import show, shown_by
from .context_update_manager import ContextUpdateManager
from .errors import NotPatchable, PatchMisfit, ResumeError
from .frame import AnyFrame
from .journal import Patch
from .outcomes import StepOutcome, Success, make_success
from .policy import Call
from .step_config import JSONValue
from .unsaved import check_is_there
from .user_code import Raised, caught_inline, message_of
from .values import own_copy, state_of

_PARTS = ("data", "context", "output")
_OF_JSON = frozenset({str, int, float, bool, type(None), list, dict})
_NAMED = 3


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


def patched(value: object, patch: JSONValue, where: str = "value") -> object:
    """``value`` with a patch applied, as the model or the type that it is of.

    ``value`` is not changed, and what of it is not patched is shared. Raises `PatchMisfit` when
    the result does not fit, with the part that does not (``where`` is the name of the whole), and
    `NotPatchable` for a value that is no data of JSON.
    """
    if isinstance(patch, Mapping) and _has_parts(value):
        return _with_parts(value, patch, where)
    new = merged(None, patch)
    return new if value is None else _validated(_type_of(value), new, where)


def _has_parts(value: object) -> bool:
    """Whether a patch may change parts of it: it is a JSON object."""
    if isinstance(value, RootModel):
        return _has_parts(value.root)
    return isinstance(value, BaseModel | dict) or _is_dataclass(value)


def _is_dataclass(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _with_parts(value: object, patch: Mapping[str, JSONValue], where: str) -> object:
    """``value``, which has parts, with some of them patched."""
    if isinstance(value, RootModel):
        return _validated(type(value), _with_parts(value.root, patch, where), where)
    if isinstance(value, BaseModel):
        return _patched_model(value, patch, where)
    if isinstance(value, dict):
        return _patched_dict(value, patch, where)
    fields = [one.name for one in dataclasses.fields(value) if one.init]  # type: ignore[arg-type]
    state = {name: cast(object, getattr(value, name)) for name in fields}
    _patch_fields(state, dict(zip(fields, fields, strict=True)), patch, where, type(value))
    return _validated(type(value), state, where)


def _patched_dict(
    value: dict[object, object], patch: Mapping[str, JSONValue], where: str
) -> dict[object, object]:
    result = copy(value)
    known = {str(key): key for key in value} | {key: key for key in value if isinstance(key, str)}
    for name, part in patch.items():
        key = known.get(name, name)
        held = result.get(key)
        if part is None:
            result.pop(key, None)
        elif _is_free(held) and not (isinstance(part, Mapping) and isinstance(held, dict)):
            result[key] = merged(None, part)
        else:
            result[key] = patched(held, part, f"{where}.{name}")
    return result


def _is_free(value: object) -> bool:
    """Whether anything may stand in the place of ``value``, which is inside plain data."""
    return _type_of(value) in _OF_JSON


def _patched_model(value: BaseModel, patch: Mapping[str, JSONValue], where: str) -> BaseModel:
    model = type(value)
    by_name = model.model_config.get("populate_by_name") or model.model_config.get(
        "validate_by_name"
    )
    keys = {
        name: name if by_name else _alias_of(name, field)
        for name, field in model.model_fields.items()
    }
    held = state_of(value)
    state = {key: held[name] for name, key in keys.items() if name in held}
    extra = value.__pydantic_extra__
    names = {**{key: key for key in keys.values()}, **keys}
    if extra is not None:
        state |= extra
        names |= {key: key for key in (*extra, *patch) if key not in names}
    _patch_fields(state, names, patch, where, model)
    return show(cast(BaseModel, _validated(model, state, where)), shown_by(value))


def _alias_of(name: str, field: FieldInfo) -> str:
    """What a field is called where it is validated."""
    alias = field.validation_alias
    choices: Iterable[object] = alias.choices if isinstance(alias, AliasChoices) else (alias,)
    return next((one for one in choices if isinstance(one, str)), name)


def _patch_fields(
    state: dict[str, object],
    names: Mapping[str, str],
    patch: Mapping[str, JSONValue],
    where: str,
    owner: type,
) -> None:
    """Patch the fields in ``state``; ``names`` leads from what they may be called to its keys."""
    for name, part in patch.items():
        if name not in names:
            known = ", ".join(dict.fromkeys(names)) or "none"
            raise _misfit(where, f"{owner.__name__} has no field {name!r}; it has {known}")
        key = names[name]
        if part is None:
            state.pop(key, None)
        elif isinstance(part, Mapping) and _has_parts(state.get(key)):
            state[key] = _with_parts(state[key], part, f"{where}.{name}")
        else:
            state[key] = merged(None, part)


def _type_of(value: object) -> type | GenericAlias:
    """The type of ``value``; of a collection of one kind of objects with that."""
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        kinds = set(map(type, cast(Iterable[object], value)))
        if len(kinds) == 1 and not kinds & _OF_JSON:
            item = kinds.pop()
            return GenericAlias(kind, (item, ...) if kind is tuple else (item,))
    return kind


def _validated(kind: type | GenericAlias, value: object, where: str) -> object:
    adapter = caught_inline(_adapter_of, kind)
    if isinstance(adapter, Raised):
        raise NotPatchable(
            f"{where} ({kind.__name__}) is neither plain data nor a model: no patch can change it"
        ) from adapter.error
    result = caught_inline(adapter.validate_python, value)
    if not isinstance(result, Raised):
        return result
    if not isinstance(result.error, ValidationError):
        raise _misfit(where, message_of(result.error)) from result.error
    told = result.error.errors(include_url=False, include_context=False, include_input=False)
    first = told[0]
    more = "".join(f"; {_place(where, one['loc'])}: {one['msg']}" for one in told[1:_NAMED])
    raise _misfit(_place(where, first["loc"]), f"{first['msg']}{more}") from result.error


def _adapter_of(kind: type | GenericAlias) -> TypeAdapter[object]:
    return TypeAdapter(cast(type[object], kind))


def _place(where: str, below: tuple[int | str, ...]) -> str:
    return ".".join((where, *map(str, below)))


def _misfit(where: str, why: str) -> PatchMisfit:
    return PatchMisfit(f"the patch does not fit {where}: {why}")


# In runs.


def patching(
    frame: AnyFrame, proceed: Call, patch: Patch, contexts: ContextUpdateManager
) -> Call | Success:
    """``proceed`` for a frame that is patched, or its outcome when that is what is patched.

    Raises `PatchMisfit`, and `ValueGone` for what was only in memory.
    """
    [(part, change)] = patch.changes.items()
    if part == "output":
        before = patch.before if isinstance(patch.before, Success) else Success()
        output = _fitting(frame, own_copy(before.output), change, part)
        place = frame.step, frame.segments, frame.index
        return make_success(*place, 1, 0.0, None, (), before.metadata, output, before.update)
    if part == "data":
        given = replace(frame, data=_fitting(frame, frame.data, change, part))
        # One that was answered meanwhile works on the answer.
        return lambda current: proceed(given if current is frame else current)
    base = frame.context
    if base is None:
        raise PatchMisfit(f"{frame.path} has no context that could be patched")
    context = cast(BaseModel, _fitting(frame, base, change, part))

    async def call(current: AnyFrame) -> StepOutcome:
        outcome = await proceed(replace(current, context=context))
        if not isinstance(outcome, Success):
            return outcome
        after = contexts.merge(context, outcome.update)
        return replace(outcome, update=contexts.net(base, after))

    return call


def _fitting(frame: AnyFrame, value: object, patch: JSONValue, part: str) -> object:
    check_is_there(value)
    try:
        return patched(value, patch, part)
    except PatchMisfit as error:
        raise type(error)(f"{error} (at {frame.path})") from error
