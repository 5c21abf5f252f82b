"""The frames of a session as one JSON document: ``docs/session-export.schema.json`` describes it.

Values are in it as JSON where that has a form for them, with what looks like a secret withheld;
of others there is the preview that a card shows.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import PurePath

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError, to_jsonable_python

from flujo_nb.engine.errors import ValueNotRead
from flujo_nb.engine.record import FrameRecord
from flujo_nb.engine.step_config import JSONValue
from flujo_nb.engine.usage import Usage
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.engine.values import state_of

from ..front import Front
from ..head import Entry
from ..widgets.previews import Preview, preview, veiled

FORMAT = 1
"""The version of the document; it changes when a reader of the one before could be misled."""

_WITHHELD = "«withheld»"
_LONGEST_INT = 10_000
"""In bits; Python itself refuses to write much longer ones."""


class _NoJson(Exception):
    """A value that JSON has no form for."""


def session_document(front: Front, frame_id: str | None = None) -> str:
    """Every command's frame; or the one called ``frame_id``, with all that are inside it.

    Raises `UsageError` when there is no such frame, `ValueNotRead` when what is inside is not.
    """
    session = front.session
    records: Iterable[FrameRecord]
    if frame_id is None:
        records = (entry.record for entry in session.entries)
    else:
        whole = session.record(frame_id)
        records = chain([whole], session.all_inside(whole))
    head = session.head
    document = {
        "format": FORMAT,
        "session": {
            "run_id": session.run_id,
            "head": None if head is None else head.id,
            "steps": list(session.steps),
            "context": _value(session.initial_context),
            "usage": _usage(session.quota.spent),
        },
        "frames": [_frame(front, one) for one in records],
    }
    return json.dumps(_without_secrets(document), indent=1, allow_nan=False) + "\n"


def _frame(front: Front, record: FrameRecord) -> dict[str, JSONValue]:
    view = front.view(record.id)
    entry = front.session.entry_of(record.id)
    own = _own_facts(entry) if entry.id == record.id else None
    return {
        "id": record.id,
        "parent": record.parent,
        "name": view.name,
        "status": view.status.value,
        "path": view.path,
        "origin": view.origin,
        "command": own,
        "digest": view.digest,
        "input_digest": view.input_digest,
        "duration_s": view.duration_s,
        "attempts": view.attempts,
        "usage": _usage(record.usage),
        "stale": view.stale,
        "feedback": view.feedback,
        "notes": list(view.notes),
        "live_only": list(view.live_only),
        "absent": view.absent,
        "input": _value(record.data) if record.has_data else None,
        "output": _value(record.output) if record.has_output else None,
        "context": _value(record.context),
        "context_after": _value(record.context_after),
        "inside": _inside(front, record),
    }


def _own_facts(entry: Entry) -> dict[str, JSONValue]:
    """What is known of the command that made a frame."""
    command = entry.command
    cells: list[JSONValue] = [
        {"command": one.command, "cell_id": one.cell_id, "execution": max(one.execution, 0) or None}
        for one in entry.cells
    ]
    return {
        "target": command.target,
        "cells": cells,
        "definitions": [{"name": name, "digest": one} for name, one in command.definitions],
        "resumes": command.resumes,
        "forks": command.forks,
        "patch": command.patch,
    }


def _inside(front: Front, record: FrameRecord) -> list[JSONValue]:
    """The ids of the frames directly inside one."""
    try:
        return [one.id for one in front.session.children(record)]
    except ValueNotRead:
        return [one.id for one in front.session.keeper.lines_inside(record)]


def _usage(usage: Usage) -> dict[str, JSONValue]:
    return {"cost_usd": usage.cost_usd, "tokens": usage.tokens, "requests": usage.requests}


# Values


def _value(value: object) -> dict[str, JSONValue] | None:
    """What there is of a value: its preview, and itself where JSON has a form for it."""
    if value is None:
        return None
    shown: Preview = preview(value)
    told: dict[str, JSONValue] = {"preview": str(shown)}
    tree = caught_inline(_tree, value)
    if not isinstance(tree, Raised):
        told["value"] = tree
    return told


def _tree(value: object) -> JSONValue:
    """A value as JSON. Raises `_NoJson`, and what the user's own classes raise."""
    match value:
        case None | bool() | str():
            return value
        case int() if value.bit_length() <= _LONGEST_INT:
            return value
        case float() if math.isfinite(value):
            return value
        case int() | float() | bytes() | bytearray():
            raise _NoJson
        case PurePath():
            return str(value)
        case list() | tuple():
            return [_tree(one) for one in value]
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise _NoJson
            return {str(key): _tree(one) for key, one in value.items()}
        case SecretStr() | SecretBytes():
            return _WITHHELD
        case BaseModel():
            return dict(_fields(state_of(value), _hidden_in(value)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        state = {one.name: getattr(value, one.name) for one in fields}
        return dict(_fields(state, {one.name for one in fields if not one.repr}))
    try:
        plain: object = to_jsonable_python(value)
    except (PydanticSerializationError, ValueError) as error:
        raise _NoJson from error
    if not isinstance(plain, str | int | float | bool):
        raise _NoJson
    return _tree(plain)


def _fields(state: Mapping[str, object], hidden: set[str]) -> Iterator[tuple[str, JSONValue]]:
    for name, value in state.items():
        yield name, _WITHHELD if name in hidden else _tree(value)


def _hidden_in(model: BaseModel) -> set[str]:
    """The fields that a model does not show in its own ``repr``."""
    private = set(model.__pydantic_private__ or {})
    return private | {name for name, one in type(model).model_fields.items() if not one.repr}


def _without_secrets(tree: object) -> JSONValue:
    match tree:
        case str():
            return veiled(tree)
        case list():
            return [_without_secrets(one) for one in tree]
        case dict():
            return {veiled(str(key)): _without_secrets(one) for key, one in tree.items()}
        case None | bool() | int() | float():
            return tree
    raise TypeError(f"no JSON: {type(tree).__name__}")
