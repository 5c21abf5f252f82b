"""How frames and series of polars are saved: as an Arrow stream, which polars itself writes."""

from __future__ import annotations

import io
from collections.abc import Iterable

import polars as pl

from flujo_nb.engine.store.codec_forms import NoForm
from flujo_nb.engine.store.codec_tables import Packed


def packed(value: object) -> Packed:
    """The bytes of a frame or series. Raises `NoForm` for other types."""
    if type(value) is pl.DataFrame:
        return Packed("DataFrame", {}, _written(value), _texts(value))
    if type(value) is pl.Series:
        frame = value.to_frame()
        return Packed("Series", {}, _written(frame), _texts(frame))
    lazy = ": collect() it first" if isinstance(value, pl.LazyFrame) else ""
    raise NoForm(f"of polars, frames and series are saved{lazy}")


def unpacked(given: Packed) -> object:
    """The frame or series again. Raises ``ValueError`` for other bytes."""
    frame = pl.read_ipc_stream(io.BytesIO(given.payload))
    if given.kind == "DataFrame":
        return frame
    if given.kind == "Series" and frame.width == 1:
        return frame.to_series()
    raise ValueError(f"{given.kind!r:.40} is nothing of polars")


def difference(value: object, again: object) -> str | None:
    """What differs between two frames, or two series; ``None`` when they are the same."""
    left, right = (one.to_frame() if isinstance(one, pl.Series) else one for one in (value, again))
    if not isinstance(left, pl.DataFrame) or not isinstance(right, pl.DataFrame):
        return "it is no frame"
    if left.schema != right.schema:
        return f"the schema {dict(left.schema)} comes back as {dict(right.schema)}"
    return None if left.equals(right, null_equal=True) else "its values differ"


def _written(frame: pl.DataFrame) -> bytes:
    for name, kind in frame.schema.items():
        if kind == pl.Object:
            raise NoForm(f"its column {name!r} holds Python objects")
    sink = io.BytesIO()
    frame.write_ipc_stream(sink)
    return sink.getvalue()


def _texts(frame: pl.DataFrame) -> Iterable[str]:
    for column in frame.iter_columns():
        if column.dtype in (pl.String, pl.Categorical, pl.Enum):
            yield from column.drop_nulls().cast(pl.String).to_list()
