"""How frames, series, indexes and scalars of pandas are saved.

Columns of objects are saved value by value, everything else as an Arrow stream. Labels, names and
indexes are values of their own, since Arrow does not keep all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, cast

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]

from flujo_nb.engine.store.codec_forms import NoForm
from flujo_nb.engine.store.codec_tables import Packed
from flujo_nb.engine.values import exactly_equal, shown

from . import arrow_codec

Array: TypeAlias = pd.api.extensions.ExtensionArray


def packed(value: object) -> Packed:
    """The bytes of a value. Raises `NoForm` for types, and contents, that have no form."""
    if isinstance(value, pd.DataFrame) and _is_exactly(value, pd.DataFrame):
        if not value.flags.allows_duplicate_labels:
            raise NoForm("it disallows duplicate labels, which is not saved")
        about = {"index": value.index, "columns": value.columns, "attrs": value.attrs}
        return _with_columns("DataFrame", [value.iloc[:, i] for i in range(value.shape[1])], about)
    if isinstance(value, pd.Series) and _is_exactly(value, pd.Series):
        about = {"index": value.index, "name": value.name, "attrs": value.attrs}
        return _with_columns("Series", [value], about)
    if isinstance(value, pd.Index):
        return _packed_index(value)
    return _packed_scalar(value)


def _is_exactly(value: object, kind: type) -> bool:
    return type(value) is kind


def _with_columns(kind: str, columns: list[pd.Series], about: Mapping[str, object]) -> Packed:
    apart: dict[int, object] = {}
    held: dict[str, object] = {}
    stored: dict[str, object] = {}
    for place, column in enumerate(columns):
        array = column.array
        if isinstance(array, pd.Categorical):
            apart[place] = "ordered" if array.ordered else "categories"
            held[_column(place)] = array.categories
            stored[str(place)] = array.codes
        elif _holds_objects(array):
            apart[place] = "objects"
            held[_column(place)] = list(column)
        elif column.dtype.kind == "c":
            apart[place] = "complex"
            held[_column(place)] = column.to_numpy()
        else:
            stored[str(place)] = array
    rows = range(len(columns[0]) if columns else 0)
    table = pa.Table.from_pandas(pd.DataFrame(stored, index=rows), preserve_index=False)
    payload = arrow_codec.written(table)
    texts = arrow_codec.texts_of(table)
    return Packed(kind, {**about, "apart": apart, **held}, payload, texts)


def _column(place: int) -> str:
    """What errors call the column at ``place``, too."""
    return f"column[{place}]"


def _holds_objects(array: Array) -> bool:
    plain = isinstance(array, pd.arrays.NumpyExtensionArray)
    return plain and array.to_numpy(copy=False).dtype == object


def _packed_index(value: pd.Index) -> Packed:
    if type(value) is pd.RangeIndex:
        about: dict[str, object] = {"range": [value.start, value.stop, value.step]}
        return Packed("RangeIndex", {**about, "name": value.name}, b"")
    if isinstance(value, pd.MultiIndex):
        levels = [value.get_level_values(i) for i in range(value.nlevels)]
        return Packed("MultiIndex", {"levels": levels, "names": list(value.names)}, b"")
    freq = value.freqstr if isinstance(value, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    about = {"name": value.name, "freq": freq}
    return _with_columns("Index", [pd.Series(value.array, copy=False)], about)


def _packed_scalar(value: object) -> Packed:
    if value is pd.NaT or value is pd.NA:
        return Packed("NaT" if value is pd.NaT else "NA", {}, b"")
    about: dict[str, object]
    if isinstance(value, pd.Timestamp) and _is_exactly(value, pd.Timestamp):
        about = {"count": int(value.asm8.view("i8")), "unit": value.unit, "zone": value.tz}
    elif isinstance(value, pd.Timedelta) and _is_exactly(value, pd.Timedelta):
        about = {"count": int(value.asm8.view("i8")), "unit": value.unit}
    elif isinstance(value, pd.Interval):
        about = {"left": value.left, "right": value.right, "closed": value.closed}
    elif isinstance(value, pd.Period):
        about = {"ordinal": value.ordinal, "freq": value.freqstr}
    else:
        raise NoForm("of pandas, frames, series, indexes and their scalars are saved")
    return Packed(type(value).__name__, about, b"")


def unpacked(given: Packed) -> object:
    """The value again. Raises ``ValueError`` and its like for other data."""
    about = given.about
    match given.kind:
        case "DataFrame":
            index = cast(pd.Index, about["index"])
            frame = pd.DataFrame(dict(enumerate(_columns(given))), index=range(len(index)))
            frame.index, frame.columns = index, cast(pd.Index, about["columns"])
            frame.attrs = cast("dict[object, object]", about["attrs"])
            return frame
        case "Series":
            (array,) = _columns(given)
            index = cast(pd.Index, about["index"])
            series = pd.Series(array, index=index, name=about["name"], dtype=array.dtype)
            series.attrs = cast("dict[object, object]", about["attrs"])
            return series
        case "Index":
            (array,) = _columns(given)
            index = pd.Index(array, name=about["name"], dtype=array.dtype)
            if about["freq"] is not None:
                index.freq = about["freq"]
            return index
        case "RangeIndex":
            start, stop, step = cast("list[int]", about["range"])
            return pd.RangeIndex(start, stop, step, name=about["name"])
        case "MultiIndex":
            levels = cast("list[pd.Index]", about["levels"])
            return pd.MultiIndex.from_arrays(levels, names=cast("list[object]", about["names"]))
    return _unpacked_scalar(given.kind, about)


def _columns(given: Packed) -> list[Array]:
    """The arrays of a frame's or series's columns."""
    frame = arrow_codec.read(given.payload).to_pandas()
    stored = {int(name): frame[name].array for name in frame.columns}
    apart = cast("dict[int, str]", given.about["apart"])
    arrays: list[Array] = []
    for place in range(len(stored.keys() | apart.keys())):
        how, held = apart.get(place), given.about.get(_column(place))
        if how is None:
            arrays.append(stored[place].copy())
        elif how == "objects":
            items = cast("list[object]", held)
            cells = np.empty(len(items), dtype=object)
            for row, item in enumerate(items):  # a slice would unpack items that are lists
                cells[row] = item
            arrays.append(pd.array(cells, dtype=object))
        elif how == "complex":
            arrays.append(pd.array(np.asarray(held)))
        else:
            kind = pd.CategoricalDtype(cast(pd.Index, held), ordered=how == "ordered")
            arrays.append(pd.Categorical.from_codes(np.asarray(stored[place]), dtype=kind))
    return arrays


def _unpacked_scalar(kind: str, about: Mapping[str, object]) -> object:
    match kind:
        case "NaT":
            return pd.NaT
        case "NA":
            return pd.NA
        case "Timestamp":
            count, unit = _counted(about)
            moment = pd.Timestamp(np.datetime64(count, unit))
            zone = about["zone"]
            return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)
        case "Timedelta":
            count, unit = _counted(about)
            return pd.Timedelta(np.timedelta64(count, unit))
        case "Interval":
            return pd.Interval(about["left"], about["right"], about["closed"])
        case "Period":
            return pd.Period(ordinal=about["ordinal"], freq=about["freq"])
    raise ValueError(f"{kind!r:.40} is nothing of pandas")


def _counted(about: Mapping[str, object]) -> tuple[int, Literal["ns"]]:
    """A count of units, whose name is typed as the one that numpy's stubs want for all."""
    count, unit = about["count"], about["unit"]
    if type(count) is not int or unit not in ("s", "ms", "us", "ns"):
        raise ValueError("a number of seconds, or parts of seconds, was expected")
    return count, cast('Literal["ns"]', unit)


def difference(value: object, again: object) -> str | None:
    """What differs between two values of one type; ``None`` when they are the same."""
    if isinstance(value, pd.DataFrame) and isinstance(again, pd.DataFrame):
        if value.shape != again.shape:
            return f"the shape {value.shape} comes back as {again.shape}"
        found = _index_difference(value.columns, again.columns, "the columns")
        for i in range(value.shape[1]):
            found = found or _array_difference(
                value.iloc[:, i].array, again.iloc[:, i].array, f"the column {value.columns[i]!r}"
            )
        return found or _index_difference(value.index, again.index) or _attrs(value, again)
    if isinstance(value, pd.Series) and isinstance(again, pd.Series):
        if not exactly_equal(value.name, again.name):
            return f"its name comes back as {again.name!r:.60}"
        found = _array_difference(value.array, again.array, "the series")
        return found or _index_difference(value.index, again.index) or _attrs(value, again)
    if isinstance(value, pd.Index) and isinstance(again, pd.Index):
        return _index_difference(value, again)
    same = value is again or repr(value) == repr(again)
    if isinstance(value, pd.Timestamp | pd.Timedelta) and isinstance(again, type(value)):
        same = same and (value.asm8, value.unit) == (again.asm8, again.unit)
    return None if same else f"it comes back as {again!r:.60}"


def _attrs(value: pd.DataFrame | pd.Series, again: pd.DataFrame | pd.Series) -> str | None:
    return None if exactly_equal(value.attrs, again.attrs) else "its attrs differ"


def _index_difference(value: pd.Index, again: pd.Index, what: str = "the index") -> str | None:
    if type(value) is not type(again):
        return f"{what} ({type(value).__name__}) comes back as {type(again).__name__}"
    if not exactly_equal(list(value.names), list(again.names)):
        return f"the names of {what} differ"
    if isinstance(value, pd.MultiIndex):
        for i in range(value.nlevels):
            left, right = value.get_level_values(i), again.get_level_values(i)
            if (found := _index_difference(left, right, f"level {i} of {what}")) is not None:
                return found
        return None
    if isinstance(value, pd.DatetimeIndex | pd.TimedeltaIndex) and value.freq != again.freq:
        return f"the freq of {what} comes back as {again.freqstr}"
    return _array_difference(value.array, again.array, what)


def _array_difference(left: object, right: object, what: str) -> str | None:
    a, b = cast(Array, left), cast(Array, right)
    if a.dtype != b.dtype or repr(a.dtype) != repr(b.dtype):
        return f"{what} is of {a.dtype!r} and comes back as {b.dtype!r}"
    if len(a) != len(b):
        return f"{what} has {len(a)} values and comes back with {len(b)}"
    if isinstance(a, pd.Categorical) and isinstance(b, pd.Categorical):
        if not np.array_equal(a.codes, b.codes):
            return f"{what} comes back with other categories"
        return _index_difference(a.categories, b.categories, f"the categories of {what}")
    if not _holds_objects(a):
        return None if a.equals(b) else f"{what} comes back with other values"
    for row, (cell, other) in enumerate(zip(a, b, strict=True)):
        if not exactly_equal(cell, other) and not _same_array(cell, other):
            return f"row {row} of {what} comes back as {shown(other, 40)}"
    return None


def _same_array(cell: object, other: object) -> bool:
    if isinstance(cell, np.ndarray) and isinstance(other, np.ndarray):
        return cell.dtype == other.dtype and np.array_equal(cell, other)
    return type(cell) is type(other) and difference(cell, other) is None
