"""What all tests share: marks by folder, the heap between modules, a notebook without a kernel."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cold import IS_COLD, chill
from tests.notebook import Notebook, fresh_notebook

HERE = Path(__file__).parent
# Sessions of tests are kept in memory, also in the kernels that tests start, unless one says else.
os.environ["FLUJO_STORE"] = "off"
MARKED = {
    "kernel": (HERE / "kernel", HERE / "notebooks"),
    "thorough": (HERE / "properties", HERE / "slices", HERE / "adapters"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark, folders in MARKED.items():
            if any(item.path.is_relative_to(folder) for folder in folders):
                item.add_marker(mark)


@pytest.fixture(scope="module", autouse=True)
def _what_was_imported_is_no_garbage() -> None:
    """Keep what there is before a module's tests out of every later garbage collection.

    IPython collects whenever a shell ends, which hundreds of tests do: walking through all that
    was ever imported each time took longer than the tests.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=IS_COLD)
def _cold(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In cold mode every test is, unless it says why it cannot."""
    if request.node.get_closest_marker("warm") is None:
        chill(monkeypatch)


def pytest_report_collectionfinish(items: list[pytest.Item]) -> list[str]:
    """How many tests cannot be run cold, and why."""
    if not IS_COLD:
        return []
    reasons = Counter(
        str(mark.args[0]) for item in items if (mark := item.get_closest_marker("warm"))
    )
    told = [f"  {count} {reason}" for reason, count in sorted(reasons.items())]
    return [f"cold mode: {reasons.total()} of {len(items)} tests are warm", *told]


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """A notebook without a kernel, with the extension loaded."""
    with fresh_notebook() as one:
        yield one
