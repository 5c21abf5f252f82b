"""How arrays and scalars of numpy are saved: in numpy's own ``.npy`` format, without pickle."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.lib import format as npy

from flujo_nb.engine.store.codec_forms import NoForm
from flujo_nb.engine.store.codec_tables import Packed

Array: TypeAlias = np.ndarray[Any, Any]


def packed(value: object) -> Packed:
    """The bytes of an array or scalar. Raises `NoForm` for other types, and arrays of objects."""
    if type(value) is np.ndarray:
        return Packed("array", {}, _written(value), _texts(value))
    if isinstance(value, np.generic):
        array = np.asarray(value)
        if array.dtype.kind in "biuf" and array.itemsize <= 8 and value == value:
            return Packed("number", {"dtype": array.dtype.str, "item": array.item()}, b"")
        return Packed("scalar", {}, _written(array), _texts(array))
    raise NoForm("of numpy, plain arrays and their scalars are saved (numpy.asarray makes one)")


def unpacked(given: Packed) -> object:
    """The array or scalar again. Raises ``ValueError`` for other bytes."""
    if given.kind == "number":
        dtype, item = given.about["dtype"], given.about["item"]
        if not isinstance(dtype, str) or not isinstance(item, int | float):
            raise ValueError("a dtype and a number were expected")
        return np.array(item, dtype=_NUMBERS[dtype])[()]
    array = _read(given.payload)
    if given.kind == "array":
        return array
    if given.kind == "scalar" and array.shape == ():
        return array[()]
    raise ValueError(f"{given.kind!r:.40} is nothing of numpy")


_NUMBERS = {
    f"{order}{kind}{size}": np.dtype(f"{order}{kind}{size}")
    for order in "|<>"
    for kind, sizes in (("b", "1"), ("i", "1248"), ("u", "1248"), ("f", "248"))
    for size in sizes
}


def difference(value: object, again: object) -> str | None:
    """What differs between two arrays, or two scalars; ``None`` when they are the same."""
    left, right = np.asarray(value), np.asarray(again)
    if left.dtype != right.dtype or repr(left.dtype) != repr(right.dtype):
        return f"the dtype {left.dtype!r} comes back as {right.dtype!r}"
    if left.dtype.metadata != right.dtype.metadata:
        return "the metadata of its dtype are lost"
    if left.shape != right.shape:
        return f"the shape {left.shape} comes back as {right.shape}"
    return None if np.array_equal(_bytes(left), _bytes(right)) else "its values differ"


def _bytes(array: Array) -> Array:
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8) if array.itemsize else flat


def _texts(array: Array) -> Iterable[str]:
    if array.dtype.kind not in "SU":
        return ()
    texts = array if array.dtype.kind == "U" else np.char.decode(array, "latin-1")
    found: list[str] = texts.reshape(-1).tolist()
    return found


def _written(array: Array) -> bytes:
    if array.dtype.hasobject:
        raise NoForm(f"its dtype {array.dtype} holds Python objects; a list of them may be saved")
    head = io.BytesIO()
    about = npy.header_data_from_array_1_0(array)
    npy.write_array_header_2_0(head, about)
    order: Literal["F", "C"] = "F" if about["fortran_order"] else "C"
    return head.getvalue() + array.tobytes(order)


def _read(data: bytes) -> Array:
    source = io.BytesIO(data)
    if npy.read_magic(source) != (2, 0):
        raise ValueError("another version of the .npy format")
    shape, is_fortran, dtype = npy.read_array_header_2_0(source)
    if dtype.hasobject:
        raise ValueError("an array of objects")
    start = source.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"an array of shape {shape} has another number of bytes")
    order: Literal["F", "C"] = "F" if is_fortran else "C"
    if len(data) == start:
        return np.zeros(shape, dtype, order)
    own = bytearray(data)  # an array of bytes could not be written to
    return np.frombuffer(own, dtype, offset=start).reshape(shape, order=order)
