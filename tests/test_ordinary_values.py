"""What notebooks hold, as outputs: no red cell, an honest card, nothing saved comes back changed.

Each value is made in one kernel and asked for in the next one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.error import UsageError

from flujo_nb.engine.values import exactly_equal
from tests.durable import Open, opener

SETUP = """\
import collections, dataclasses, datetime, decimal, enum, fractions, io, pathlib, re, sqlite3, uuid
import numpy as np
import pandas as pd
from pydantic import BaseModel, SecretStr

class Invoice(BaseModel):
    total: decimal.Decimal
    parts: dict[str, list[int]] = {}

@dataclasses.dataclass
class Point:
    x: int
    y: float

class Colour(enum.Enum):
    RED = 1

class Model:
    def predict(self, x):
        return x

Pair = collections.namedtuple("Pair", "one two")
"""

SAVED = {
    "texts": "'\\x00 \\ud800 é'",
    "numbers": "[1, True, 2**80, -0.0, float('inf'), 1j, decimal.Decimal('1.10')]",
    "containers": "{'a': (1, {2}), 3: frozenset([b'x']), (1, 2): bytearray(b'y')}",
    "times": "[datetime.datetime(2025, 1, 2, tzinfo=datetime.timezone.utc), datetime.timedelta(1)]",
    "a model": "Invoice(total='1.50', parts={'a': [1]})",
    "a dataclass": "Point(1, 2.0)",
    "an enum": "[Colour.RED]",
    "a named tuple": "Pair(1, [2])",
    "an array": "np.arange(6, dtype='int8').reshape(2, 3)",
    "a table": "pd.DataFrame({'a': [1, 2], 'b': ['x', None], 'c': [0.5, float('nan')]})",
}
EITHER = {
    "a table of several types": "pd.DataFrame({'a': [1, 'x', 2.5, None]})",
    "a table of lists": "pd.DataFrame({'a': [[1, 2], [3]]})",
    "categories": "pd.DataFrame({'a': pd.Categorical(['x', 'y', 'x'], ordered=True)})",
    "intervals": "pd.DataFrame({'a': pd.cut([1, 5, 9], 3)})",
    "an index of dates": "pd.Series([1, 2], index=pd.date_range('2025', periods=2, tz='UTC'))",
    "columns of several levels": "pd.DataFrame([[1, 2]], columns=[['a', 'a'], ['b', 'c']])",
    "columns that are numbers": "pd.DataFrame({0: [1], 1: [2]})",
    "an empty table": "pd.DataFrame()",
    "a structured array": "np.array([(1, 'x')], dtype=[('a', 'i4'), ('b', 'U3')])",
    "an array of objects": "np.array([1, 'x', None], dtype=object)",
    "a part of an array": "np.arange(10)[::2]",
    "a number of numpy's": "np.float32(1.5)",
    "a path": "pathlib.Path('a')",
    "a pattern": "re.compile('a+')",
    "an id": "uuid.UUID(int=1)",
    "a fraction": "fractions.Fraction(1, 3)",
    "counts": "collections.Counter('abca')",
    "a queue": "collections.deque([1], maxlen=2)",
}
LIVE = {
    "a connection": "sqlite3.connect(':memory:')",
    "a lambda": "(lambda x: x)",
    "a fitted model": "{'model': Model(), 'score': 0.9}",
    "a generator": "iter([1])",
    "an open file": "io.StringIO('x')",
    "a key": "'sk-proj-' + 'a1B2c3D4' * 6",
}
STEP = "%%flujo step made\ndef made():\n    return {0}"


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    return opener(tmp_path, monkeypatch)


def same(one: object, other: object) -> bool:
    """Whether two values are equal, all the way down and of the same types."""
    if hasattr(one, "equals"):
        alike = type(one) is type(other) and bool(one.equals(other))
        return alike and repr(one) == repr(other) and _types(one) == _types(other)
    if hasattr(one, "dtype"):
        return type(one) is type(other) and repr(one) == repr(other)
    return exactly_equal(one, other)


def _types(table: object) -> str:
    found = getattr(table, "dtypes", None)
    return f"{found} {getattr(table, 'index', None)!r} {getattr(table, 'columns', None)!r}"


@pytest.mark.parametrize("case", [*SAVED, *EITHER, *LIVE])
def test_what_a_cell_gives(kernels: Open, case: str) -> None:
    code = {**SAVED, **EITHER, **LIVE}[case]
    with kernels() as notebook:
        notebook.value(SETUP)
        card = notebook.card(STEP.format(code))
        is_saved = not card._json["live_only"]
        assert is_saved or case not in SAVED, repr(card)
        assert not is_saved or case not in LIVE, repr(card)
        assert is_saved or "is not saved: " in repr(card)
        assert notebook.card("%%flujo step after\ndef after(x):\n    return 1").output == 1
    with kernels() as notebook:
        notebook.value(SETUP)
        if is_saved:
            again = notebook.card("%flujo back f0").output
            assert same(notebook.value(code), again), f"{again!r} came back"
        else:
            assert "not here" in repr(notebook.card("%flujo show f0"))
            error = notebook.error("%flujo back f0")
            assert isinstance(error, UsageError) and "%%flujo step made" in str(error)
        assert notebook.card("%flujo back f1").output == 1


def test_a_figure_is_live_only(kernels: Open) -> None:
    pytest.importorskip("matplotlib")
    with kernels() as notebook:
        card = notebook.card(STEP.format("__import__('matplotlib.figure').figure.Figure()"))
        assert "(Figure) is not saved" in repr(card)
