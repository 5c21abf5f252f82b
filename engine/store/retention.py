"""Which runs are removed: the oldest first, never one that is executed or was forked from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from ..errors import NoSuchRun, RunHeld, StoreError
from ..stores import Pruned, StoredRun


class RunForked(StoreError):
    """A run cannot be removed, because another one begins with its rows."""


async def prune(
    runs: Sequence[StoredRun],
    remove: Callable[[str], Awaitable[int]],
    used: Callable[[], int],
    older_than: float | None,
    down_to: int | None,
) -> Pruned:
    """Remove runs as `Store.prune` says; ``used`` tells how many bytes the store takes now."""
    forks = Counter(run.source.run_id for run in runs if run.source is not None)
    left = sorted(runs, key=lambda run: run.updated_at)
    gone: list[str] = []
    freed = 0
    while (oldest := next((run for run in left if not forks[run.run_id]), None)) is not None:
        is_old = older_than is not None and oldest.updated_at < older_than
        if not is_old and (down_to is None or used() <= down_to):
            break
        left.remove(oldest)
        try:
            freed += await remove(oldest.run_id)
        except (NoSuchRun, RunHeld, RunForked):
            continue  # another process was faster, or works on it
        gone.append(oldest.run_id)
        if oldest.source is not None:
            forks[oldest.source.run_id] -= 1
    return Pruned(tuple(gone), freed)
