"""What a question takes as its answer, in a few words and as an example, from its JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flujo_nb.engine.step_config import JSONValue
from flujo_nb.widgets.previews import FEEDBACK, clipped

_LONGEST = 160
_DEPTH = 5
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "email": "ann@example.org",
    "uri": "https://example.org",
    "uuid": "00000000-0000-0000-0000-000000000000",
}

Schema = Mapping[str, JSONValue]


def answer_type(schema: Schema) -> str:
    """What an answer is, in a few words: its JSON type and, of an object, its fields."""
    kind = schema.get("title") or schema.get("type")
    fields = schema.get("properties")
    if isinstance(fields, Mapping):
        return clipped(f"{kind} with {', '.join(fields)}", FEEDBACK)
    return str(kind) if kind is not None else clipped(json.dumps(schema), FEEDBACK)


def example_of(schema: Schema) -> str | None:
    """An answer as a Python expression: what has to be there; ``None`` when that is too long."""
    definitions = schema.get("$defs")
    known = definitions if isinstance(definitions, Mapping) else {}
    text = repr(_example(schema, known, _DEPTH))
    return text if len(text) <= _LONGEST else None


def _example(schema: JSONValue, known: Schema, depth: int) -> JSONValue:
    if not isinstance(schema, Mapping) or depth <= 0:
        return None
    match schema:
        case {"$ref": str(name)}:
            return _example(known.get(name.rpartition("/")[2]), known, depth - 1)
        case {"const": value} | {"examples": [value, *_]} | {"enum": [value, *_]}:
            return value
        case {"anyOf": list(ways)} | {"oneOf": list(ways)} | {"allOf": list(ways)}:
            chosen = [one for one in ways if one != {"type": "null"}]
            return _example(chosen[0], known, depth - 1) if chosen else None
        case {"type": "boolean"}:
            return True
        case {"type": "integer" | "number"}:
            return _number(schema)
        case {"type": "string"}:
            return _text(schema)
        case {"type": "array"}:
            return _items(schema, known, depth)
        case {"type": "object"} | {"properties": _}:
            return _object(schema, known, depth)
    return None


def _number(schema: Schema) -> JSONValue:
    """Three, or the nearest to it within the bounds."""
    number: int | float = 3
    match schema:
        case {"minimum": int() | float() as low} if number < low:
            number = low
        case {"exclusiveMinimum": int() | float() as low} if number <= low:
            number = low + 1
    match schema:
        case {"maximum": int() | float() as high} if number > high:
            number = high
        case {"exclusiveMaximum": int() | float() as high} if number >= high:
            number = high - 1 if schema.get("type") == "integer" else high / 2
    return number


def _text(schema: Schema) -> str:
    text = _FORMATS.get(str(schema.get("format")), "text")
    shortest, longest = schema.get("minLength"), schema.get("maxLength")
    if isinstance(shortest, int):
        text = text.ljust(shortest, ".")
    return text[:longest] if isinstance(longest, int) else text


def _items(schema: Schema, known: Schema, depth: int) -> JSONValue:
    match schema:
        case {"prefixItems": list(parts)}:
            return [_example(one, known, depth - 1) for one in parts]
        case {"items": Mapping() as item}:
            fewest = schema.get("minItems")
            count = max(fewest, 1) if isinstance(fewest, int) else 1
            return [_example(item, known, depth - 1)] * count
    return []


def _object(schema: Schema, known: Schema, depth: int) -> JSONValue:
    fields, required = schema.get("properties"), schema.get("required")
    if not isinstance(fields, Mapping):
        return {}
    names = required if isinstance(required, list) and required else list(fields)
    return {str(name): _example(fields.get(str(name)), known, depth - 1) for name in names}
