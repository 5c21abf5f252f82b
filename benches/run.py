"""Run all benchmarks and print one table. ``--json FILE`` writes the figures too."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # run as a script, from anywhere

from benches.cells import cell_figures  # noqa: E402
from benches.containers import (  # noqa: E402
    beside_figures,
    collected_figures,
    container_figures,
    growth_figures,
    memory_figures,
    sleeping_figures,
)
from benches.durable import commit_figures, durable_figures  # noqa: E402
from benches.engine import context_figures, one_step_figures, sequence_figures  # noqa: E402
from benches.harness import Figure, WrongResult, table  # noqa: E402
from benches.processes import import_figures, load_figures  # noqa: E402

BENCHES: Sequence[Callable[[], Sequence[Figure]]] = (
    one_step_figures,
    sequence_figures,
    container_figures,
    sleeping_figures,
    growth_figures,
    collected_figures,
    context_figures,
    beside_figures,
    memory_figures,
    commit_figures,
    durable_figures,
    import_figures,
    load_figures,
    cell_figures,
)


def as_json(figures: Sequence[Figure], machine: str) -> str:
    """The figures for other programs."""
    rows = [{**asdict(figure), "holds": figure.holds} for figure in figures]
    return json.dumps({"machine": machine, "figures": rows}, indent=2) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and say by the exit code whether everything did its work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    chosen = parser.parse_args(arguments)
    machine = f"{platform.python_implementation()} {platform.python_version()}, "
    machine += f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    started = monotonic()
    figures: list[Figure] = []
    try:
        for bench in BENCHES:
            figures += bench()
    except WrongResult as wrong:
        print(f"A benchmark did not do its work, so it has no figure: {wrong}", file=sys.stderr)
        return 1
    print(table(figures))
    missed = sum(figure.holds is False for figure in figures)
    print(f"\n{machine}; {monotonic() - started:.0f} s; goals missed: {missed}")
    if chosen.json is not None:
        chosen.json.write_text(as_json(figures, machine), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
