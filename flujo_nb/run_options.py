"""How a command's run is carried out, beside where it starts."""

from __future__ import annotations

from dataclasses import dataclass

from flujo_nb.engine.hooks import Hook
from flujo_nb.engine.outcomes import OnChunk
from flujo_nb.engine.usage import UsageLimits


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out.

    ``limits`` is a budget of its own, within the session's. Without ``uses_cache`` nothing that
    was kept before is looked up. With ``moves_head=False`` HEAD stays where it is. ``hooks`` hear
    its events, and ``on_chunk`` gets the text of streaming steps; it is what makes them stream.
    """

    limits: UsageLimits | None = None
    uses_cache: bool = True
    moves_head: bool = True
    hooks: tuple[Hook, ...] = ()
    on_chunk: OnChunk | None = None


PLAIN = RunOptions()
