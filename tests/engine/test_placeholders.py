"""``{{ path }}`` placeholders: what they find, what they refuse, and what is no placeholder."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from time import process_time
from typing import Any

import numpy as np
import pandas
import polars
import pytest
from pydantic import BaseModel, ConfigDict

from flujo_nb.engine.errors import TemplateResolutionError
from flujo_nb.engine.placeholders import filled, filled_text, mentions_steps, rendered

Point = namedtuple("Point", ["x", "y"])


class Line(BaseModel):
    text: str = "a line"
    parts: list[int] = [1, 2]


@dataclass
class Pair:
    left: object
    right: object


class Plain:
    shared = "not the instance's"

    def __init__(self) -> None:
        self.own = "own"
        self._hidden = "hidden"

    @property
    def computed(self) -> str:
        raise AssertionError("a placeholder runs no code")

    def method(self) -> str:
        raise AssertionError("a placeholder runs no code")


DATA: dict[str, Any] = {
    "name": "ann",
    "rows": [{"id": 1}, {"id": 2}],
    "line": Line(),
    "pair": Pair(1, [2]),
    "point": Point(3, 4),
    "plain": Plain(),
    "two words": {"it's": 5},
    "1": "text one",
    7: "number seven",
    "nothing": None,
    "dotted.key": 6,
    "Größe_2": 8,
}
ROOTS = {"data": DATA, "context": Line(), "steps": {"draft": "d", "my step": Line()}, "resume": 9}


def value(path: str) -> object:
    return filled(f"{{{{ {path} }}}}", ROOTS, "a test")


def refused(template: str, **roots: object) -> str:
    with pytest.raises(TemplateResolutionError) as error:
        filled(template, roots or ROOTS, "the input of step 'x'")
    return str(error.value)


# What is found.


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data.name", "ann"),
        ("data.rows[1].id", 2),
        ("data.rows.1.id", 2),
        ("data.line.text", "a line"),
        ("data.line.parts[0]", 1),
        ("data.pair.right[0]", 2),
        ("data.point.x", 3),
        ("data.point[1]", 4),
        ("data.plain.own", "own"),
        ('data["two words"]["it\'s"]', 5),
        ("data['two words']", {"it's": 5}),
        ('data["dotted.key"]', 6),
        ("data.1", "text one"),
        ("data[7]", "number seven"),
        ("data.nothing", None),
        ("data.Größe_2", 8),
        ("context.parts", [1, 2]),
        ("resume", 9),
        ("steps.draft", "d"),
        ("steps.draft.output", "d"),
        ('steps["my step"].text', "a line"),
        ('steps["my step"].output.text', "a line"),
    ],
)
def test_a_path_goes_through_keys_fields_and_indices(path: str, found: object) -> None:
    assert value(path) == found


def test_a_template_that_is_one_placeholder_gives_the_value_itself() -> None:
    assert value("data.rows") is DATA["rows"]
    assert filled("{{data.line}}", ROOTS, "") is DATA["line"]


def test_elsewhere_a_value_stands_as_text() -> None:
    template = "{{ data.name }}: {{data.rows}} {{ data.line }}, {{ data.nothing }}!"
    text = 'ann: [{"id": 1}, {"id": 2}] {"text":"a line","parts":[1,2]}, null!'
    assert filled(template, ROOTS, "") == text
    assert filled_text("{{ data.rows }}", ROOTS, "") == '[{"id": 1}, {"id": 2}]'


def test_placeholders_stand_anywhere_in_a_structure() -> None:
    template = {"a": ["{{ data.name }}", {"b": "hi {{ resume }}"}], "n": 1, "t": True, "0": None}
    expected = {"a": ["ann", {"b": "hi 9"}], "n": 1, "t": True, "0": None}
    assert filled(template, ROOTS, "") == expected


def test_what_a_placeholder_gives_is_not_filled_again() -> None:
    roots = {"data": "{{ resume }}", "resume": "secret"}
    assert filled("{{ data }}", roots, "") == "{{ resume }}"
    assert filled("a {{ data }}", roots, "") == "a {{ resume }}"


# What is no placeholder.


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{data.name}",
        "{ data.name }",
        "{{ data.name",
        "data.name }}",
        "{",
        "}}",
        json.dumps({"a": {"b": [{}, {"c": {}}]}}),
        json.dumps({"a": {"b": {"c": {}}}}, separators=(",", ":")),
        'Answer as {"name": "...", "inner": {"x": 1}} please',
        "f'{x}' % {} ${HOME} {# #} {% if %}",
    ],
)
def test_single_braces_and_json_are_text(text: str) -> None:
    assert filled(text, ROOTS, "") == text


# What is refused.


@pytest.mark.parametrize(
    "path",
    [
        "data.__class__",
        "data.__class__.__mro__",
        'data["__class__"]',
        "data.plain._hidden",
        "data.plain.__dict__",
        "data.line.__fields__",
        "_data",
        "data.rows()",
        "data.name.upper()",
        "data.rows[-1]",
        "data.rows[0:1]",
        "data.rows[i]",
        "data..name",
        "data.",
        ".data",
        "[0]",
        "data name",
        "data|upper",
        "data + 1",
        "data['a'",
        "1",
        "",
        " ",
        "\n",
        "data.rows[²]",
        "{{ data",
    ],
)
def test_what_is_no_path_is_refused(path: str) -> None:
    said = refused(f"{{{{ {path} }}}}")
    assert "the input of step 'x'" in said


@pytest.mark.parametrize(
    "path",
    [
        "data.plain.computed",
        "data.plain.method",
        "data.plain.shared",
        "data.name.upper",
        "data.rows.append",
        "data.keys",
        "data.line.model_dump",
        "data.rows[2]",
        "data.rows.²",
        "data.nothing.x",
        "data.point.count",
        "steps.output",
        "steps.draft.output.output",
        f"data.rows[{'9' * 5000}]",
    ],
)
def test_nothing_is_found_but_what_a_value_holds(path: str) -> None:
    """No method, no property, no attribute of a class: a placeholder runs no code."""
    assert " has no " in refused(f"{{{{ {path} }}}}")


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        ("{{ data.nmae }}", ["data has no 'nmae'", "did you mean 'name'?", "it has name, rows"]),
        ("{{ dta.name }}", ["found 'dta'", "did you mean 'data'?"]),
        ("{{ data.rows[0].ID }}", ["data.rows.0 has no 'ID'", "it has id"]),
        ("{{ data.rows[2] }}", ["data.rows has no '2'", "it has 0, 1"]),
        ("{{ context.txt }}", ["did you mean 'text'?"]),
        ("{{ data.nothing.x }}", ["data.nothing has no 'x'", "nothing (NoneType)"]),
        ("{{ data.plain.own_ }}", ["did you mean 'own'?"]),
    ],
)
def test_an_error_says_what_there_is_and_what_was_perhaps_meant(
    template: str, parts: list[str]
) -> None:
    said = refused(template)
    for part in (template, "in the input of step 'x'", *parts):
        assert part in said


def test_an_error_does_not_show_what_is_hidden() -> None:
    assert "_hidden" not in refused("{{ data.plain._hiden }}")
    assert "hidden" not in refused("{{ data.plain.hidde }}")


def test_an_error_about_a_huge_path_is_short() -> None:
    for path in ("data" + ".a" * 50_000, "x" * 100_000, "data." + "x" * 100_000):
        assert len(refused(f"{{{{ {path} }}}}")) < 1_000


# Texts.


class Opaque:
    def __str__(self) -> str:
        return "opaque"


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    held: Opaque


RING: list[Any] = []
RING.append(RING)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("text", "text"),
        (7, "7"),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        ([1, None, True], "[1, null, true]"),
        ((1, "a"), '[1, "a"]'),
        ({"a": {"b": []}}, '{"a": {"b": []}}'),
        (OrderedDict(z=1, a=2), '{"z": 1, "a": 2}'),
        ({"ä": "ß"}, '{"ä": "ß"}'),
        (Line(text="ä"), '{"text":"ä","parts":[1,2]}'),
        ({"line": Line()}, '{"line": {"text": "a line", "parts": [1, 2]}}'),
        ([date(2020, 1, 2), Opaque()], '["2020-01-02", "opaque"]'),
        (date(2020, 1, 2), "2020-01-02"),
    ],
)
def test_values_as_text(given: object, text: str) -> None:
    assert rendered(given) == text


@pytest.mark.parametrize(
    "given",
    [{(1, 2): 3}, {date(2020, 1, 2): 1}, Holder(held=Opaque()), [Holder(held=Opaque())], RING],
    ids=["tuple as key", "date as key", "model", "model in a list", "ring"],
)
def test_a_value_that_is_no_json_is_text_all_the_same(given: object) -> None:
    assert isinstance(rendered(given), str)


class Table:
    def to_csv(self) -> str:
        raise OSError("gone")

    def __str__(self) -> str:
        return "a table"


def test_tables_and_arrays_are_text_as_a_whole() -> None:
    pandas_table = pandas.DataFrame({"n": range(200)})
    polars_table = polars.DataFrame({"n": range(200)})
    whole = [str(number) for number in range(200)]

    assert rendered(pandas_table).splitlines()[1:] == [f"{one},{one}" for one in whole]
    assert rendered(polars_table).splitlines() == ["n", *whole]
    assert rendered({"table": polars_table}) == json.dumps({"table": polars_table.write_csv()})
    for array in (np.arange(2_000), polars.Series(range(2_000))):
        assert json.loads(rendered(array)) == list(range(2_000))
        assert json.loads(rendered([array])) == [list(range(2_000))]


def test_what_cannot_be_told_as_a_table_is_its_own_text() -> None:
    for given in (Table(), np.int64(3), np.datetime64("2020-01-02"), Table):
        assert rendered(given) == str(given)
        assert rendered([given]) == json.dumps([str(given)])


# Which templates need other steps' outputs.


@pytest.mark.parametrize(
    ("template", "does"),
    [
        ("{{ steps.a }}", True),
        ("x {{steps['a b']}}", True),
        ({"a": ["{{ data }}", {"b": "{{ steps.x.output }}"}]}, True),
        ("{{ data.steps }}", False),
        ("{{ stepsister }}", False),
        ("{ steps.a } steps", False),
        ({"steps": 1}, False),
        (None, False),
        (7, False),
    ],
)
def test_templates_that_mention_steps(template: Any, does: bool) -> None:
    assert mentions_steps(template) is does


# Size.


def seconds(template: str) -> float:
    """The processor's time, which others on the machine do not take."""
    started = process_time()
    with suppress(TemplateResolutionError):
        filled(template, {"data": {"a": "b"}}, "")
    return process_time() - started


@pytest.mark.parametrize("unit", ["{{data.a}}", "{{", "{{ data", "{{ data[[", "{{}} "])
def test_filling_takes_time_in_proportion_to_the_template(unit: str) -> None:
    small, times = 2_000, 32
    least = min(seconds(unit * small) for _ in range(3))
    most = min(seconds(unit * small * times) for _ in range(2))
    assert most < 6 * times * max(least, 1e-4)  # in proportion to its square it were 32 * 32
