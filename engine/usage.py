"""What steps cost, and the budget that they draw on.

Money is kept in whole micro-dollars, so that sums are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent: micro-dollars, tokens and requests to a model."""

    cost_micros: int = 0
    tokens: int = 0
    requests: int = 0

    @classmethod
    def of(cls, *, cost_usd: float = 0.0, tokens: int = 0, requests: int = 0) -> Usage:
        """Usage from dollars. Raises `ValueError` for NaN, infinite, negative or bool parts."""
        for name, part in (("cost_usd", cost_usd), ("tokens", tokens), ("requests", requests)):
            if isinstance(part, bool) or not math.isfinite(part) or part < 0:
                raise ValueError(f"{name} must be a finite number, zero or more; found {part!r}")
            if name != "cost_usd" and not isinstance(part, int):
                raise ValueError(f"{name} are counted whole; found {part!r}")
        return cls(round(cost_usd * MICROS), tokens, requests)

    @property
    def cost_usd(self) -> float:
        """The cost in dollars."""
        return self.cost_micros / MICROS

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.cost_micros + other.cost_micros,
            self.tokens + other.tokens,
            self.requests + other.requests,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.cost_micros - other.cost_micros,
            self.tokens - other.tokens,
            self.requests - other.requests,
        )

    def __bool__(self) -> bool:
        return bool(self.cost_micros or self.tokens or self.requests)


FREE = Usage()


class UsageEstimate(BaseModel):
    """What one attempt of a step is expected to use; reserved before the attempt."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    cost_usd: Annotated[float, Field(ge=0)] = 0.0
    tokens: Annotated[int, Field(ge=0)] = 0
    requests: Annotated[int, Field(ge=0)] = 0

    def usage(self) -> Usage:
        """The estimate in the units of a budget."""
        return Usage.of(cost_usd=self.cost_usd, tokens=self.tokens, requests=self.requests)


class UsageLimits(BaseModel):
    """How much a run may use; a limit that is ``None`` does not bound it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    total_cost_usd_limit: Annotated[float, Field(ge=0)] | None = None
    total_tokens_limit: Annotated[int, Field(ge=0)] | None = None
    total_requests_limit: Annotated[int, Field(ge=0)] | None = None


UNLIMITED = UsageLimits()


@dataclass(frozen=True, slots=True)
class Refused:
    """A reservation that does not fit."""

    reason: str


class Quota:
    """A budget: reserve before an attempt, reconcile after it.

    Reserved plus spent never exceeds the limit by a reservation; what an attempt used beyond its
    reservation is recorded as spent, and nothing is granted after that. A quota without limits
    grants everything and still counts. It belongs to one event loop and needs no lock, because
    neither operation awaits.
    """

    __slots__ = ("limits", "overdrawn", "reserved", "spent")

    def __init__(self, limits: UsageLimits | None = None) -> None:
        self.limits = limits or UNLIMITED
        self.reserved = FREE
        self.spent = FREE
        self.overdrawn = False

    def reserve(self, estimate: Usage) -> Refused | None:
        """Set ``estimate`` aside; `Refused` (and nothing set aside) when it does not fit."""
        if estimate is FREE and not self.overdrawn:
            return None
        over = self._first_exceeded(self.spent + self.reserved + estimate)
        if over is not None:
            return Refused(over)
        self.reserved += estimate
        return None

    def reconcile(self, estimate: Usage, used: Usage) -> None:
        """Give back what was reserved as ``estimate`` and book what was ``used``."""
        if estimate is FREE and used is FREE:
            return
        self.reserved -= estimate
        self.spent += used
        self.overdrawn = self._first_exceeded(self.spent + self.reserved) is not None

    def _first_exceeded(self, total: Usage) -> str | None:
        limits = self.limits
        cost = limits.total_cost_usd_limit
        if cost is not None and total.cost_micros > round(cost * MICROS):
            return f"Cost limit of ${cost:g} exceeded: ${total.cost_usd:g} would be used"
        for name, limit, amount in (
            ("Token", limits.total_tokens_limit, total.tokens),
            ("Request", limits.total_requests_limit, total.requests),
        ):
            if limit is not None and amount > limit:
                return f"{name} limit of {limit} exceeded: {amount} would be used"
        return None


@dataclass(frozen=True, slots=True)
class Metered:
    """An output with what it cost: what a step or agent returns to have its usage booked."""

    output: object
    usage: Usage
