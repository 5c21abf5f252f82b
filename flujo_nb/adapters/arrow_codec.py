"""How tables and arrays of pyarrow are saved: as an Arrow stream."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa  # type: ignore[import-untyped]

from flujo_nb.engine.store.codec_forms import NoForm
from flujo_nb.engine.store.codec_tables import Packed


def packed(value: object) -> Packed:
    """The bytes of a table, record batch or array. Raises `NoForm` for other types."""
    if isinstance(value, pa.Table):
        return Packed("Table", {}, written(value), texts_of(value))
    if isinstance(value, pa.RecordBatch):
        table = pa.Table.from_batches([value])
        return Packed("RecordBatch", {}, written(table), texts_of(table))
    if isinstance(value, pa.ChunkedArray | pa.Array):
        table = pa.table({"values": value})
        kind = "ChunkedArray" if isinstance(value, pa.ChunkedArray) else "Array"
        return Packed(kind, {}, written(table), texts_of(table))
    raise NoForm("of pyarrow, tables, record batches and arrays are saved")


def unpacked(given: Packed) -> object:
    """What was packed. Raises ``ValueError`` for other bytes."""
    table = read(given.payload)
    if given.kind == "Table":
        return table
    if given.kind == "RecordBatch":
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    column = table.column("values")
    if given.kind == "ChunkedArray":
        return column
    if given.kind == "Array":
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    raise ValueError(f"{given.kind!r:.40} is nothing of pyarrow")


def difference(value: object, again: object) -> str | None:
    """What differs between two values of one type; ``None`` when they are the same."""
    left, right = packed(value), packed(again)
    if left.payload == right.payload:
        return None
    before, after = read(left.payload), read(right.payload)
    if not before.schema.equals(after.schema, check_metadata=True):
        return "its schema differs"
    return None if before.equals(after) else "its values differ"


def written(table: pa.Table) -> bytes:
    """The Arrow stream of a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read(data: bytes) -> pa.Table:
    """The table of an Arrow stream. Raises ``ValueError`` for other bytes."""
    with pa.ipc.open_stream(data) as stream:
        table = stream.read_all()
    table.validate(full=True)
    return table


def texts_of(table: pa.Table) -> Iterable[str]:
    """The texts in a table's columns of texts."""
    for column in table.columns:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
            yield from (one for one in column.to_pylist() if one is not None)
