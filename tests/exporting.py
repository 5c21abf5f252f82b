"""A module that a notebook exports, and what it gives: by its command line, and imported."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from pydantic_core import to_jsonable_python

from tests.notebook import Notebook

ROOT = Path(__file__).parent.parent


def exported(notebook: Notebook, *cells: str, name: str = "") -> str:
    """Run cells, and export HEAD's line, or ``name``; the text of the module."""
    for cell in cells:
        notebook.value(cell)
    notebook.view(f"%flujo export py pipeline.py {name}")
    return Path("pipeline.py").read_text("utf-8")


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What Python does with the arguments; of this project it knows only the path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def by_command(data: object) -> object:
    """What ``python pipeline.py --input`` prints."""
    done = ran("pipeline.py", "--input", data if isinstance(data, str) else json.dumps(data))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)


def imported() -> ModuleType:
    """The module, imported anew."""
    spec = importlib.util.spec_from_file_location("exported_pipeline", "pipeline.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic and dataclasses look for it
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def as_json(value: object) -> object:
    return to_jsonable_python(value)
