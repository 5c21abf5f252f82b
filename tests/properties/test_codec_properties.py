"""20,000 generated values: each comes back equal and of the same type, or is refused by name."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr

from flujo_nb.engine.errors import ValueNotRead, ValueNotSaved
from flujo_nb.engine.store.codec import Encoded
from flujo_nb.engine.store.codec_forms import READERS
from tests.engine.coding import again, plain_codec, told

EXAMPLES = 1_000
VALUES_EACH = 20


class Mood(enum.Enum):
    GOOD = 1
    BAD = "b"


class Row(NamedTuple):
    key: object
    value: object


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: object = None
    b: list[object] = []
    _c: object = PrivateAttr(None)


@dataclasses.dataclass(frozen=True)
class Pair:
    left: object
    right: object = dataclasses.field(default=0, hash=False)


class Unknown:
    pass


class Sub(list[object]):
    pass


def model(a: object, b: list[object], c: object, more: dict[str, object]) -> Model:
    made = Model(a=a, **{f"x{key}": item for key, item in more.items()})
    made.b = b
    made._c = c
    return made


zones = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=-3, seconds=1), "Z")])
texts = st.text(st.characters(exclude_categories=[]), max_size=8)
keys = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(),
    st.floats(),
    texts,
    st.sampled_from(["$", "NaN", "Infinity", "sk-", "eyJ", "\ud800", "a\0b", Mood.BAD, ...]),
)
atoms = st.one_of(
    keys,
    st.integers(-(2**80), 2**80),
    st.complex_numbers(allow_nan=True, allow_infinity=True),
    st.decimals(),
    st.fractions(),
    st.binary(max_size=20),
    st.binary(min_size=1020, max_size=1030),
    st.binary(max_size=4).map(bytearray),
    st.datetimes(timezones=zones),
    st.datetimes(timezones=st.timezones()),
    st.builds(lambda value, fold: value.replace(fold=fold), st.times(timezones=zones), st.just(1)),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    texts.map(PurePosixPath),
    texts.map(PureWindowsPath),
    st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3)),
    st.sampled_from([re.compile("a|b", re.X), re.compile(b"[\xff]"), Mood.GOOD]),
)
refused = st.sampled_from([Unknown(), Sub([1]), len, Unknown, defaultdict(lambda: 1)])


def containers(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(values, max_size=4)
    tables = st.dictionaries(keys, values, max_size=4)
    named = st.dictionaries(texts, values, max_size=3)
    extras = st.dictionaries(st.text(max_size=8), values, max_size=3)  # pydantic takes no others
    members = st.lists(st.one_of(keys, st.tuples(keys, keys)), max_size=4)
    return st.one_of(
        lists,
        tables,
        named,
        lists.map(tuple),
        members.map(set),
        members.map(frozenset),
        st.builds(deque, lists, st.sampled_from([None, 9])),
        tables.map(OrderedDict),
        tables.map(MappingProxyType),
        tables.map(lambda table: defaultdict(set, table)),
        st.lists(texts, max_size=5).map(Counter),
        st.builds(slice, values, values),
        st.builds(Row, keys, values),
        st.builds(Pair, keys, values),
        st.builds(model, values, lists, keys, extras),
    )


values = st.recursive(
    st.one_of(atoms, atoms, atoms, atoms, atoms, refused), containers, max_leaves=12
)


def saved(value: object) -> Encoded | ValueNotSaved:
    """What it is written as, or why it is not."""
    try:
        return plain_codec().encode(value)
    except ValueNotSaved as refusal:
        return refusal


def came_back(value: object) -> bool:
    """Whether it was saved; what was saved has come back the same."""
    before = told(value)
    encoded = saved(value)
    if isinstance(encoded, ValueNotSaved):
        assert may_be_refused(value), encoded
        assert encoded.where.startswith("output")
        assert encoded.kind
        assert encoded.reason
        return False
    back = again(value)
    assert told(back) == before == told(value)
    assert plain_codec().encode(back).body == encoded.body
    return True


def parts(value: object) -> Iterator[object]:
    """The value and everything in it."""
    yield value
    inner: Any = ()
    if isinstance(value, dict | MappingProxyType):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset | deque):
        inner = value
    elif isinstance(value, Model):
        inner = [value.a, value.b, value._c, value.__pydantic_extra__]
    elif isinstance(value, Pair):
        inner = [value.left, value.right]
    elif isinstance(value, slice):
        inner = [value.start, value.stop]
    for part in inner:
        yield from parts(part)


def may_be_refused(value: object) -> bool:
    """Whether there is a reason: something without a form, or several NaN in one set."""
    for part in parts(value):
        if isinstance(part, Unknown | Sub | type) or part is len:
            return True
        if isinstance(part, defaultdict) and part.default_factory is not set:
            return True
        if isinstance(part, set | frozenset) and repr(list(part)).count("nan") > 1:
            return True
    return False


def test_twenty_thousand_generated_values_come_back_or_are_refused() -> None:
    tried: list[bool] = []

    @settings(max_examples=EXAMPLES)
    @given(st.lists(values, min_size=VALUES_EACH, max_size=VALUES_EACH))
    def each(generated: list[object]) -> None:
        tried.extend(map(came_back, generated))

    each()
    assert len(tried) >= 20_000
    assert tried.count(True) > 0.7 * len(tried)
    assert tried.count(False) > 200


TAGS = [
    *READERS,
    *("bytes", "bytearray", "blob", "model", "dataclass", "enum", "flag", "namedtuple"),
    *("secret", "codec", "data"),
]
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.fixed_dictionaries({"$": st.text(max_size=4), "v": inner}),
        st.builds(
            lambda tag, v, name: {"$": tag, "v": v, "type": name, "schema": "", "fields": v},
            st.sampled_from(TAGS),
            inner,
            st.sampled_from([f"{__name__}.{kind}" for kind in ("Model", "Pair", "Row", "Mood")]),
        ),
    ),
    max_leaves=12,
)


@settings(max_examples=1500)
@given(trees)
def test_any_tree_is_read_or_refused(tree: Any) -> None:
    with suppress(ValueNotRead):
        plain_codec().decode(tree, lambda digest: b"[1]")


@given(st.floats(), st.integers())
def test_numbers_keep_their_sign_and_size(number: float, whole: int) -> None:
    back = again([number, whole, {"a": number}])
    assert math.copysign(1, back[0]) == math.copysign(1, number) or math.isnan(number)
    assert back[1] == whole
