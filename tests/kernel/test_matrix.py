"""The front on old and new versions of ipykernel and IPython; ``make matrix`` tries every pair."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.harness import Kernel
from tests.kernel.matrix import TRIED, Pair, kernel_of, never_awaited
from tests.kernel.scenarios import IN_ITS_OWN_KERNEL, IN_ONE_KERNEL, prepared


@pytest.fixture(scope="module", params=TRIED, ids=[pair.name for pair in TRIED])
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of a pair's environment."""
    pair = request.param
    assert isinstance(pair, Pair)
    return pair.ready()


@pytest.fixture(scope="module")
def loaded(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel of the pair with the extension and the steps, for many scenarios."""
    with kernel_of(python, tmp_path_factory.mktemp("matrix")) as kernel:
        yield prepared(kernel)


@pytest.mark.parametrize("name", IN_ITS_OWN_KERNEL)
def test_in_its_own_kernel(python: Path, tmp_path: Path, name: str) -> None:
    scenario, options = IN_ITS_OWN_KERNEL[name]
    with kernel_of(python, tmp_path, *options) as kernel:
        scenario(kernel)


@pytest.mark.parametrize("name", IN_ONE_KERNEL)
def test_in_one_kernel(loaded: Kernel, name: str) -> None:
    IN_ONE_KERNEL[name](loaded)
    assert never_awaited(loaded) == []
