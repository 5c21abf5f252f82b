"""Reserve → execute → reconcile, for every attempt of every leaf."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import UsageLimitExceededError
from .frame import AnyFrame
from .usage import FREE, Meter, Usage


class QuotaManager:
    """Books attempts on the quota that their frame carries."""

    @contextmanager
    def attempt(self, frame: AnyFrame, estimate: Usage = FREE) -> Iterator[Meter]:
        """Reserve ``estimate`` for the block; book ``used`` when it ends, however it ends.

        An attempt that ends without saying what it used gives everything back.
        Raises `UsageLimitExceededError`, and nothing is reserved, when the estimate does not fit.
        """
        refused = frame.quota.reserve(estimate)
        if refused is not None:
            raise UsageLimitExceededError(f"{refused.reason} (at {frame.path})")
        attempt, in_flight = Meter(), frame.quota.in_flight
        if in_flight is not None:
            in_flight.add(attempt)
        try:
            yield attempt
        finally:
            if in_flight is not None:
                in_flight.discard(attempt)
            frame.quota.reconcile(estimate, attempt.used)
