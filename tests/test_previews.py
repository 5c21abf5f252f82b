"""Values as short texts: small, fast, and safe from what values do when looked at."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from pydantic import BaseModel, Field, SecretStr

from flujo_nb.widgets.previews import PREVIEW, duration_text, preview, short

LONGEST = 2 * PREVIEW
MILLION = 1_000_000


def raised(*_: object) -> str:
    raise RuntimeError("not to be looked at")


def left(*_: object) -> str:
    raise SystemExit


def many_lines(_: object) -> str:
    return "\n".join(map(str, range(MILLION)))


class Item(BaseModel):
    name: str = "x"
    inner: object = None


class Account(BaseModel):
    user: str = "ann"
    token: str = Field("hunter2", repr=False)
    password: SecretStr = SecretStr("hunter2")


@dataclasses.dataclass
class Plain:
    user: str = "ann"
    token: str = dataclasses.field(default="hunter2", repr=False)


def thing(name: str = "Thing", **members: object) -> object:
    """An instance of a class of its own with these members."""
    return type(name, (), members)()


def itself() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


def model_in_itself() -> Item:
    item = Item()
    item.inner = item
    return item


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (1, "1"),
        ("text", "'text'"),
        ([1, 2], "list of 2: [1, 2]"),
        ((1,), "tuple of 1: (1,)"),
        ({"a": 1}, "dict of 1: {'a': 1}"),
        ({3}, "set of 1: {3}"),
        (list(range(9)), "list of 9: [0, 1, 2, 3, 4, 5, ...]"),
        (Item(), "Item(name='x', inner=None)"),
        (np.zeros((2, 3)), "ndarray 2 x 3: array([[0., 0., 0.], [0., 0., 0.]])"),
    ],
)
def test_a_preview_tells_the_kind_and_the_beginning(value: object, shown: str) -> None:
    assert str(preview(value)) == shown


def test_a_dict_is_shown_in_its_own_order() -> None:
    assert short({"second": 2, "first": 1}) == "{'second': 2, 'first': 1}"


LARGE: dict[str, Callable[[], object]] = {
    "list": lambda: list(range(3 * MILLION)),
    "str": lambda: "x" * 50 * MILLION,
    "bytes": lambda: b"x" * 50 * MILLION,
    "bytearray": lambda: bytearray(50 * MILLION),
    "dict": lambda: dict.fromkeys(map(str, range(MILLION))),
    "set": lambda: set(map(str, range(MILLION))),
    "deque": lambda: deque(range(MILLION)),
    "Counter": lambda: Counter(range(MILLION)),
    "OrderedDict": lambda: OrderedDict.fromkeys(range(MILLION)),
    "defaultdict": lambda: defaultdict(int, dict.fromkeys(range(MILLION), 1)),
    "array": lambda: np.zeros((1000, 1000)),
    "data frame": lambda: pd.DataFrame({"a": range(MILLION)}),
    "model": lambda: Item(inner=list(range(MILLION))),
    "list of str": lambda: ["x" * 10 * MILLION] * 10,
}


@pytest.mark.parametrize("make", LARGE.values(), ids=LARGE.keys())
def test_a_preview_of_something_large_is_short_and_fast(make: Callable[[], object]) -> None:
    value = make()
    took: list[float] = []
    for _ in range(3):
        began = time.process_time()
        shown = str(preview(value))
        took.append(time.process_time() - began)
    assert min(took) < 0.02
    assert len(shown) < LONGEST
    assert "\n" not in shown


STRANGE: dict[str, Callable[[], object]] = {
    "repr raises": lambda: thing(__repr__=raised),
    "repr exits": lambda: thing(__repr__=left),
    "repr of a million lines": lambda: thing(__repr__=many_lines),
    "repr gives no text": lambda: thing(__repr__=lambda self: 3),
    "in a list": lambda: [thing(__repr__=raised)],
    "in a model": lambda: Item(inner=thing(__repr__=raised)),
    "shape raises": lambda: thing(shape=property(raised)),
    "length raises": lambda: type("L", (list,), {"__len__": raised})(),
    "an int of 5,000 digits": lambda: 10**5000,
    "such an int in a list": lambda: [10**5000],
    "a class called array": lambda: thing("array"),
    "a class called deque": lambda: thing("deque"),
    "a class called list": lambda: thing("list"),
    "a list in itself": itself,
    "a model in itself": model_in_itself,
    "ten thousand lists": lambda: nested(10_000),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE.keys())
def test_a_preview_of_something_strange_is_one_short_line(make: Callable[[], object]) -> None:
    shown = str(preview(make()))
    assert 0 < len(shown) < LONGEST
    assert "\n" not in shown


@pytest.mark.parametrize("value", [Account(), Plain(), [Account()]])
def test_what_a_class_keeps_out_of_its_repr_is_not_shown(value: object) -> None:
    assert "hunter2" not in str(preview(value))
    assert "ann" in str(preview(value))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "<0.1 ms"),
        (0.0004, "0.4 ms"),
        (0.012, "12 ms"),
        (3.14, "3.1 s"),
        (59.99, "60.0 s"),
        (125, "2 min 05 s"),
    ],
)
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert duration_text(seconds) == shown
