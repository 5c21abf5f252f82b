"""How values are read under other definitions than they were written, and data of strangers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from flujo_nb.engine.errors import (
    ConfigurationError,
    StepInterrupted,
    TypeNotDefined,
    ValueNotRead,
    ValueNotSaved,
)
from flujo_nb.engine.store import codec_tables
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.codec_tables import codec
from flujo_nb.engine.store.type_table import TypeTable
from tests.engine.coding import again, plain_codec, read, told
from tests.engine.kinds import Color, Counted, Frozen, Item, Point


class Ordinary:
    """Of no kind that pydantic knows."""


# Reading under other definitions.


def redefined(value: object, kind: type) -> Any:
    """The value as it is read where its class's name stands for ``kind``."""
    encoded = plain_codec().encode(value)
    kind.__module__, kind.__qualname__ = "__main__", type(value).__qualname__
    body = encoded.body.replace(type(value).__module__.encode(), b"__main__")
    space = {"__name__": "__main__", kind.__qualname__: kind}
    other = Codec(TypeTable(lambda: space))
    return read(other, dataclasses.replace(encoded, body=body))


def test_a_class_of_the_same_schema_is_not_validated_again() -> None:
    class Same(BaseModel):
        name: str
        price: float = 0.5
        tags: list[str] = []
        shout: str = Field("x", alias="SHOUT")
        _seen: int = PrivateAttr(7)

        @field_validator("name")
        @classmethod
        def refuse(cls, name: str) -> str:
            raise ValueError(name)

    value = redefined(Item(name="a"), Same)
    assert (type(value), value.name, value.model_fields_set, value._seen) == (
        Same,
        "a",
        {"name"},
        7,
    )


def test_a_class_of_another_schema_validates_the_data() -> None:
    class Wider(BaseModel):
        name: str
        price: str
        tags: list[str]
        shout: str = Field(alias="SHOUT")
        model_config = ConfigDict(coerce_numbers_to_str=True)
        added: int = 3

    value = redefined(Item(name="a", price=2.5), Wider)
    assert (value.price, value.added, value.shout) == ("2.5", 3, "x")
    assert value.model_fields_set == {"name", "price"}


def test_data_that_do_not_fit_the_class_any_more_are_named() -> None:
    class Narrow(BaseModel):
        name: int
        price: float
        tags: list[str]
        shout: str = Field(alias="SHOUT")
        added: int

    with pytest.raises(ValueNotRead) as refused:
        redefined(Item(name="a"), Narrow)
    assert "__main__.Item" in str(refused.value)
    assert "added: added" in str(refused.value)
    assert "name: Input should be a valid integer" in str(refused.value)


def test_a_field_that_is_gone_is_not_dropped_silently() -> None:
    class Less(BaseModel):
        name: str

    with pytest.raises(ValueNotRead, match="removed: price, tags, shout"):
        redefined(Item(name="a"), Less)


def test_a_dataclass_of_another_schema_gets_the_data_by_field() -> None:
    @dataclasses.dataclass(frozen=True)
    class Other:
        a: str | int
        b: tuple[int, ...]
        c: int
        d: list[int] = dataclasses.field(default_factory=lambda: [1])

    value = redefined(Frozen(1, [2]), Other)
    assert (value.a, value.b, value.c, value.d) == (1, (2,), 5, [1])


@pytest.mark.parametrize("hint", [dict[str, int], Color, Ordinary])
def test_a_dataclass_that_does_not_fit_is_named(hint: Any) -> None:
    other = dataclasses.make_dataclass("Other", [("a", int), ("b", hint), ("c", int)])
    with pytest.raises(ValueNotRead, match=r"Frozen was redefined.*failed: .*b:"):
        redefined(Frozen(1, [2]), other)


def test_a_dataclass_is_made_without_running_its_code() -> None:
    value = Counted()
    before = Counted.made
    assert told(again(value)) == told(value)
    assert Counted.made == before


def test_an_enum_or_named_tuple_that_changed_is_named() -> None:
    with pytest.raises(ValueNotRead, match="no member 'BLUE'"):
        redefined(Color.BLUE, enum.Enum("Color", "RED"))
    other = namedtuple("other", "x")
    with pytest.raises(ValueNotRead, match="Point was a named tuple of x, y"):
        redefined(Point(1), other)
    with pytest.raises(ValueNotRead, match="another kind of class"):
        redefined(Frozen(1), enum.Enum("Frozen", "RED"))
    with pytest.raises(ValueNotRead, match="was a dataclass"):
        redefined(Frozen(1), type("Frozen", (BaseModel,), {}))


def test_a_class_that_is_not_defined_is_named() -> None:
    encoded = plain_codec().encode([Item(name="a")])
    body = encoded.body.replace(b"Item", b"Invoice")
    with pytest.raises(
        TypeNotDefined, match=r"tests\.engine\.kinds\.Invoice.*run the cell that defines"
    ):
        read(plain_codec(), dataclasses.replace(encoded, body=body))


# Codecs of users.


class Model:
    """An object that knows nothing of being saved, nor of being equal."""

    def __init__(self, weights: list[float]) -> None:
        self.weights = weights


@pytest.fixture
def _no_user_codecs() -> Any:
    yield
    codec_tables._USERS.clear()


@pytest.mark.usefixtures("_no_user_codecs")
def test_a_users_codec_saves_what_nobody_else_does() -> None:
    codec(
        Model, encode=lambda model: {"w": tuple(model.weights)}, decode=lambda d: Model([*d["w"]])
    )
    value = again({"best": Model([0.5, math.nan])})
    assert isinstance(value["best"], Model)
    assert told(value["best"].weights) == told([0.5, math.nan])


@pytest.mark.usefixtures("_no_user_codecs")
def test_a_codec_that_is_not_registered_here_is_named() -> None:
    codec(Model, encode=lambda model: model.weights, decode=Model)
    encoded = plain_codec().encode(Model([1.0]))
    codec_tables._USERS.clear()
    with pytest.raises(ValueNotRead, match=rf"{__name__}\.Model, which is not registered here"):
        read(plain_codec(), encoded)


@pytest.mark.usefixtures("_no_user_codecs")
@pytest.mark.parametrize("bad", [lambda model: 1 / 0, lambda model: model, lambda model: [model]])
def test_a_codec_that_fails_refuses_the_value(bad: Any) -> None:
    codec(Model, encode=bad, decode=Model)
    with pytest.raises(ValueNotSaved) as refused:
        plain_codec().encode([Model([])])
    assert refused.value.where.startswith("output[0]")


@pytest.mark.usefixtures("_no_user_codecs")
def test_a_codec_that_cannot_decode_refuses_the_value() -> None:
    codec(Model, encode=lambda model: model.weights, decode=lambda data: Model(1 / 0))
    with pytest.raises(ValueNotSaved, match="ZeroDivisionError"):
        plain_codec().encode(Model([]))


@pytest.mark.usefixtures("_no_user_codecs")
def test_an_interrupt_of_a_codec_is_no_refusal() -> None:
    def interrupted(model: Model) -> object:
        raise KeyboardInterrupt

    codec(Model, encode=interrupted, decode=Model)
    with pytest.raises(StepInterrupted):
        plain_codec().encode(Model([]))


@pytest.mark.usefixtures("_no_user_codecs")
def test_a_codec_of_a_class_that_was_defined_anew_is_not_the_older_ones() -> None:
    older = Model([1.0])
    newer = type("Model", (), {"__module__": __name__, "__qualname__": "Model"})
    codec(Model, encode=lambda model: model.weights, decode=Model)
    codec(newer, encode=lambda model: [], decode=lambda data: newer())
    assert type(again(newer())) is newer
    with pytest.raises(ValueNotSaved, match="no codec knows it"):
        plain_codec().encode(older)


@pytest.mark.parametrize("kind", [dict, str, dt.datetime, tuple, "Model"])
def test_a_codec_is_for_a_class_that_has_no_form(kind: Any) -> None:
    with pytest.raises(ConfigurationError):
        codec(kind, encode=repr, decode=repr)


# Data of unknown origin.

HOSTILE = Path(__file__).parent / "audited_decoding.py"


def test_hostile_data_run_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(HOSTILE)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    refused, was_read = map(int, done.stdout.split())
    assert refused > 4 * was_read > 0
    assert refused + was_read > 5000
