"""Notebook workflows on immutable execution frames: ``%load_ext flujo_nb``."""

from __future__ import annotations

from pathlib import Path

# In a source checkout `engine/` and `widgets/` lie beside this package, not inside it.
if not (Path(__file__).parent / "engine").is_dir():
    __path__.append(str(Path(__file__).parent.parent))
