"""What cells return every day: saved and the same, or refused with a reason; never changed."""

from __future__ import annotations

import re
import socket
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import requests
from matplotlib.figure import Figure
from pydantic import BaseModel
from sklearn.linear_model import LogisticRegression

from flujo_nb.engine.errors import ValueNotSaved
from flujo_nb.engine.store.codec_tables import CODECS
from tests.engine.coding import again, plain_codec

mpl.use("agg")


class Report(BaseModel, arbitrary_types_allowed=True):
    table: pd.DataFrame
    model: object = None


def fitted() -> LogisticRegression:
    return LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])


def opened() -> Iterator[Any]:
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        socket.socket() as plug,
        tempfile.TemporaryFile() as file,
    ):
        yield from (connection, connection.cursor(), plug, file)


REFUSED: dict[str, Any] = {
    "figure": Figure,
    "model": fitted,
    "lambda": lambda: lambda x: x,
    "generator": lambda: (x for x in "ab"),
    "response": requests.Response,
    "client": requests.Session,
    "thread": threading.Thread,
    "match": lambda: re.match("a", "a"),
    "module": lambda: np,
    "exception": lambda: ValueError("x"),
    "iterator": lambda: iter([1]),
    "generator of numbers": np.random.default_rng,
    "matrix": lambda: np.asmatrix([[1]]),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_what_is_no_data_is_refused_where_it_stands(name: str) -> None:
    value = REFUSED[name]()
    for placed, where in (
        (value, "output"),
        ({"model": [value]}, "output['model'][0]"),
        (Report(table=pd.DataFrame(), model=value), "output.model"),
    ):
        with pytest.raises(ValueNotSaved) as refused:
            plain_codec().encode(placed)
        assert refused.value.where == where
        assert refused.value.kind == type(value).__qualname__
        assert len(refused.value.reason) > 15


def test_what_is_open_is_refused() -> None:
    for value in opened():
        with pytest.raises(ValueNotSaved, match="no codec knows it"):
            plain_codec().encode(value)


def test_a_report_with_a_table_comes_back() -> None:
    report = Report(table=pd.DataFrame({"a": [1, None, 3], "b": list("xyz")}), model=[1])
    back = again(report)
    assert type(back) is Report
    assert (back.model, back.model_fields_set) == ([1], {"table", "model"})
    pd.testing.assert_frame_equal(back.table, report.table)


def test_the_codecs_of_libraries_are_known() -> None:
    assert CODECS.keys() >= {"numpy", "pandas", "polars", "pyarrow"}
