"""Branches that work on one context, and what they come to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, TypeAlias

import pytest
from pydantic import BaseModel, ConfigDict, Field

from flujo_nb.engine.context import ContextUpdate
from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.errors import ContextMergeError
from flujo_nb.engine.merging import Merge, MergeFunction, MergeStrategy
from flujo_nb.engine.user_code import Raised

CONTEXTS = ContextUpdateManager()
Work: TypeAlias = Callable[[Any], object]
Strategy: TypeAlias = MergeStrategy | MergeFunction
NO_MERGE, CONTEXT_UPDATE, ERROR_ON_CONFLICT, OVERWRITE, KEEP_FIRST = MergeStrategy


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Inner(BaseModel):
    label: str = ""
    seen: Annotated[int, Merge.add] = 0


def mean(base: float, values: list[float]) -> float:
    return sum(values) / len(values)


class State(BaseModel):
    model_config = ConfigDict(extra="allow")

    total: int = 0
    tag: str = ""
    flag: bool = False
    level: Level | None = None
    names: list[Any] = []
    table: dict[Any, Any] = {}
    inner: Inner | None = None
    hits: Annotated[int, Merge.add] = 0
    cost: Annotated[Decimal | None, Merge.add] = None
    words: Annotated[dict[str, Any], Merge.add] = {}
    tally: Annotated[Counter[str], Merge.add] = Counter()
    log: Annotated[list[Any], Merge.append] = []
    pair: Annotated[tuple[int, ...], Merge.append] = ()
    groups: Annotated[defaultdict[str, list[Any]], Merge.append] = defaultdict(list)
    tags: Annotated[set[str], Merge.union] = set()
    unique: Annotated[list[Any], Merge.union] = []
    known: Annotated[dict[str, Any], Merge.union] = {}
    best: Annotated[float, Merge.max] | None = None
    average: Annotated[float, Merge(mean), Field(le=100)] = 0.0


def update_of(base: BaseModel, work: Work) -> ContextUpdate | None:
    context = CONTEXTS.isolate(base)
    work(context)
    return CONTEXTS.diff(base, context)


def updates_of(base: BaseModel, works: Sequence[Work]) -> list[tuple[str, ContextUpdate | None]]:
    return [(name, update_of(base, work)) for name, work in zip("abcdef", works, strict=False)]


def merged(base: Any, *works: Work, strategy: Strategy = CONTEXT_UPDATE, **more: Any) -> Any:
    """The context after branches "a", "b" … each did its work on a copy of ``base``."""
    update = CONTEXTS.merge_branches(base, updates_of(base, works), strategy, **more)
    assert not isinstance(update, Raised), update
    return CONTEXTS.merge(base, update)


def clash(base: Any, *works: Work, strategy: Strategy = CONTEXT_UPDATE) -> str:
    """What the error says when these branches do not fit together."""
    with pytest.raises(ContextMergeError) as caught:
        merged(base, *works, strategy=strategy)
    return str(caught.value)


def put(**values: Any) -> Work:
    return lambda context: [setattr(context, name, value) for name, value in values.items()]


def fill(key: str, **values: Any) -> Work:
    """Change items of the dict at ``key`` of the table."""
    return lambda context: context.table.setdefault(key, {}).update(values)


def drop(key: str) -> Work:
    return lambda context: context.table.pop(key)
