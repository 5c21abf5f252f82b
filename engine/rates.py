"""How often the attempts of a step may start: ``rate="60/min"``."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from .errors import ConfigurationError

_RATE = re.compile(r"([1-9]\d*)/(s|min|h)", re.ASCII)
_PERIODS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` starts within any ``period_s`` seconds."""

    count: int
    period_s: float


def rate_of(text: object, where: str) -> Rate:
    """The rate that ``text`` says. Raises `ConfigurationError`, which names ``where``."""
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ConfigurationError(
            f"{where}: a rate is a whole number per s, min or h, such as '60/min'; found {text!r}"
        )
    return Rate(int(found[1]), _PERIODS_S[found[2]])


class Pace:
    """When the next one may start. The first ``count`` may at once.

    After that a start waits until the one that is ``count`` before it is a whole period ago, so
    that no period has more, wherever one begins to count.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._starts: deque[float] = deque(maxlen=rate.count)

    def next_start(self, now: float) -> float:
        """The time of the next start, on the clock of ``now``; it counts as taken."""
        start = self.free_at(now)
        self._starts.append(start)
        return start

    def free_at(self, now: float) -> float:
        """When a start is possible, as things stand."""
        if len(self._starts) == self._rate.count:
            return max(now, self._starts[0] + self._rate.period_s)
        return now
