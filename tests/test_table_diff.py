"""Differences of data frames, series and arrays, of four libraries that nothing here imports."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from time import thread_time
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flujo_nb.diffs import diff_lines, table_diff, tables, value_diff, value_parts
from flujo_nb.diffs.diff_lines import lines_of
from flujo_nb.diffs.value_diff import Comparison


def told(old: object, new: object) -> list[str]:
    found = Comparison(100.0).differences(old, new)
    lines = [line for one in found for line in lines_of(one)]
    return [" ".join(f"{one.mark} {one.where} {one.told}".split()) for one in lines]


FRAME = {"id": [1, 2, 3], "price": [1.0, np.nan, 3.0], "name": ["a", "b", "c"]}


def frame(**columns: object) -> Any:
    return pd.DataFrame({**FRAME, **columns})


def test_cells_that_changed_are_counted_and_the_first_rows_shown() -> None:
    assert told(frame(), frame(price=[1.0, 2.0, 4.0], name=["a", "x", "c"])) == [
        "~ column price 2 of 3 cells changed",
        "~ column name 1 of 3 cells changed",
        "~ [1] price nan → 2.0",
        "~ [1] name 'b' → 'x'",
        "~ [2] price 3.0 → 4.0",
    ]


def test_columns_that_came_went_and_have_another_type() -> None:
    lines = told(frame(), frame(more=1).astype({"id": float}).drop(columns="name"))
    assert lines[1:] == ["+ column more int64", "~ column id int64 → float64"]
    assert lines[0].startswith("- column name ")


def test_rows_stand_for_each_other_by_their_labels() -> None:
    assert told(frame(), frame().drop(1)) == ["- rows 1: 1"]
    labelled = frame().set_index("name")
    changed = labelled.drop("a").astype({"price": object})
    changed.loc["c", "price"] = 9.0
    assert told(labelled, changed)[1:] == [
        "- rows 1: 'a'",
        "~ column price 1 of 3 cells changed",
        "~ ['c'] price 3.0 → 9.0",
    ]


def test_an_order_is_told() -> None:
    assert told(frame(), frame()[["name", "id", "price"]]) == ["the columns are in another order"]
    assert told(frame(), frame().iloc[::-1]) == ["the rows are in another order"]


def test_labels_that_repeat_and_columns_that_do() -> None:
    lines = told(frame(), pd.concat([frame(), frame().iloc[:1]]))
    assert lines[0] == "+ rows 1 at the end"
    assert "its labels repeat" in lines[1]
    old = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert told(old, pd.DataFrame([[1, 3]], columns=["a", "a"]))[-1] == "~ [0] a 2 → 3"


def test_an_index_of_another_type_is_told() -> None:
    old = pd.Series([1, 2])
    assert told(old, pd.Series([1, 2], index=[0.0, 1.0])) == [
        "the index is another one: index int64 → index float64"
    ]


EQUAL: dict[str, Any] = {
    "a frame": frame(),
    "an empty frame": pd.DataFrame(),
    "a frame with objects": pd.DataFrame({"a": [[1], {"b": 2}], "b": [np.array([1, 2]), None]}),
    "categories": pd.DataFrame({"a": pd.Categorical(["x", "y", None])}),
    "missing numbers": pd.Series([1, None], dtype="Int64"),
    "times": pd.Series(pd.to_datetime(["2026-01-01", None])),
    "many levels": pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([("x", 1)])),
    "an index": pd.Index(["a", "b"]),
    "a timestamp": pd.Timestamp("2026-01-01"),
    "an array": np.array([[1.0, np.nan], [2.0, 3.0]]),
    "a number of numpy": np.float64(1.5),
    "a whole number of numpy": np.int64(3),
    "times of numpy": np.array(["2026-01-01", "NaT"], dtype="M8[ns]"),
    "records": np.array([(1, 2.0)], dtype=[("a", "i8"), ("b", "f8")]),
    "a frame of polars": pl.DataFrame({"a": [1, None], "b": ["x", None], "c": [float("nan"), 1.0]}),
    "a series of polars": pl.Series("a", [1, 2]),
    "a table of arrow": pa.table({"a": [1, None], "b": [float("nan"), 1.0]}),
    "an array of arrow": pa.array([[1], None]),
    "chunks of arrow": pa.chunked_array([[1], [2]]),
}


def again(value: Any) -> Any:
    """A copy that shares nothing with ``value``."""
    if isinstance(value, pl.DataFrame | pl.Series):
        return pl.DataFrame(value.to_dict()) if isinstance(value, pl.DataFrame) else value.clone()
    if isinstance(value, pa.Table):
        return pa.table(value.to_pydict())
    if isinstance(value, pa.Array):
        return pa.array(value.to_pylist())
    if isinstance(value, pa.ChunkedArray):
        return pa.chunked_array([value.to_pylist()])
    return value.copy() if hasattr(value, "copy") else type(value)(value)


@dataclass
class Holder:
    table: object


@pytest.mark.parametrize("case", EQUAL)
def test_nothing_differs_between_a_table_and_its_copy(case: str) -> None:
    value = EQUAL[case]
    for wrapped in (lambda one: one, lambda one: {"t": [one]}, Holder):
        assert told(wrapped(value), wrapped(again(value))) == []


CHANGED: dict[str, tuple[Any, Any, str]] = {
    "a series": (pd.Series([1, 2]), pd.Series([1, 3]), "~ [1] 2 → 3"),
    "an index": (pd.Index([1, 2]), pd.Index([1, 3]), "~ [1] 2 → 3"),
    "an array": (np.zeros((2, 3)), np.eye(2, 3), "~ [1, 1] 0.0 → 1.0"),
    "lengths": (np.arange(2), np.arange(3), "+ rows 1 at the end"),
    "shapes": (np.zeros((2, 3)), np.zeros((3, 2)), "~ shape 2 x 3 → 3 x 2"),
    "types": (np.array([1]), np.array([1.0]), "~ cells int64 → float64"),
    "numbers of numpy": (np.float64(1), np.float64(2), "~ np.float64(1.0) → np.float64(2.0)"),
    "times of numpy": (
        np.array(["2026-01-01"], dtype="M8[D]"),
        np.array(["2026-01-02"], dtype="M8[D]"),
        "~ [0] np.datetime64('2026-01-01') → np.datetime64('2026-01-02')",
    ),
    "objects": (
        pd.DataFrame({"a": [np.array([1, 2])]}),
        pd.DataFrame({"a": [np.array([1, 3])]}),
        "~ [0] a array([1, 2]) → array([1, 3])",
    ),
    "missing numbers": (
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1, 2], dtype="Int64"),
        "~ [1] <NA> → 2",
    ),
    "polars": (pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, None]}), "~ [1] a 2 → None"),
    "a series of polars": (pl.Series([1, 2]), pl.Series([1, 3]), "~ [1] 2 → 3"),
    "arrow": (pa.table({"a": [1, 2]}), pa.table({"a": [1, 3]}), "~ [1] a 2 → 3"),
    "an array of arrow": (pa.array(["x"]), pa.array(["y"]), "~ [0] 'x' → 'y'"),
    "what is no frame any more": (
        frame(),
        frame()["id"],
        "~ DataFrame 3 x 3 → Series 3",
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_change_is_told_where_it_is(case: str) -> None:
    old, new, line = CHANGED[case]
    assert told(old, new)[-1] == line


def test_a_table_inside_a_value_is_told_under_its_name() -> None:
    lines = told({"t": frame(), "n": 1}, {"t": frame(id=[1, 2, 9]), "n": 2})
    assert lines == [
        "~ ['t'] DataFrame 3 x 3",
        "~ column id 1 of 3 cells changed",
        "~ [2] id 3 → 9",
        "~ ['n'] 1 → 2",
    ]


def test_many_columns_and_cells_are_counted() -> None:
    old = pd.DataFrame(np.zeros((50, 40)), columns=[f"c{n}" for n in range(40)])
    lines = told(old, old + 1)
    assert len(lines) < 30
    assert "~ columns … 32 more with changed cells" in lines
    assert any("… 32 more" in line for line in told(old, pd.DataFrame(index=old.index)))


def test_names_of_columns_do_not_break_lines() -> None:
    evil = "a\nb" * 50
    lines = told(pd.DataFrame({evil: [1]}), pd.DataFrame({evil: [2]}))
    assert all(len(line) < 100 for line in lines)


@pytest.mark.parametrize("change", ["one cell", "every cell", "rows", "types", "nothing"])
def test_a_large_table_takes_about_a_second(change: str) -> None:
    old = pd.DataFrame(np.random.default_rng(0).random((1_000_000, 12)))
    new = old.copy()
    match change:
        case "one cell":
            new.iloc[700_000, 3] = 5.0
        case "every cell":
            new = new + 1
        case "rows":
            new = new[new[0] > 0.5]
        case "types":
            new = new.astype("float32")
    start = thread_time()
    lines = told(old, new)
    assert thread_time() - start < 2.5
    assert len(lines) < 40
    assert bool(lines) is (change != "nothing")
    if change == "one cell":
        assert lines[0] == "~ column 3 1 of 1,000,000 cells changed"
    if change == "every cell":
        assert lines[-1] == "… it is too large to compare all of its cells"


@pytest.mark.parametrize("module", [tables, table_diff, value_parts, value_diff, diff_lines])
def test_no_library_is_imported(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    names = [
        one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names
    ]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    libraries = {"numpy", "pandas", "polars", "pyarrow"}
    assert names and libraries.isdisjoint(name.partition(".")[0] for name in names)


def test_a_class_that_has_the_name_of_a_table_is_none() -> None:
    class DataFrame:
        shape = (1, 2)

        def __init__(self, x: int) -> None:
            self.x = x

        def __repr__(self) -> str:
            return "DataFrame"

    assert told(DataFrame(1), DataFrame(2)) == ["~ x 1 → 2"]


examples = settings(derandomize=True, database=None, deadline=None, max_examples=100)
cells = st.one_of(st.none(), st.integers(0, 2), st.sampled_from([1.5, float("nan")]), st.text("ab"))
columns = st.integers(0, 5).flatmap(
    lambda size: st.dictionaries(
        st.sampled_from("abc"), st.lists(cells, min_size=size, max_size=size), max_size=3
    )
)


@examples
@given(columns, columns)
def test_something_differs_exactly_when_tables_are_not_the_same(
    old: dict[str, list[object]], new: dict[str, list[object]]
) -> None:
    one, other = (pd.DataFrame(each, dtype=object) for each in (old, new))
    same = one.equals(other) and list(one.columns) == list(other.columns)
    assert bool(told(one, other)) is not same
    assert told(one, pd.DataFrame(old, dtype=object)) == []


def test_a_table_that_became_something_else_is_told_without_its_rows() -> None:
    assert told(frame(), True) == ["~ DataFrame 3 x 3 → True"]
    assert told([1], [frame()]) == ["~ [0] 1 → DataFrame 3 x 3"]
