"""``%flujo cache``: what the session keeps of cached steps, and forgetting it."""

from __future__ import annotations

from collections.abc import Iterator

from flujo_nb.command_line import Parsed
from flujo_nb.display import View, table_view
from flujo_nb.engine.step_kinds import CacheStep
from flujo_nb.engine.steps import name_of
from flujo_nb.errors import unknown
from flujo_nb.front import Front
from flujo_nb.session import Session
from flujo_nb.targets import all_nodes
from flujo_nb.widgets.previews import FEEDBACK, clipped

from .command import Command, only_word

_WORDS = ("clear",)


async def cache(front: Front, parsed: Parsed, body: str) -> View:
    """Show what the session keeps of cached steps; or forget it."""
    word, session = only_word(parsed), front.session
    if word is not None and word not in _WORDS:
        raise unknown("word of cache", word, _WORDS)
    count = len(session.cached)
    kept = f"{count} result{'' if count == 1 else 's'} of cached steps"
    if word is not None:
        session.cached.clear()
        return table_view(f"forgot {kept}", ("", ""), list(_not_here(session)), ("%flujo steps",))
    hits = session.cached.hits
    rows = [("given", f"{hits} time{'' if hits == 1 else 's'}, instead of running a step")]
    here = [name for name, backend in _cached_steps(session) if backend is None]
    rows += [("steps", clipped(", ".join(here), FEEDBACK))] if here else []
    rows += _not_here(session)
    following = ("%flujo cache clear", "%flujo steps") if count else ("%flujo steps",)
    return table_view(f"{kept}, in memory", ("", ""), rows, following)


def _cached_steps(session: Session) -> Iterator[tuple[str, str | None]]:
    """The registered steps that are cached, each with the kind of its own cache if it has one."""
    every = (node for one in session.steps.values() for node in all_nodes(one.node))
    for node in dict.fromkeys(every):
        if isinstance(node, CacheStep):
            backend = node.cache_backend
            yield name_of(node), None if backend is None else type(backend).__name__


def _not_here(session: Session) -> Iterator[tuple[str, str]]:
    """Which steps keep their results elsewhere."""
    for name, backend in _cached_steps(session):
        if backend is not None:
            yield "not here", f"{name} has a cache of its own, a {backend}: clear leaves it alone"


CACHE = (
    Command(
        name="cache",
        summary="what the session keeps of cached steps; clear forgets it",
        usage="%flujo cache [clear]",
        example="%flujo cache",
        handler=cache,
        word="word",
        completes=("cache",),
        after=(),
    ),
)
