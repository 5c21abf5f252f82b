"""How much memory values take."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from flujo_nb.sizes import Sizes, size_text


class Model(BaseModel):
    text: str


@dataclass
class Record:
    data: bytes


MB = 1_000_000
LARGE: dict[str, object] = {
    "a text": "x" * MB,
    "bytes": bytes(MB),
    "an array": np.zeros(MB // 8),
    "a part of an array": np.zeros(2 * MB // 8)[: MB // 8],
    "a table": pd.DataFrame({"a": np.zeros(MB // 8)}),
    "a list of texts": [str(n % 10) * 1000 for n in range(1000)],
    "a long list of numbers": [float(n) for n in range(MB // 32)],
    "a dict": {n: str(n % 10) * 1000 for n in range(1000)},
    "a model": Model(text="x" * MB),
    "a dataclass": Record(bytes(MB)),
    "a list in a list": [[["x" * MB]]],
}


@pytest.mark.parametrize("case", LARGE)
def test_a_megabyte_is_about_a_megabyte(case: str) -> None:
    size = Sizes().size_of(LARGE[case])
    assert 0.9 * MB <= size <= 1.6 * MB


def test_what_is_shared_counts_once() -> None:
    text = "x" * MB
    sizes = Sizes()
    assert sizes.size_of([text, text]) < 1.1 * MB
    assert sizes.size_of(text) == 0


def test_what_leads_back_to_itself_ends() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert Sizes().size_of(loop) == sys.getsizeof(loop)


def test_what_cannot_tell_its_size_has_some() -> None:
    class Strange:
        def __sizeof__(self) -> int:
            raise ValueError

        @property
        def nbytes(self) -> int:
            raise ValueError

    assert Sizes().size_of(Strange()) > 0


def test_a_container_that_cannot_be_looked_into_has_a_size_of_its_own() -> None:
    class Closed(dict[str, str]):
        def items(self) -> Any:
            raise ValueError("no")

    assert Sizes().size_of(Closed(a="b")) > 0


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (812, "812 B"), (1_234, "1.2 kB"), (34_000_000, "34 MB"), (2 * 10**9, "2.0 GB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size) == text
