"""What steps cost, and the budget that they draw on.

Money is kept in whole micro-dollars, so that sums are exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated
from weakref import WeakSet

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
    """How much a run may use; a limit that is ``None`` does not bound it.

    An attempt starts only when what is spent, and its estimate, fit. What one attempt uses beyond
    that is recorded, and no other starts.
    """

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

    With a ``parent`` it is a part of that budget: what is granted here is granted there too, what
    is spent here is spent there, and ``overdrawn`` says it of either. A `share` is a part for
    which the parent has set something aside. ``spent`` is what was spent before: of the parent,
    which knows of it already.

    Where somebody wants to know what is being spent, ``in_flight`` is a set: it holds the meters
    of the attempts that are being made, also on parts that are made after it.
    """

    __slots__ = (
        "__weakref__",
        "_parts",
        "_set_aside",
        "in_flight",
        "limits",
        "overdrawn",
        "parent",
        "reserved",
        "spent",
    )

    def __init__(
        self,
        limits: UsageLimits | None = None,
        parent: Quota | None = None,
        spent: Usage = FREE,
    ) -> None:
        self.limits = limits or UNLIMITED
        self.reserved = FREE
        self.spent = spent
        self.overdrawn = False
        self.parent = parent
        self.in_flight: set[Meter] | None = None if parent is None else parent.in_flight
        self._set_aside = FREE
        self._parts: WeakSet[Quota] | None = None
        if parent is not None:
            parent._take_in(self)
        elif spent is not FREE:
            self._look()

    @property
    def so_far(self) -> Usage:
        """What is spent, and what the attempts in flight have said that they used."""
        said: list[object] = [one.used for one in self.in_flight or ()]  # as user code said it
        return sum((used for used in said if isinstance(used, Usage)), self.spent)

    def limit(self, limits: UsageLimits) -> None:
        """Bound the budget by ``limits`` from now on, what was spent already included."""
        self.limits = limits
        self._look()

    def share(self, part: UsageEstimate) -> Quota | Refused:
        """A part of this budget for which ``part`` is set aside; `Refused` when that does not fit.

        What ``part`` names is also the limit of the share; the rest it draws as it goes. `close`
        gives back what was not used.
        """
        amount = part.usage()
        refused = self.reserve(amount)
        if refused is not None:
            return refused
        named = part.model_dump(exclude_unset=True)
        share = Quota(UsageLimits(**{f"total_{name}_limit": named[name] for name in named}), self)
        share._set_aside = amount
        return share

    def close(self) -> None:
        """Give back to the parent what was set aside and is not in use."""
        held = self._held()
        self._set_aside = FREE
        if self.parent is not None:
            self.parent.reconcile(held - self._held(), FREE)

    def reserve(self, estimate: Usage) -> Refused | None:
        """Set ``estimate`` aside; `Refused` (and nothing set aside) when it does not fit."""
        if estimate is FREE and not self.overdrawn:
            return None
        over = self._first_exceeded(self.spent, "are used")
        over = over or self._first_exceeded(self.spent + self.reserved + estimate, "would be used")
        if over is not None:
            return Refused(over)
        held = self._held()
        self.reserved += estimate
        refused = None if self.parent is None else self.parent.reserve(self._held() - held)
        if refused is not None:
            self.reserved -= estimate
        return refused

    def reconcile(self, estimate: Usage, used: Usage) -> None:
        """Give back what was reserved as ``estimate`` and book what was ``used``."""
        if estimate is FREE and used is FREE:
            return
        held = self._held()
        self.reserved -= estimate
        self.spent += used
        if self.parent is not None:
            self.parent.reconcile(held - self._held(), used)
        self._look()

    def _held(self) -> Usage:
        """What the parent holds reserved for this part."""
        if self._set_aside is FREE:
            return self.reserved
        left, own = self._set_aside - self.spent, self.reserved
        return Usage(
            max(left.cost_micros, own.cost_micros),
            max(left.tokens, own.tokens),
            max(left.requests, own.requests),
        )

    def _take_in(self, part: Quota) -> None:
        if self._parts is None:
            self._parts = WeakSet()
        self._parts.add(part)
        part._look()

    def _look(self) -> None:
        """See whether the budget is overdrawn, and let its parts know: steps only read the slot."""
        over = self._first_exceeded(self.spent + self.reserved, "are used") is not None
        if self.parent is not None and self.parent.overdrawn:
            over = True
        if over != self.overdrawn:
            self.overdrawn = over
            for part in self._parts or ():
                part._look()

    def _first_exceeded(self, total: Usage, how: str) -> str | None:
        limits = self.limits
        cost = limits.total_cost_usd_limit
        if cost is not None and total.cost_micros > round(cost * MICROS):
            return f"Cost limit of ${cost:g} exceeded: ${total.cost_usd:g} {how}"
        for name, limit, amount in (
            ("Token", limits.total_tokens_limit, total.tokens),
            ("Request", limits.total_requests_limit, total.requests),
        ):
            if limit is not None and amount > limit:
                return f"{name} limit of {limit} exceeded: {amount} {how}"
        return None


NO_METADATA: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Metered:
    """An output with what it cost: what a step or agent returns to have its usage booked.

    ``metadata`` are plain values that the step's result carries on: a conversation, a model.
    """

    output: object
    usage: Usage
    metadata: Mapping[str, object] = field(default_factory=lambda: NO_METADATA)


class Meter:
    """Where an attempt says what it has used; what stands here is booked however it ends."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used: Usage = FREE
