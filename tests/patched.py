"""Frames to be patched: steps, a notebook that may get a new kernel, and the command."""

from __future__ import annotations

import json

from flujo_nb.display import FrameCard
from tests.notebook import Notebook

STEPS = """\
import threading
from pydantic import BaseModel
from flujo_nb import Step, step

ran = []

class Draft(BaseModel):
    text: str
    tone: str = "dry"

class Ctx(BaseModel):
    total: int = 0
    names: list[str] = []

@step
def write(topic: str) -> Draft:
    ran.append(f"write {topic}")
    return Draft(text=topic)

@step
def shout(draft: Draft) -> Draft:
    ran.append(f"shout {draft.text}")
    return Draft(text=draft.text.upper(), tone=draft.tone)

@step
def count(draft: Draft, context: Ctx) -> int:
    ran.append(f"count {draft.text} {draft.tone}")
    context.total += len(draft.text)
    context.names.append(draft.text)
    return context.total

@step
def up(n: int) -> int:
    ran.append(f"up {n}")
    return n + 1

@step
def two(n: int) -> int:
    ran.append(f"two {n}")
    return 2 * n

@step
def odd(n: int) -> int:
    ran.append(f"odd {n}")
    if n % 2 == 0 and fails:
        raise ValueError(f"{n} is even")
    return n

@step
def locked(n: int) -> dict:
    ran.append(f"locked {n}")
    return {"n": n, "lock": threading.Lock()}

@step
def client(n: int) -> object:
    return threading.Lock()

@step
def unlocked(held: dict) -> int:
    ran.append(f"unlocked {held['n']}")
    return held["n"]

fails = True
ask = Step.human_in_the_loop("ask", message_for_user="Publish?", input_schema=bool)
loop = Step.loop_until("loop", up >> two, lambda n: n > 20, max_loops=9)
both = Step.parallel("both", {"a": up >> two, "b": two >> up})
each = Step.map_over("each", up >> two)
cached = Step.cached(two)
behind = Step.from_callable(lambda n: n, name="behind", execution_mode="background")
"""
EITHER = """\
coin = ["a", "b"]
either = Step.branch_on(
    "either", condition_callable=lambda n: coin.pop(0), branches={"a": up, "b": two}
)
"""
STOPPING = """\
stops = []

@step
def stop(n: int) -> int:
    ran.append(f"stop {n}")
    if n in stops:
        raise KeyboardInterrupt
    return n

halting = Step.loop_until("halting", two >> stop >> two, lambda n: n > 40, max_loops=9)
"""
CELLS = [STEPS, "%flujo session --context Ctx"]
LINE = "%flujo run write >> shout >> count -i 'tea'"


def patch(notebook: Notebook, frame: str, **changes: object) -> FrameCard:
    """The card of a frame with another ``output``, ``data`` or ``context``."""
    return notebook.card(f"%%flujo patch {frame}\n{json.dumps(changes)}")
