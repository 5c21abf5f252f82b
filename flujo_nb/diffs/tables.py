"""Data frames, series and arrays of pandas, polars, pyarrow and numpy, read alike.

None of these libraries is imported: a value of theirs is known by the name and the module of its
type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeAlias, cast

from flujo_nb.engine.user_code import Raised, caught_inline


class Places(Protocol):
    """Places in an index; -1 stands for none."""

    def __getitem__(self, places: Places, /) -> Places:
        """Some of them."""

    def __ge__(self, place: int, /) -> Places:
        """Which are not before a place."""

    def __lt__(self, place: int, /) -> Places:
        """Which are."""

    def nonzero(self) -> tuple[Places]:
        """Where they are not 0."""

    def tolist(self) -> list[int]:
        """All of them."""


class Cells(Protocol):
    """What columns of all libraries have in common."""

    def __len__(self) -> int:
        """The number of cells."""

    def __getitem__(self, part: slice | Places, /) -> Cells:
        """Some of them."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column or an index. ``listed`` makes a list of cells, ``same`` compares two runs of them.

    Both are the library's, and may raise.
    """

    name: str
    dtype: str
    held: Cells
    listed: Callable[[Cells], list[object]]
    same: Callable[[Cells, Cells], bool]

    def __len__(self) -> int:
        return len(self.held)

    def at(self, places: slice | Places) -> Column:
        """The same column with fewer cells."""
        return Column(self.name, self.dtype, self.held[places], self.listed, self.same)

    def cells(self) -> list[object]:
        """Its cells as Python's values."""
        return self.listed(self.held)


@dataclass(frozen=True, slots=True)
class Table:
    """A value of one of the libraries. What is no frame has one column, and its cells are rows.

    ``index`` labels the rows (in pandas).
    """

    shape: tuple[int, ...]
    columns: Sequence[Column]
    index: Column | None = None
    is_frame: bool = False

    @property
    def rows(self) -> int:
        """How many there are; all the cells of an array."""
        return len(self.columns[0]) if self.columns else self.shape[0]


def table_of(value: object) -> Table | None:
    """``value`` as a table, if it is of one of the libraries and can be read."""
    reader = _reader_of(type(value))  # type: ignore[arg-type]  # mypy finds no hash in a class
    if reader is None:
        return None
    table = caught_inline(reader, value)
    return None if isinstance(table, Raised) else table


class Pairs(NamedTuple):
    """Rows with labels that two tables have: their places in each, and those of others."""

    old: Places
    new: Places
    gone: Sequence[int]
    come: Sequence[int]


def pairs_of(old: Column, new: Column) -> Pairs | None:
    """The rows of two tables with these indexes; ``None`` where labels do not tell rows apart."""
    one, two = cast(_PandasIndex, old.held), cast(_PandasIndex, new.held)
    if not (one.is_unique and two.is_unique):
        return None
    there, back = two.get_indexer(one), one.get_indexer(two)
    (both,), (gone,), (come,) = (there >= 0).nonzero(), (there < 0).nonzero(), (back < 0).nonzero()
    return Pairs(both, there[both], gone.tolist(), come.tolist())


# numpy


class _Numpy(Cells, Protocol):
    shape: tuple[int, ...]
    dtype: object

    def reshape(self, size: int, /) -> _Numpy:
        """All cells in one row."""

    def tolist(self) -> list[object]:
        """The cells as Python's values."""

    def tobytes(self) -> bytes:
        """What its cells are in memory."""


def _numpy_array(value: object) -> Table:
    array = cast(_Numpy, value)
    return Table(array.shape, [_numpy_column("", array)])


def _numpy_column(name: str, array: _Numpy) -> Column:
    dtype = str(array.dtype)
    is_time = dtype.startswith(("datetime64", "timedelta64"))  # of which lists hold numbers
    listed = cast(Callable[[Cells], list[object]], list if is_time else _numpy_list)
    return Column(name, dtype, array.reshape(-1), listed, _numpy_same)


def _numpy_list(cells: Cells) -> list[object]:
    return cast(_Numpy, cells).tolist()


def _numpy_same(old: Cells, new: Cells) -> bool:
    return cast(_Numpy, old).tobytes() == cast(_Numpy, new).tobytes()


# pandas


class _PandasCells(Cells, Protocol):
    dtype: object

    def equals(self, other: object) -> bool:
        """Whether the cells are the same."""

    def tolist(self) -> list[object]:
        """The cells."""


class _PandasIndex(_PandasCells, Protocol):
    names: Iterable[object]
    is_unique: bool

    def get_indexer(self, target: object, /) -> Places:
        """The place of each label of another index in this one."""


class _PandasSeries(Protocol):
    name: object
    index: _PandasIndex
    array: _PandasCells

    def to_numpy(self) -> _Numpy:
        """The cells as an array."""


class _PandasPlaces(Protocol):
    def __getitem__(self, part: tuple[slice, int], /) -> _PandasSeries:
        """A column by its place."""


class _PandasFrame(Protocol):
    shape: tuple[int, int]
    index: _PandasIndex
    columns: Iterable[object]
    iloc: _PandasPlaces


def _pandas_frame(value: object) -> Table:
    frame = cast(_PandasFrame, value)
    columns = [
        _pandas_column(str(name), frame.iloc[:, place]) for place, name in enumerate(frame.columns)
    ]
    return Table(frame.shape, columns, _pandas_index(frame.index), is_frame=True)


def _pandas_series(value: object) -> Table:
    series = cast(_PandasSeries, value)
    column = _pandas_column("", series)
    return Table((len(column),), [column], _pandas_index(series.index))


def _pandas_labels(value: object) -> Table:
    index = cast(_PandasIndex, value)
    return Table((len(index),), [_pandas_index(index)])


def _pandas_column(name: str, series: _PandasSeries) -> Column:
    cells = series.array
    if type(cells).__name__ == "NumpyExtensionArray":
        return _numpy_column(name, series.to_numpy())
    return Column(name, str(cells.dtype), cells, _pandas_list, _equals)


def _pandas_index(index: _PandasIndex) -> Column:
    name = ", ".join(str(one) for one in index.names if one is not None)
    return Column(name, str(index.dtype), index, _pandas_list, _equals)


def _pandas_list(cells: Cells) -> list[object]:
    return cast(_PandasCells, cells).tolist()


def _equals(old: Cells, new: Cells) -> bool:
    return cast(_PandasCells, old).equals(new)


# polars


class _PolarsSeries(Cells, Protocol):
    name: str
    dtype: object

    def to_list(self) -> list[object]:
        """The cells."""


class _PolarsFrame(Protocol):
    shape: tuple[int, int]

    def get_columns(self) -> Sequence[_PolarsSeries]:
        """The columns."""


def _polars_frame(value: object) -> Table:
    frame = cast(_PolarsFrame, value)
    columns = [_polars_column(one.name, one) for one in frame.get_columns()]
    return Table(frame.shape, columns, is_frame=True)


def _polars_series(value: object) -> Table:
    column = _polars_column("", cast(_PolarsSeries, value))
    return Table((len(column),), [column])


def _polars_column(name: str, series: _PolarsSeries) -> Column:
    return Column(name, str(series.dtype), series, _polars_list, _equals)


def _polars_list(cells: Cells) -> list[object]:
    return cast(_PolarsSeries, cells).to_list()


# pyarrow


class _ArrowCells(Cells, Protocol):
    type: object

    def to_pylist(self) -> list[object]:
        """The cells."""


class _ArrowTable(Protocol):
    shape: tuple[int, int]
    column_names: Sequence[str]

    def column(self, place: int) -> _ArrowCells:
        """A column."""


def _arrow_table(value: object) -> Table:
    table = cast(_ArrowTable, value)
    columns = [_arrow_column(name, table.column(n)) for n, name in enumerate(table.column_names)]
    return Table(table.shape, columns, is_frame=True)


def _arrow_array(value: object) -> Table:
    column = _arrow_column("", cast(_ArrowCells, value))
    return Table((len(column),), [column])


def _arrow_column(name: str, cells: _ArrowCells) -> Column:
    return Column(name, str(cells.type), cells, _arrow_list, _equals)


def _arrow_list(cells: Cells) -> list[object]:
    return cast(_ArrowCells, cells).to_pylist()


_Reader: TypeAlias = Callable[[object], Table]
_READERS: dict[tuple[str, str], _Reader] = {
    ("numpy", "ndarray"): _numpy_array,
    ("numpy", "generic"): _numpy_array,
    ("pandas", "DataFrame"): _pandas_frame,
    ("pandas", "Series"): _pandas_series,
    ("pandas", "Index"): _pandas_labels,
    ("polars", "DataFrame"): _polars_frame,
    ("polars", "Series"): _polars_series,
    ("pyarrow", "Table"): _arrow_table,
    ("pyarrow", "RecordBatch"): _arrow_table,
    ("pyarrow", "Array"): _arrow_array,
    ("pyarrow", "ChunkedArray"): _arrow_array,
}


@lru_cache(maxsize=256)
def _reader_of(kind: type) -> _Reader | None:
    names = [(one.__module__.partition(".")[0], one.__name__) for one in kind.__mro__]
    if ("numpy", "ndarray") in names[1:]:
        return None  # what a subclass holds besides its cells is not known
    return next((_READERS[one] for one in names if one in _READERS), None)
