"""A notebook full of secrets, executed by ``flujo-nb run``: nothing that it leaves holds one.

The secrets come from a module: what stands in a cell, and what it prints, is the user's own.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from flujo_nb.cli import main
from flujo_nb.exit_codes import PASSED
from tests.commands_table import CALLS, EVERY_FRAME, JSON, TYPED
from tests.full_session import FILLING
from tests.planted import SECRETS, found_in

BEGINNING = (
    "%load_ext flujo_nb",
    "from tests.full_session import names_full_of\nfrom tests.planted import SECRETS",
)
SHOWING = (
    *("%flujo", "%flujo frames", EVERY_FRAME, "%flujo why f11", "%flujo diff f0 f1"),
    *(
        cell
        for name in ("run", "agent", "hitl", "step", "resume")
        for cell in CALLS[name]
        if TYPED not in cell and JSON not in cell
    ),
)


def test_what_is_left_of_a_notebook_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("FLUJO_STORE", "auto")
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    cells = [*BEGINNING]
    for number in range(len(SECRETS)):
        names = f"globals().update(names_full_of(SECRETS[{number}], 'thing {number}'))"
        cells += ["%flujo session new", names, *FILLING, *SHOWING]
    path, out = tmp_path / "full.ipynb", tmp_path / "out"
    metadata = {"tags": ["raises-exception", "report"]}
    made = [
        new_code_cell(cell, metadata=metadata)  # type: ignore[no-untyped-call]
        for cell in cells
    ]
    notebook = new_notebook(cells=made)  # type: ignore[no-untyped-call]
    nbformat.write(notebook, path)  # type: ignore[no-untyped-call]

    assert main(["run", str(path), "--output", str(out), "--html"]) == PASSED
    printed = capfd.readouterr()
    left = [one for one in tmp_path.rglob("*") if one.is_file() and one != path]
    assert {one.suffix for one in left} >= {".ipynb", ".html", ".db"}
    assert printed.out.count("withheld") > 20 * len(SECRETS)
    told = [(one.name, one.read_bytes()) for one in left]
    told.append(("printed", (printed.out + printed.err).encode()))
    found = {(name, found_in(data, one)) for name, data in told for one in SECRETS}
    assert {(name, where) for name, where in found if where is not None} == set()
