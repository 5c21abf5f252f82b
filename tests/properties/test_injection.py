"""Whatever is typed into a command, an option or a body that is data: it stays data.

What a shell did is heard in a process of its own; what is fed to it stands in
``audited_commands.py``, and goes over all commands that there are.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flujo_nb.commands import COMMANDS
from tests.house.tree import ROOT
from tests.notebook import Notebook

FEWEST = 1_000
OUTSIDE = "{__import__('canary')}"


def test_no_payload_is_evaluated_expanded_or_written_anywhere(
    request: pytest.FixtureRequest,
) -> None:
    program = [sys.executable, "-m", "tests.properties.audited_commands"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    told = re.fullmatch(r"(\d+) payloads, and nothing was evaluated\n", done.stdout)
    assert told is not None, done.stdout
    assert int(told[1]) >= FEWEST
    request.node.user_properties.append(("payloads", told[1]))


REFUSED = (
    *(f"agent made --out {OUTSIDE}", f"agent made --model {OUTSIDE}", "agent made --out list[3x]"),
    *("agent made --out class", "agent made --retries x", f"hitl made --schema {OUTSIDE}"),
)


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("is_first", [True, False])
def test_what_a_cell_was_refused_for_is_in_no_exported_module(
    notebook: Notebook,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
    is_first: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook.run(COMMANDS["step"].example)
    kind = refused.partition(" ")[0]
    option = "--model test" if kind == "agent" else "--schema str"
    cells = [f"%%flujo {refused}", f"%%flujo {kind} made {option} --no-run"]
    for head in cells if is_first else reversed(cells):
        notebook.run(f"{head}\nSum up: {{{{ data }}}}")
    notebook.view("%flujo export py made.py made")
    text = (tmp_path / "made.py").read_text()
    assert "Sum up" in text
    assert not any(one in text for one in ("canary", "3x", "class"))
