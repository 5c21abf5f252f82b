"""How a command's run is carried out, beside where it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flujo_nb.engine.hooks import Hook
from flujo_nb.engine.outcomes import OnChunk
from flujo_nb.engine.usage import Quota, UsageLimits


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out.

    ``limits`` is a budget of its own, within the session's. Without ``uses_cache`` nothing that
    was kept before is looked up. ``in_background`` says that the user's cells go on beside it:
    HEAD stays where it is, and synchronous steps work in threads. ``hooks`` hear its events, and
    ``on_chunk`` gets the text of streaming steps; it is what makes them stream. ``on_quota`` gets
    the run's budget before anything is spent of it.
    """

    limits: UsageLimits | None = None
    uses_cache: bool = True
    in_background: bool = False
    hooks: tuple[Hook, ...] = ()
    on_chunk: OnChunk | None = None
    on_quota: Callable[[Quota], None] | None = None


PLAIN = RunOptions()
