"""A look at the file of a store that may be damaged: nothing is written to it or beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileLook:
    """What a file is worth: how many runs and rows can be read, and the first fault."""

    runs: int
    rows: int
    fault: str | None


def look_at(path: Path) -> FileLook:
    """What can be read of the store at ``path``. Never raises for what is in the file.

    The file is read as it lies there; what another process has not yet brought into it from the
    write-ahead log is not seen.
    """
    faults: list[str] = []
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        ) as file:
            for (said,) in _readable(file, "pragma quick_check(1)", faults):
                faults += [] if said == "ok" else [str(said)]
            runs = sum(1 for _ in _readable(file, "select id from run", faults))
            rows = sum(1 for _ in _readable(file, "select id, body from entry", faults))
    except sqlite3.Error as error:
        return FileLook(0, 0, str(error))
    return FileLook(runs, rows, faults[0] if faults else None)


def _readable(
    file: sqlite3.Connection, statement: str, faults: list[str]
) -> Iterator[tuple[object, ...]]:
    """The rows that come before the first fault, which goes to ``faults``."""
    try:
        yield from file.execute(statement)
    except sqlite3.Error as error:
        faults.append(str(error))
