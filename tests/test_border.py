"""Copies at a cell's border: what is data is copied, what is not is shared and said so."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import queue
import threading
import time
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from pydantic import BaseModel, ConfigDict, PrivateAttr

from flujo_nb.border import copied
from flujo_nb.engine.values import cloned


class Colour(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    tags: list[int]


class Doubled(namedtuple("Doubled", "x y")):
    """Made of one value, so it cannot be made of its two fields."""

    __slots__ = ()

    def __new__(cls, x: int) -> Self:
        return super().__new__(cls, x, 2 * x)


class Item(BaseModel):
    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)

    tags: list[int] = []
    other: object = None
    _secret: list[int] = PrivateAttr(default_factory=list)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)

    tags: list[int] = []


@dataclasses.dataclass
class Plain:
    tags: list[int]
    unset: int = dataclasses.field(init=False)


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    tags: list[int]


@dataclasses.dataclass
class WithOwnAttribute:
    tag: int

    def __post_init__(self) -> None:
        self.cache = [self.tag]


class Rows(list[int]):
    """A list of a user's own class, with an attribute."""

    title = ""


def copy_of(value: object) -> Any:
    """The copy of a value of which nothing may be shared."""
    result = copied(value)
    assert result.shared == ()
    return result.value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        1.5,
        "text",
        b"bytes",
        range(3),
        Colour.RED,
        datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        datetime.timedelta(1),
        decimal.Decimal("1.5"),
        uuid.UUID(int=1),
        Path("a"),
        int,
        len,
        ...,
        slice(1, 2),
    ],
)
def test_what_cannot_change_is_not_copied(value: object) -> None:
    assert copy_of(value) is value


@pytest.mark.parametrize(
    "value",
    [
        np.int64(3),
        np.float64(3.5),
        np.bool_(True),
        np.datetime64("2024-01-01"),
        pd.Timestamp("2024-01-01"),
        pd.Timedelta(1),
        pd.NaT,
        pd.NA,
        pd.Interval(0, 1),
        pd.Period("2024-01"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scalars_of_numpy_and_pandas_are_values_not_shared_things(value: object) -> None:
    assert copy_of(value) is value


def test_containers_are_copied_all_the_way_down() -> None:
    value: Any = {"a": [1, {"b": [2]}], "c": (3, [4]), "d": {5}, "e": frozenset({6})}
    copy = copy_of(value)
    assert copy == value
    copy["a"][1]["b"].append(0)
    copy["c"][1].append(0)
    copy["d"].add(0)
    assert value["a"] == [1, {"b": [2]}]
    assert value["c"] == (3, [4])
    assert value["d"] == {5}


@pytest.mark.parametrize(
    ("value", "change"),
    [
        (Counter("aab"), lambda copy: copy.update("z")),
        (OrderedDict(a=[1]), lambda copy: copy["a"].append(2)),
        (defaultdict(list, a=[1]), lambda copy: copy["a"].append(2)),
        (deque([[1]], maxlen=3), lambda copy: copy[0].append(2)),
        (bytearray(b"ab"), lambda copy: copy.append(1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_containers_of_the_standard_library_are_data(
    value: object, change: Callable[[Any], None]
) -> None:
    before = repr(value)
    copy = copy_of(value)
    assert type(copy) is type(value)
    assert copy == value
    change(copy)
    assert repr(value) == before


def test_a_list_of_a_users_own_class_keeps_class_and_attributes_or_is_said_to_be_shared() -> None:
    value = Rows([1, 2])
    value.title = "rows"
    result = copied(value)
    copy = result.value
    assert isinstance(copy, Rows)
    assert copy.title == "rows"
    assert copy is not value or result.shared == ("Rows",)


def test_a_bytearray_of_a_users_own_class_keeps_its_class() -> None:
    class Buffer(bytearray):
        pass

    assert type(copied(Buffer(b"x")).value) is Buffer


def test_named_tuples_keep_their_class() -> None:
    value = Point(1, [2])
    copy = copy_of(value)
    assert type(copy) is Point
    copy.tags.append(0)
    assert value == Point(1, [2])


def test_a_named_tuple_with_a_constructor_of_its_own() -> None:
    assert copy_of(Doubled(2)) == (2, 4)


def test_aliases_stay_aliases() -> None:
    inner: list[int] = []
    copy = copy_of([inner, inner, {"a": inner}])
    assert copy[0] is copy[1] is copy[2]["a"]


def test_cycles_stay_cycles() -> None:
    loop: list[object] = []
    table: dict[str, object] = {"loop": loop}
    loop.append(table)
    copy = copy_of(loop)
    assert copy[0]["loop"] is copy
    item = Item()
    item.other = item
    copied_item = copy_of(item)
    assert copied_item.other is copied_item is not item


def test_a_cycle_through_a_tuple_stays_one() -> None:
    loop: list[object] = []
    value = (loop,)
    loop.append(value)
    copy = copy_of(value)
    assert copy[0][0] is copy


def test_models_are_copied_with_extras_and_private_attributes() -> None:
    item = Item.model_validate({"tags": [1], "extra": [2]})
    item._secret.append(3)
    copy = copy_of(item)
    assert copy == item
    copy.tags.append(0)
    copy.extra.append(0)
    copy._secret.append(0)
    assert (item.tags, item._secret, item.model_extra) == ([1], [3], {"extra": [2]})


def test_frozen_models_are_copied() -> None:
    value = Frozen(tags=[1])
    copy_of(value).tags.append(0)
    assert value.tags == [1]


def test_set_fields_of_models_are_kept() -> None:
    assert copy_of(Item(tags=[1])).model_fields_set == {"tags"}
    assert copy_of(Item()).model_fields_set == set()


@pytest.mark.parametrize("value", [Plain([1]), FrozenSlots([1])])
def test_dataclasses_are_copied(value: Plain | FrozenSlots) -> None:
    copy_of(value).tags.append(0)
    assert value.tags == [1]


def test_what_a_dataclass_holds_beside_its_fields_is_copied_too() -> None:
    value = WithOwnAttribute(1)
    copy_of(value).cache.append(0)
    assert value.cache == [1]


@pytest.mark.parametrize(
    "value",
    [threading.Lock(), queue.Queue(), iter([]), object(), lambda: None, open],
    ids=lambda value: type(value).__name__,
)
def test_what_has_an_identity_is_handed_over(value: object) -> None:
    assert copied([value]).value == [value]


def test_what_is_shared_is_named_once() -> None:
    first, second = threading.Lock(), threading.Lock()
    pending: queue.Queue[int] = queue.Queue()
    result = copied({"a": [first, second], "b": Item(other=pending)})
    assert result.shared == ("Queue", type(first).__name__)


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.array([threading.Lock()], dtype=object),
        lambda: BadCopy(),
        lambda: BadReduce(1),
    ],
    ids=["array of locks", "model", "dataclass"],
)
def test_what_cannot_be_copied_is_shared_and_never_an_error(make: Callable[[], object]) -> None:
    value = make()
    result = copied({"value": value})
    assert result.shared


class BadCopy(BaseModel):
    def __copy__(self) -> Self:
        raise RuntimeError("no copies")


@dataclasses.dataclass
class BadReduce:
    x: int

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("no copies")


def test_arrays_are_copied() -> None:
    value = np.array([1, 2])
    copy = copy_of(value)
    copy[0] = 9
    assert value.tolist() == [1, 2]


def test_arrays_of_objects_are_copied_all_the_way_down() -> None:
    value = np.array([[1], [2]], dtype=object)
    inner = np.empty(1, dtype=object)
    inner[0] = [1]
    copy_of(inner)[0].append(2)
    assert inner[0] == [1]
    assert copy_of(value).tolist() == value.tolist()


def test_data_frames_are_copied() -> None:
    value = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    value.attrs["from"] = ["here"]
    copy = copy_of(value)
    copy.loc[0, "a"] = 9
    copy["c"] = 1
    copy.index.name = "i"
    copy.attrs["from"].append("there")
    assert value.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
    assert value.index.name is None
    assert value.attrs == {"from": ["here"]}


def test_lists_in_the_cells_of_a_data_frame_are_not_the_records_or_said_to_be_shared() -> None:
    value = pd.DataFrame({"a": [[1], [2]]})
    result = copied(value)
    copy: Any = result.value
    copy["a"][0].append(9)
    assert value["a"].tolist() == [[1], [2]] or result.shared


def test_depth_beyond_the_stack_is_shared_and_said_so() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert copied(deep).shared == ("list",)


def test_a_large_list_of_numbers_costs_what_the_engines_copies_cost() -> None:
    value = list(range(1_000_000))

    def took(copy: Callable[[object], object]) -> float:
        began = time.process_time()
        copy(value)
        return time.process_time() - began

    assert min(took(copied) for _ in range(3)) < 3 * min(took(cloned) for _ in range(3))
