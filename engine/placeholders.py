"""``{{ path }}`` placeholders: looked up in data, never evaluated.

A path begins at a root (``data``, ``context``, ``steps``, ``resume``) and goes on through keys of
mappings, fields of models and dataclasses, and indices of lists: ``{{ data.items[0].name }}``.
Single braces are text, because prompts hold JSON.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Protocol, TypeAlias, runtime_checkable

from pydantic import BaseModel

from .errors import TemplateResolutionError
from .step_config import JSONValue
from .user_code import Raised, caught_inline
from .values import state_of

Roots: TypeAlias = Mapping[str, object]
"""What placeholders can begin with, by name."""

_PART = re.compile(r"\.?([^\W\d]\w*|[0-9]+)|\[([0-9]+)\]|\[\"([^\"]*)\"\]|\['([^']*)'\]")
_MISSING = object()


@runtime_checkable
class _Csv(Protocol):
    """A table, as those of pandas are."""

    def to_csv(self) -> str: ...


@runtime_checkable
class _WritesCsv(Protocol):
    """A table, as those of polars are."""

    def write_csv(self) -> str: ...


@runtime_checkable
class _Cells(Protocol):
    """An array, as those of numpy are."""

    def tolist(self) -> list[object]: ...


@runtime_checkable
class _Column(Protocol):
    """A column, as those of polars are."""

    def to_list(self) -> list[object]: ...


def mentions_steps(template: JSONValue) -> bool:
    """Whether a placeholder somewhere in ``template`` begins at ``steps``."""
    return any(path.split(".")[0].split("[")[0] == "steps" for path in _paths_in(template))


def steps_named(templates: Iterable[JSONValue]) -> set[str]:
    """The steps whose outputs placeholders in ``templates`` ask for."""
    paths = [path for one in templates for path in _paths_in(one)]
    parts = (_PART.findall(path) for path in paths)
    every = ([next(filter(None, groups), "") for groups in one] for one in parts)
    return {one[1] for one in every if one[:1] == ["steps"] and len(one) > 1}


def filled(template: JSONValue, roots: Roots, where: str) -> object:
    """``template`` with its placeholders replaced; ``where`` is named in errors.

    A text that is one placeholder gives the value itself; elsewhere a value is rendered as text
    (models, mappings and lists as JSON). Raises `TemplateResolutionError`.
    """
    if isinstance(template, Mapping):
        return {key: filled(one, roots, where) for key, one in template.items()}
    if isinstance(template, list):
        return [filled(one, roots, where) for one in template]
    if not isinstance(template, str):
        return template
    pieces = list(_pieces(template))
    if len(pieces) == 1 and pieces[0][1]:
        return _value_of(pieces[0][0], roots, where)
    return "".join(
        rendered(_value_of(text, roots, where)) if is_path else text for text, is_path in pieces
    )


def filled_text(template: str, roots: Roots, where: str) -> str:
    """``template`` with its placeholders replaced, as text."""
    return rendered(filled(template, roots, where))


def _paths_in(template: JSONValue) -> Iterator[str]:
    if isinstance(template, Mapping):
        template = list(template.values())
    if isinstance(template, list):
        for one in template:
            yield from _paths_in(one)
    elif isinstance(template, str):
        yield from (text for text, is_path in _pieces(template) if is_path)


def _pieces(template: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text: plain ones, and the paths of placeholders."""
    at = 0
    while True:
        opened = template.find("{{", at)
        closed = template.find("}}", opened + 2) if opened >= 0 else -1
        if closed < 0:
            if at < len(template):
                yield template[at:], False
            return
        if opened > at:
            yield template[at:opened], False
        yield template[opened + 2 : closed].strip(), True
        at = closed + 2


def _value_of(path: str, roots: Roots, where: str) -> object:
    parts = _parts_of(path, where)
    value: object = roots
    for number, part in enumerate(parts):
        inner = _part_of(value, part)
        if inner is _MISSING and number == 2 and parts[0] == "steps" and part == "output":
            continue  # `steps.NAME` is that step's output already
        if inner is _MISSING:
            raise TemplateResolutionError(_what_is_there(path, parts[:number], part, value, where))
        value = inner
    return value


def _parts_of(path: str, where: str) -> list[str]:
    parts: list[str] = []
    at = 0
    while at < len(path):
        found = _PART.match(path, at)
        if found is None or (not parts and at == found.start() and path[at] in ".["):
            break
        parts.append(next(group for group in found.groups() if group is not None))
        at = found.end()
    if at < len(path) or not parts or any(part.startswith("_") for part in parts):
        raise TemplateResolutionError(
            f"{{{{ {_short(path)} }}}} in {where} is no placeholder: write a path such as "
            "{{ data.field }} or {{ data.rows[0] }}; names that begin with _ are not shown"
        )
    return parts


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) < 10


def _part_of(value: object, part: str) -> object:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if _is_index(part) and int(part) < len(value):
            return value[int(part)]
        if not isinstance(value, tuple) or part not in getattr(value, "_fields", ()):
            return _MISSING
        return getattr(value, part)
    if isinstance(value, BaseModel) and part in type(value).model_fields:
        return getattr(value, part)  # only this field: a copy of a context makes them one by one
    held = _held_by(value)
    return held.get(part, held.get(int(part), _MISSING) if _is_index(part) else _MISSING)


def _held_by(value: object) -> Mapping[object, object]:
    """What can be reached below ``value`` by name."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, BaseModel):
        return dict(state_of(value).items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    return {**getattr(value, "__dict__", {})}


def _what_is_there(path: str, before: Sequence[str], part: str, value: object, where: str) -> str:
    held = (
        [str(number) for number in range(len(value))]
        if isinstance(value, list | tuple)
        else [str(one) for one in _held_by(value) if not str(one).startswith("_")]
    )
    near = get_close_matches(part, held, 1)
    above = ".".join(before)
    there = ", ".join(held[:8]) or f"nothing ({type(value).__name__})"
    hint = f"; did you mean {near[0]!r}?" if near else ""
    if not before:
        return (
            f"{{{{ {_short(path)} }}}} in {where}: a placeholder begins with one of {there}; found "
            f"{_short(part)!r} (a step's input is {{{{ data }}}}){hint}"
        )
    asked = f"{{{{ {_short(path)} }}}} in {where}: {_short(above)} "
    return f"{asked}has no {_short(part)!r}; it has {there}{hint}"


def rendered(value: object) -> str:
    """A value as text: models, mappings, lists and arrays as JSON, tables as CSV, each whole."""
    if isinstance(value, str):
        return value
    if isinstance(value, BaseModel):
        text = caught_inline(BaseModel.model_dump_json, value)
        return str(value) if isinstance(text, Raised) else text
    if isinstance(value, Mapping | list | tuple):
        text = caught_inline(_as_json, value)
        return str(value) if isinstance(text, Raised) else text
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    cells = _cells_of(value)
    if isinstance(cells, list):
        text = caught_inline(_as_json, cells)
        return str(value) if isinstance(text, Raised) else text
    return str(value) if cells is None else cells


def _cells_of(value: object) -> str | list[object] | None:
    """All of a table as CSV, or of an array; their own texts leave most of a large one out."""
    found = caught_inline(_asked_for_cells, value)
    return found if isinstance(found, str | list) else None


def _asked_for_cells(value: object) -> str | list[object] | None:
    if isinstance(value, type | int | float):
        return None
    if isinstance(value, _Csv):
        return value.to_csv()
    if isinstance(value, _WritesCsv):
        return value.write_csv()
    if isinstance(value, _Cells):
        return value.tolist()
    return value.to_list() if isinstance(value, _Column) else None


def _short(text: str) -> str:
    return text if len(text) < 100 else f"{text[:60]} … {text[-20:]}"


def _as_json(value: object) -> str:
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    """What stands for a value that JSON does not know."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    cells = _cells_of(value)
    return str(value) if cells is None else cells
