"""Placeholders: whatever is put in, they look things up, and leave everything else alone."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from flujo_nb.engine.errors import TemplateResolutionError
from flujo_nb.engine.placeholders import filled, filled_text, mentions_steps, rendered

names = st.from_regex(r"[a-z][a-z0-9_]{0,3}", fullmatch=True)
keys = names | st.text("a .-[]'\"{}_#ä²", min_size=1, max_size=4)
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
pieces = st.sampled_from(
    ["{{", "}}", "{", "}", " ", "data", ".", "[", "]", "0", '"', "'", "_", "a", "steps", "²", "\n"]
)
texts = st.lists(pieces, max_size=12).map("".join) | st.text(max_size=20)


class Opaque:
    """What no path leads into and no JSON knows."""


def part_of(key: object) -> str | None:
    """How a path goes on through ``key``; ``None`` when no path can."""
    if isinstance(key, int):
        return f"[{key}]"
    text = str(key)
    if text.startswith("_") or "}}" in text or ('"' in text and "'" in text):
        return None
    return f"['{text}']" if '"' in text else f'["{text}"]'


def leaves(value: Any, path: str) -> list[tuple[str, object]]:
    """Every path into ``value``, with what stands there."""
    found: list[tuple[str, object]] = [(path, value)]
    inside = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        inside = enumerate(value)
    for key, inner in inside:
        part = part_of(key)
        if part is not None:
            found += leaves(inner, path + part)
    return found


@given(data)
def test_every_path_leads_to_what_stands_there(value: Any) -> None:
    for path, found in leaves(value, "data"):
        assert filled(f"{{{{ {path} }}}}", {"data": value}, "") is found
        assert filled(f"<{{{{{path}}}}}>", {"data": value}, "") == f"<{rendered(found)}>"


@given(texts, data)
@example("{{ data.² }}", [1])
@example("{{ data[" + "9" * 5000 + "] }}", [1])
@example("{{ data.__class__ }}", {})
def test_a_template_is_filled_or_refused_and_nothing_else_happens(text: str, value: Any) -> None:
    said = "in a test"
    try:
        filled(text, {"data": value, "steps": {}, "context": Opaque()}, "a test")
    except TemplateResolutionError as error:
        said = str(error)
    assert "in a test" in said
    assert mentions_steps(text) in (True, False)


@given(st.text("{}ab ", max_size=20).filter(lambda text: "{{" not in text))
def test_what_has_no_two_braces_is_text(text: str) -> None:
    assert filled(text, {}, "") == text


@given(data, st.booleans())
def test_json_is_text(value: Any, compact: bool) -> None:
    text = json.dumps(value, separators=(",", ":") if compact else None)
    if "{{" in text:  # in a string
        return
    assert filled(text, {}, "") == text
    assert filled(f"{text} {{{{ data }}}}", {"data": "x"}, "") == f"{text} x"


@given(data, texts)
def test_what_is_filled_in_is_not_filled_again(value: Any, text: str) -> None:
    assert filled("{{ data }}", {"data": text}, "") is text
    assert filled_text("<{{ data.a }}>", {"data": {"a": text}}, "") == f"<{text}>"
    assert rendered([value, text]) == json.dumps([value, text], ensure_ascii=False)


@given(st.recursive(texts, lambda inner: st.lists(inner, max_size=3)))
def test_a_structure_is_filled_part_by_part(template: Any) -> None:
    roots = {"data": {"a": 1}}

    def by_hand(part: Any) -> Any:
        return [by_hand(one) for one in part] if isinstance(part, list) else filled(part, roots, "")

    try:
        expected = by_hand(template)
    except TemplateResolutionError:
        return
    assert filled(template, roots, "") == expected
