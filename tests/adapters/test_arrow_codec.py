"""Tables of pyarrow, pandas and polars come back as they are, or are refused."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from flujo_nb.engine.errors import ValueNotRead, ValueNotSaved
from tests.engine.coding import again, given, plain_codec

BERLIN = ZoneInfo("Europe/Berlin")
DAYS = pd.date_range("2020-01-01", periods=3, freq="D")


def with_attrs() -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["source"] = ("x", 1)
    return frame


PANDAS: dict[str, Any] = {
    "everyday": pd.DataFrame({"a": [1, 2], "b": [1.0, None], "c": ["x", None], "d": [True, False]}),
    "of an array": pd.DataFrame(np.arange(6.0).reshape(2, 3)),
    "mixed": pd.DataFrame({"a": [1, "x", None, np.nan, pd.NA, pd.NaT, 1.5, True, (1,)]}),
    "lists": pd.DataFrame({"a": [[1], [2, "x"], None, []]}),
    "arrays": pd.DataFrame({"a": [np.array([1, 2]), np.array(["x"])]}),
    "dicts": pd.DataFrame({"a": [{"b": 1}, {}, {"c": [None]}]}),
    "texts as objects": pd.Series(["a", None, "b"], dtype=object),
    "decimals": pd.DataFrame({"a": [Decimal("1.0"), Decimal("1.00"), None]}),
    "dates": pd.DataFrame({"a": [dt.date(2020, 1, 1), None], "b": [dt.time(1), dt.time(2)]}),
    "categories": pd.Series(pd.Categorical(["a", "b", None], categories=["b", "a", "z"])),
    "ordered": pd.DataFrame({"a": pd.Categorical([3, 1], categories=[3, 2, 1], ordered=True)}),
    "intervals": pd.DataFrame({"a": pd.interval_range(0, 3)}),
    "cut": pd.cut(pd.Series([1, 2, 3]), 2),
    "periods": pd.Series(pd.period_range("2020", periods=3, freq="M")),
    "zoned": pd.DataFrame({"a": pd.date_range("2020-10-25", periods=30, freq="h", tz=BERLIN)}),
    "offset": pd.Series(pd.date_range("2020", periods=3, tz=dt.timezone(dt.timedelta(hours=1)))),
    "in seconds": pd.Series(np.array(["2020", "NaT"], dtype="M8[s]")),
    "durations": pd.Series(pd.to_timedelta([1, None, 3], unit="s")),
    "nullable": pd.DataFrame(
        {
            "a": pd.array([1, None], dtype="Int64"),
            "b": pd.array([True, None], dtype="boolean"),
            "c": pd.array([1.5, None], dtype="Float64"),
            "d": pd.array(["x", None], dtype="string"),
            "e": pd.array([1, None], dtype="int64[pyarrow]"),
        }
    ),
    "complex": pd.DataFrame({"a": [1j, 2], "b": [1, 2]}),
    "small floats": pd.DataFrame({"a": np.array([1.5], dtype="f2")}),
    "empty": pd.DataFrame(),
    "only rows": pd.DataFrame(index=[1, 2]),
    "only columns": pd.DataFrame(columns=["a", "b"]),
    "same names": pd.DataFrame([[1, "x"]], columns=["a", "a"]),
    "names of all kinds": pd.DataFrame({1: [1], "1": [2], (1, 2): [3], None: [4]}),
    "levels": pd.DataFrame(
        {"a": range(4)},
        index=pd.MultiIndex.from_product([["x", "y"], [1, 2]], names=["k", None]),
        columns=["a"],
    ),
    "levels above": pd.DataFrame(
        np.zeros((2, 4)), columns=pd.MultiIndex.from_product([["x", "y"], DAYS[:2]])
    ),
    "days": pd.DataFrame({"a": range(3)}, index=DAYS),
    "quarters": pd.date_range("2020", periods=4, freq="QS", name="q"),
    "mixed index": pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", 1], name=("i", 2))),
    "attrs": with_attrs(),
    "named series": pd.Series([1, 2], name=("a", 1), index=[5, 5]),
    "described": pd.DataFrame({"a": [1, 2, 3]}).describe(),
    "grouped": pd.DataFrame({"a": [1, 2, 3], "b": ["x", "x", "y"]})
    .groupby("b")
    .agg(["sum", "mean"]),
    "counted": pd.Series(["a", "b", "a"]).value_counts(),
    "index": pd.Index(["a", None]),
    "range": pd.RangeIndex(1, 9, 3, name="r"),
    "timestamp": pd.Timestamp("2020-10-25 01:30", tz="UTC").tz_convert(BERLIN),
    "nanoseconds": pd.Timestamp("2020-01-01 00:00:00.123456789"),
    "duration": pd.Timedelta("1D 00:00:00.000000001"),
    "interval": pd.Interval(0, 1.5, closed="both"),
    "period": pd.Period("2020-01", freq="Q"),
    "not a time": pd.NaT,
    "not there": pd.NA,
}


def same_frames(left: Any, right: Any) -> None:
    """What pandas checks, and what it does not: types of cells, freq, attrs, kinds of index."""
    assert type(left) is type(right)
    if isinstance(left, pd.DataFrame):
        options: Any = {"check_freq": True, "check_exact": True, "check_column_type": True}
        pd.testing.assert_frame_equal(left, right, **options)
        same_frames(left.columns, right.columns)
        columns = [(left.iloc[:, i], right.iloc[:, i]) for i in range(left.shape[1])]
    elif isinstance(left, pd.Series):
        pd.testing.assert_series_equal(left, right, check_exact=True, check_freq=True)
        columns = [(left, right)]
    elif isinstance(left, pd.Index):
        pd.testing.assert_index_equal(left, right, exact=True, check_exact=True)
        assert list(left.names) == list(right.names)
        assert getattr(left, "freq", None) == getattr(right, "freq", None)
        columns = []
    else:
        assert repr(left) == repr(right)
        return
    for one, other in columns:
        assert [type(cell) for cell in one] == [type(cell) for cell in other]
        assert repr(list(one)) == repr(list(other))
    if not isinstance(left, pd.Index):
        same_frames(left.index, right.index)
        assert repr(left.attrs) == repr(right.attrs)


@pytest.mark.parametrize("name", PANDAS)
def test_pandas_comes_back_the_same(name: str) -> None:
    value = PANDAS[name]
    same_frames(again(value), value)
    (inside,) = again({"a": (value,)})["a"]
    same_frames(inside, value)
    assert plain_codec().encode(again(value)).body == plain_codec().encode(value).body


def test_a_frame_that_came_back_can_be_written_to() -> None:
    frame = again(PANDAS["everyday"])
    frame.loc[0, "a"] = 9
    frame.iloc[1, 2] = "new"
    assert frame["a"].tolist() == [9, 2]
    assert frame["c"].tolist() == ["x", "new"]


OTHERS: dict[str, Any] = {
    "polars": pl.DataFrame(
        {"a": [1, None], "b": ["x", None], "c": [[1], None], "d": [1.0, float("nan")]}
    ),
    "polars categories": pl.DataFrame({"a": pl.Series(["a", "b"], dtype=pl.Categorical)}),
    "polars enum": pl.Series("e", ["a", None], dtype=pl.Enum(["b", "a"])),
    "polars times": pl.DataFrame({"t": [dt.datetime(2020, 1, 1)], "d": [dt.date(2020, 1, 1)]}),
    "polars decimal": pl.Series("d", [Decimal("1.20")]),
    "polars structs": pl.DataFrame({"s": [{"a": 1, "b": None}]}),
    "polars empty": pl.DataFrame(),
    "polars nulls": pl.Series([None, None]),
    "arrow": pa.table({"a": [1, None], "b": ["x", "y"], "c": [float("nan"), 1.0]}),
    "arrow metadata": pa.table({"a": [1]}).replace_schema_metadata({"k": "v"}),
    "arrow batch": pa.record_batch({"a": [1, 2]}),
    "arrow empty batch": pa.record_batch({"a": pa.array([], pa.int32())}),
    "arrow array": pa.array([1, 2, None]),
    "arrow chunks": pa.chunked_array([[1], [2]]),
    "arrow slice": pa.table({"a": range(100)}).slice(3, 5),
    "arrow dictionary": pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode()}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_polars_and_arrow_come_back_the_same(name: str) -> None:
    value = OTHERS[name]
    back = again([value])[0]
    assert type(back) is type(value)
    if name.startswith("polars"):
        frames = [one.to_frame() if isinstance(one, pl.Series) else one for one in (back, value)]
        assert frames[0].schema == frames[1].schema
        assert repr(frames[0].rows()) == repr(frames[1].rows())
    else:
        assert repr(back.to_pylist()) == repr(value.to_pylist())
        schemas = [getattr(one, "schema", None) for one in (back, value)]
        assert schemas[0] is None or schemas[0].equals(schemas[1], check_metadata=True)


KEY = "sk-" + "aB3d" * 8
REFUSED: dict[str, tuple[Any, str, str]] = {
    "objects": (pd.DataFrame({"a": [1], "b": [object()]}), "output.column[1][0]", "no codec"),
    "sparse": (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), "output", "Sparse"),
    "groups": (pd.DataFrame({"a": [1]}).groupby("a"), "output", "frames, series"),
    "secret": (pd.DataFrame({"a": ["x", KEY]}), "output", "secret"),
    "secret category": (pd.Series([KEY], dtype="category"), "output.column[0]", "secret"),
    "secret object": (pd.Series([KEY, 1], dtype=object), "output.column[0][0]", "secret"),
    "secret name": (pd.DataFrame({KEY: [1]}), "output.columns", "secret"),
    "no duplicates": (
        pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
        "output",
        "duplicate labels",
    ),
    "polars objects": (pl.DataFrame({"a": [object()]}), "output", "Python objects"),
    "polars lazy": (pl.DataFrame({"a": [1]}).lazy(), "output", "collect"),
    "polars secret": (pl.DataFrame({"a": [None, KEY]}), "output", "secret"),
    "arrow scalar": (pa.scalar(1), "output", "tables"),
    "arrow secret": (pa.table({"a": [KEY]}), "output", "secret"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_come_back_is_refused(name: str) -> None:
    value, where, reason = REFUSED[name]
    with pytest.raises(ValueNotSaved, match=reason) as refused:
        plain_codec().encode(value)
    assert refused.value.where == where
    assert KEY not in str(refused.value)


COLUMNS: dict[str, Any] = {"a": list(range(50)), "b": ["x", "yy"] * 25, "c": [1.5] * 50}


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_damaged_tables_are_refused(make: Any) -> None:
    encoded = plain_codec().encode(make(COLUMNS))
    tree = json.loads(encoded.body)
    (data,) = encoded.blobs.values()
    for cut in range(0, len(data), 97):
        damaged = data[:cut] + b"\xff\x00\xff" + data[cut + 3 :]
        try:
            plain_codec().decode(tree, given(damaged))
        except ValueNotRead:
            continue
    with pytest.raises(ValueNotRead):
        plain_codec().decode(tree, lambda digest: b"\x00" * len(data))
