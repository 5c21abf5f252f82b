"""What is said of the answers that a question takes."""

from __future__ import annotations

import ast
import datetime
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from flujo_nb.asking import answer_type, example_of
from flujo_nb.command_line import tokens_of
from tests.notebook import Notebook


class Colour(Enum):
    RED = "red red"
    BLUE = "blue"


class Line(BaseModel):
    text: Annotated[str, Field(min_length=6)]
    at: datetime.datetime
    id: UUID


class Review(BaseModel):
    ok: bool
    stars: Annotated[int, Field(ge=1, le=5)]
    colour: Colour | None
    lines: Annotated[list[Line], Field(min_length=2)]
    why: str = ""


class Optional(BaseModel):
    why: str = "no"
    many: int = 1


class Deep(BaseModel):
    inner: Deep | None = None


@pytest.mark.parametrize(
    "kind",
    [
        bool,
        int,
        float,
        str,
        Annotated[int, Field(gt=10, lt=20)],
        Annotated[float, Field(lt=0.5, gt=0)],
        Annotated[int, Field(lt=2)],
        Annotated[str, Field(max_length=2)],
        Literal["a b", "c"],
        Colour,
        list[int],
        tuple[int, str],
        dict[str, int],
        datetime.date,
        int | None,
        None,
        Line,
        Optional,
        Deep,
    ],
)
def test_an_example_is_an_answer_and_one_expression(kind: object) -> None:
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    example = example_of(adapter.json_schema())
    assert example is not None
    adapter.validate_python(ast.literal_eval(example))
    assert len(tokens_of(f"--with {example}")) == 2


def test_an_example_has_what_has_to_be_there_and_is_not_long() -> None:
    class Small(BaseModel):
        ok: bool
        stars: int
        why: str = ""

    assert example_of(Small.model_json_schema()) == "{'ok': True, 'stars': 3}"
    assert example_of(Optional.model_json_schema()) == "{'why': 'text', 'many': 3}"
    assert example_of(Review.model_json_schema()) is None
    assert example_of({"$ref": "#/$defs/x", "$defs": {"x": {"$ref": "#/$defs/x"}}}) == "None"


def test_an_answer_is_told_by_its_fields() -> None:
    assert answer_type(Optional.model_json_schema()) == "Optional with why, many"
    assert answer_type({"type": "boolean"}) == "boolean"


def test_a_question_shows_an_example_that_answers_it(notebook: Notebook) -> None:
    notebook.run(
        "from pydantic import BaseModel\nfrom flujo_nb import Step\n"
        "class Verdict(BaseModel):\n    ok: bool\n    stars: int\n"
        "ask = Step.human_in_the_loop('ask', message_for_user='Good?', input_schema=Verdict)"
    )
    error = str(notebook.error("%flujo run ask -i 1"))
    assert "for example  --with {'ok': True, 'stars': 3}" in error
    card = notebook.card("%flujo resume f0 --with {'ok': True, 'stars': 3}")
    assert repr(card.output) == "Verdict(ok=True, stars=3)"
