"""How each command is called in the session that `tests.full_session` fills.

Every command has its cells here, and every option stands in one of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from flujo_nb.html import without_controls
from tests.full_session import FILLING, fill
from tests.notebook import Notebook
from tests.shown import Shown, shown_by

TYPED = "TYPED"
"""Stands for the session's text, as far as a command line can hold it."""

JSON = "JSON"
"""Stands for it as JSON."""

EVERY_FRAME = "from IPython.display import display\ndisplay(*flujo.frames.values())"
INSIDE = (
    "session = flujo._front.session\n"
    "whole = [one.record for one in session.entries]\n"
    "inside = [child for one in whole for child in session.all_inside(one)]\n"
    "display(*(flujo.frames[one.id] for one in inside))"
)
WRITTEN = (
    "from pathlib import Path\n"
    "from IPython.display import HTML\n"
    "print(Path('a.json').read_text())\n"
    "display(HTML(Path('a.html').read_text()))"
)

CALLS: Mapping[str, Sequence[str]] = {
    "status": ("flujo", "%flujo status", f"%flujo status {TYPED}"),
    "frames": ("%flujo frames", "%flujo frames --before f9", f"%flujo frames {TYPED}"),
    "show": ("%flujo show", EVERY_FRAME, INSIDE, f"%flujo show {TYPED}", f"%flujo show f1/{TYPED}"),
    "steps": ("%flujo steps",),
    "doctor": ("%flujo doctor",),
    "help": ("%flujo help", f"%flujo help {TYPED}", f"%flujo {TYPED}"),
    "why": (
        *("%flujo why", "%flujo why f2", "%flujo why f5", "%flujo why f11", "%flujo why f13"),
        f"%flujo why {TYPED}",
    ),
    "diff": (
        *("%flujo diff f0 f1", "%flujo diff f0 f6", "%flujo diff f4 f10", "%flujo diff f11 f12"),
        *(
            "%flujo diff f14 f15",
            "%flujo diff f16 f17",
            "%flujo diff f18 f0",
            "%flujo diff f19 f20",
        ),
        *(
            "%flujo diff f23 f24",
            "%flujo diff f26 f29",
            "%flujo diff f27 f30",
            "%flujo diff f28 f13",
        ),
        f"%flujo diff f0 {TYPED}",
    ),
    "graph": ("%flujo graph", "%flujo graph --mermaid", f"%flujo graph {TYPED}"),
    "replay": ("%flujo replay f1", "%flujo replay f11 --strict", f"%flujo replay {TYPED}"),
    "cache": ("%flujo cache", "%flujo cache clear", f"%flujo cache {TYPED}"),
    "load": ("%flujo load careless", f"%flujo load {TYPED}"),
    "put": ("%flujo put f0 found", "%flujo put f6 found", f"%flujo put f0 {TYPED}"),
    "check": (
        "%%flujo check f0\nframe.status == 'completed'",
        "%%flujo check f0\nframe.output == text",
        "%%flujo check f0\nframe.output[name][text]",
        f"%%flujo check {TYPED}\nTrue",
        f"%%flujo check f0\n{TYPED}",
    ),
    "export": (
        *("%flujo export json a.json", "%flujo export html a.html", WRITTEN),
        *("%flujo export json a.json", "%flujo export json a.json f1 --force"),
        *("%flujo export py a.py", "%flujo export py b.py careless"),
        f"%flujo export py {TYPED}.py",
        f"%flujo export json {TYPED}.json",
        f"%flujo export html {TYPED}.html",
    ),
    "session": (
        "%flujo session",
        "%flujo session list",
        f"%flujo session list {TYPED}",
        f"%flujo session use {TYPED}",
        "%flujo session use another",
        f"%flujo session --context {TYPED}",
        f"%flujo session --init {TYPED}",
        "%flujo session --init text",
        "%flujo session --init {'key':text}",
        f"%flujo session --resources {TYPED}",
        "%flujo session --resources values",
        "%flujo session --max-concurrency 3",
        f"%flujo session --max-concurrency {TYPED}",
    ),
    "budget": ("%flujo budget", "%flujo budget tokens=9999999 cost=9", f"%flujo budget {TYPED}"),
    "run": (
        "%flujo run plain -i text",
        "%flujo run careless -i text",
        "%flujo run careless --on-head",
        "%flujo run plain --from f0 --live",
        "%flujo run plain >> careless --until plain -i text",
        "%flujo run plain >> careless --only careless -i text",
        "%flujo run noting -i text --budget tokens=1",
        "%flujo run unkeyed -i text --no-cache",
        "%flujo run plain -i text --bg",
        f"%flujo run plain -i text --as '{TYPED}'",
        f"%flujo run plain -i text --budget {TYPED}",
        f"%flujo run plain -i text --only {TYPED}",
        f"%flujo run {TYPED}",
        f"%flujo run plain >> {TYPED}",
        f"%flujo run plain -i {TYPED}",
        f"%flujo run plain -i [text,{TYPED}]",
        "%flujo run plain -i values[0]+1",
        "%flujo run plain -i careless(text)",
        f"%flujo run plain --from {TYPED}",
    ),
    "step": (
        "%%flujo step typed --no-run\ndef typed(x):\n    return [x]",
        "%%flujo step typed -i text --no-cache\ndef typed(x):\n    return [x]",
        "%%flujo step typed --from f0 --live\ndef typed(x):\n    return [x]",
        "%%flujo step typed --on-head --budget tokens=9\ndef typed(x):\n    raise Broken(x, text)",
        f"%%flujo step typed\n{TYPED} is no Python",
        f"%%flujo step {TYPED}\ndef typed(x):\n    return [x]",
        "%%flujo step\nodd",
    ),
    "pipeline": (
        "%%flujo pipeline both --no-run\nplain >> named",
        "%%flujo pipeline both -i text --live\nplain >> named",
        "%%flujo pipeline both --from f0 --budget tokens=9\nplain >> careless",
        "%%flujo pipeline both --on-head --no-cache\nplain >> named",
        "%%flujo pipeline\nodd",
        f"%%flujo pipeline {TYPED}\nplain >> named",
    ),
    "agent": (
        "%%flujo agent writer --model model -i text --retries 1 --no-cache\nSum up {{ data }}",
        "%%flujo agent writer --model test --on-head --no-run\nSum up {{ data }}",
        "%%flujo agent writer --model model --out Answer --from f0 --budget tokens=1\nSum up",
        f"%%flujo agent writer --model {TYPED}\nSum up",
        f"%%flujo agent writer --model model --out {TYPED}\nSum up",
        f"%%flujo agent writer --model model\nSum up {TYPED} {{{{ data.missing }}}}",
    ),
    "hitl": (
        "%%flujo hitl judge --schema Answer -i text\nIs {{ data }} right?",
        "%%flujo hitl judge --on-head --no-run\nIs {{ data }} right?",
        "%%flujo hitl judge --from f0\nIs {{ context.key }} right?",
        f"%%flujo hitl judge --schema {TYPED}\nIs it right?",
        f"%%flujo hitl judge -i text\nIs {TYPED} right?",
    ),
    "fork": (
        f"%flujo fork f0 --as '{TYPED}'",
        "await flujo.fork('f0', name)",
        "first = flujo._front.session.children(flujo._front.session.record('f1'))[0]\n"
        "await flujo.fork(first.id)",
        "await flujo.fork('f10')",
        f"%flujo fork {TYPED}",
    ),
    "patch": (
        f'%%flujo patch f0\n{{"output": {{"added": {JSON}}}}}',
        f'%%flujo patch f0\n{{"output": {{{JSON}: 1}}}}',
        f'%%flujo patch f0\n{{"context": {{"key": {{"added": {JSON}}}}}}}',
        f'%%flujo patch f0\n{{"context": {{{JSON}: 1}}}}',
        f'%%flujo patch f7\n{{"output": {JSON}}}',
        f"%%flujo patch f0\n{TYPED}",
        f'%%flujo patch {TYPED}\n{{"output": 1}}',
    ),
    "resume": (
        "%flujo resume f11",
        "%flujo resume f10 --keep --budget tokens=99",
        "%flujo resume f13",
        "%flujo resume f13 --with text",
        f"%flujo resume f13 --with {TYPED}",
        f"%%flujo resume f13\n{TYPED}",
        "%flujo resume f13 --with {field:text}",
        f"%flujo resume {TYPED}",
    ),
    "pause": ("%flujo pause", f"%flujo pause {TYPED}"),
    "cancel": ("%flujo cancel", f"%flujo cancel {TYPED}"),
    "back": ("%flujo back f0", "%flujo back f11", f"%flujo back {TYPED}"),
    "stale": ("%%flujo step --no-run\nedited", "%flujo stale", "%flujo frames", "%flujo show f0"),
}
"""In this order: what changes much comes late."""

AFTER_A_RESTART = (
    *("%flujo", "%flujo frames", EVERY_FRAME, INSIDE, "%flujo why f10", "%flujo stale"),
    *("%flujo session", "%flujo session list", "%flujo session use other", "%flujo doctor"),
    *("%flujo export html a.html --force", "%flujo export json a.json --force", WRITTEN),
    *("%flujo replay f1", "%flujo back f0", "%flujo resume f13", "%flujo session new"),
)
"""What is looked at when a kernel has restored a session."""

VARYING = CALLS["diff"]
"""How many lines and columns these show depends on how long a text is, and what it is like."""

SHARES = 5
_IN_EACH = ("status", "frames", "show")


def cells(share: int | None = None) -> Sequence[str]:
    """The cells that a session is filled with, then those of its commands; `TYPED` ones last.

    A ``share`` (a number below `SHARES`) leaves out most commands: all shares have them all.
    """
    names = [
        name
        for number, name in enumerate(CALLS)
        if share is None or number % SHARES == share or name in _IN_EACH
    ]
    called = [cell for name in names for cell in CALLS[name]]
    return *FILLING, *sorted(called, key=lambda cell: TYPED in cell)


def all_shown(
    notebook: Notebook, text: str, name: str | None = None, share: int | None = None
) -> Iterator[Shown]:
    """What `cells` show of a session that is full of ``text``; ``name`` as for `fill`."""
    fill(notebook, text, name)
    line = " ".join(without_controls(text).split())
    # It names nothing. A key of several lines is nothing that stands on a command line.
    typed = "harmless!" if line.startswith("-----BEGIN ") else f"{line}!"
    for cell in cells(share):
        shown = shown_by(notebook, cell.replace(TYPED, typed).replace(JSON, json.dumps(text)))
        yield replace(shown, cell=cell)
