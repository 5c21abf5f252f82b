"""Arrays and scalars of numpy come back as they are, or are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from flujo_nb.engine.errors import ValueNotRead, ValueNotSaved
from tests.engine.coding import again, given, plain_codec, read

VALUES: list[Any] = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(20)[::3],
    np.arange(3, dtype=">i4"),
    np.zeros((0, 3), dtype="f4"),
    np.array(5),
    np.array([np.nan, -0.0, np.inf]),
    np.array([True, False]),
    np.array(["a", "ü\U0001f600"]),
    np.array([b"a", b"\xff"]),
    np.zeros((2, 2), dtype="U0"),
    np.array(["2020-01-01", "NaT"], dtype="M8[D]"),
    np.array([1, 2], dtype="m8[ns]"),
    np.array([1 + 2j]),
    np.zeros(2, dtype=[("a", "i4"), ("b", "f8", (2,))]),
    np.random.default_rng(0).random((200, 30)),
    np.float32(1.5),
    np.float64("nan"),
    -np.float64("nan"),
    np.float64(-0.0),
    np.float16(0.1),
    np.uint64(2**64 - 1),
    np.int64(-3),
    np.bool_(True),
    np.str_("x"),
    np.bytes_(b"x"),
    np.datetime64("2020-01"),
    np.longdouble(1) / 3,
]


def same(left: Any, right: Any) -> bool:
    a, b = np.asarray(left), np.asarray(right)
    fortran = a.ndim > 1 and a.flags.f_contiguous and not b.flags.f_contiguous
    return (
        type(left) is type(right)
        and repr(a.dtype) == repr(b.dtype)
        and a.shape == b.shape
        and a.tobytes() == b.tobytes()
        and not fortran
    )


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__} {value.dtype}")
def test_it_comes_back_the_same(value: Any) -> None:
    assert same(again(value), value)
    (inside,) = again({"a": [value]})["a"]
    assert same(inside, value)
    assert plain_codec().encode(again(value)).body == plain_codec().encode(value).body


def test_an_array_that_came_back_can_be_written_to() -> None:
    back = again(np.arange(1000))
    back[0] = 5
    assert back[0] == 5


def test_an_array_is_a_blob_of_its_size() -> None:
    encoded = plain_codec().encode(np.zeros(100_000))
    assert [800_000 < len(blob) < 800_200 for blob in encoded.blobs.values()] == [True]


REFUSED: list[tuple[Any, str]] = [
    (np.array([object()]), "Python objects"),
    (np.array([(1, None)], dtype=[("a", "i4"), ("b", "O")]), "Python objects"),
    (np.ma.array([1], mask=[True]), "plain arrays"),
    (np.array([(1,)], dtype=[("a", "i4")]).view(np.recarray), "plain arrays"),
    (np.random.default_rng(), "plain arrays"),
    (np.ones(2, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)), "dtype"),
    (np.zeros(1, dtype=np.dtype("f8", metadata={"unit": "m"})), "metadata"),
    (np.array(["sk-" + "aB3d" * 8]), "secret"),
    (np.array([b"sk-" + b"aB3d" * 8]), "secret"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED)
@pytest.mark.filterwarnings("ignore:metadata on a dtype:UserWarning")
def test_what_would_not_come_back_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(ValueNotSaved, match=reason) as refused:
        plain_codec().encode({"x": [value]})
    assert refused.value.where == "output['x'][0]"


def test_damaged_arrays_are_refused() -> None:
    encoded = plain_codec().encode(np.arange(300))
    (data,) = encoded.blobs.values()
    tree = json.loads(encoded.body)
    for place in range(200):
        for byte in (0, 255, data[place] ^ 1):
            damaged = data[:place] + bytes([byte]) + data[place + 1 :]
            try:
                plain_codec().decode(tree, given(damaged))
            except ValueNotRead:
                continue
    for cut in (0, 5, 100, len(data) - 1):
        with pytest.raises(ValueNotRead):
            plain_codec().decode(tree | {"size": cut}, given(data[:cut]))


def test_an_array_of_objects_is_not_read_from_bytes() -> None:
    tree = json.loads(plain_codec().encode(np.arange(3)).body)
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }"
    data = b"\x93NUMPY\x02\x00" + (len(header)).to_bytes(4, "little") + header + b"\0" * 24
    tree.pop("v")
    with pytest.raises(ValueNotRead, match="objects"):
        plain_codec().decode({**tree, "blob": "00", "size": len(data)}, lambda digest: data)


def test_reading_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = plain_codec().encode(np.arange(3))
    monkeypatch.setattr("flujo_nb.engine.store.codec_tables.import_module", _not_installed)
    with pytest.raises(ValueNotRead, match="'numpy' is not installed here: install it"):
        read(plain_codec(), encoded)
    with pytest.raises(ValueNotSaved, match="needs numpy: install it"):
        plain_codec().encode(np.arange(3))


def _not_installed(name: str) -> None:
    raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
