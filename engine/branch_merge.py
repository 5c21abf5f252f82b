"""How the updates of branches become one update.

An update lists only what its branch changed, so this is a three-way merge: what a branch left
alone says nothing. The changes of all branches are laid out as a tree of paths. What one branch
changed alone stays as it is; only where several meet does a rule decide: the one that the field
declares (`Merge`), else the strategy. The cost follows the number of changes, not the size of the
context.
"""

from __future__ import annotations

import copy
import reprlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate, chain
from numbers import Number
from typing import Protocol, TypeAlias, TypeVar, cast

from pydantic import BaseModel

from .context import AppendValues, ContextChange, ContextPath, ContextUpdate, DeleteKey, SetValue
from .errors import ContextMergeError, ContextUpdateError
from .merging import (
    MISSING,
    BranchName,
    Merge,
    MergeStrategy,
    ReadyMerge,
    Written,
    declared_merge,
)
from .user_code import Raised, caught_inline
from .values import cloned, exactly_equal, state_of

ContextT = TypeVar("ContextT", bound=BaseModel)
BranchUpdate: TypeAlias = tuple[BranchName, ContextUpdate | None]

KEYED = frozenset({dict, Counter, defaultdict})
"""Types that are compared and merged key by key."""


def selected(
    branches: Iterable[BranchUpdate], field_mapping: Mapping[BranchName, Sequence[str]]
) -> list[BranchUpdate]:
    """The branches with what ``field_mapping`` lets through: all of a branch that it leaves out."""
    return [
        (name, _at_named(name, update, field_mapping[name]))
        if update is not None and name in field_mapping
        else (name, update)
        for name, update in branches
    ]


def _at_named(
    branch: BranchName, update: ContextUpdate, names: Sequence[str]
) -> ContextUpdate | None:
    named = set(names)
    holders = {text for name in names for text in _prefixes(name.split("."))} - named
    kept: list[ContextChange] = []
    for change in update.changes:
        *outer, whole = _prefixes(change.path)
        if whole in named or not named.isdisjoint(outer):
            kept.append(change)
        elif whole in holders:
            raise ContextUpdateError(
                f"field_mapping of branch {branch!r} names a part of {whole!r}, and the branch "
                f"{_told(change, change.path)}: name {whole!r} itself"
            )
    return ContextUpdate(tuple(kept)) if kept else None


def _prefixes(path: Sequence[Hashable]) -> list[str]:
    return list(accumulate(map(str, path), lambda outer, part: f"{outer}.{part}"))


class Contexts(Protocol):
    """What merging needs of the `ContextUpdateManager`."""

    def merge(self, base: ContextT, update: ContextUpdate | None) -> ContextT:
        """``base`` with ``update`` applied."""

    def changes_of_field(
        self, holder: BaseModel, path: ContextPath, value: object
    ) -> Iterable[ContextChange]:
        """How the field at ``path``, one of ``holder``, changes to a validated ``value``."""


def merged_update(
    base: BaseModel, branches: Sequence[BranchUpdate], strategy: MergeStrategy, contexts: Contexts
) -> ContextUpdate | Raised | None:
    """What the changes of ``branches`` come to; see `ContextUpdateManager.merge_branches`."""
    merging = _Merging(base, [name for name, _ in branches], strategy, contexts)
    changed = _Changed(-1, -1)
    for index, (_, update) in enumerate(branches):
        for change in update.changes if update is not None else ():
            changed.add(index, change.path, change)
    merging.settle_inside(changed, (), base, None)
    if merging.raised is not None:
        return merging.raised
    if merging.clashes:
        raise ContextMergeError(
            f"what the branches changed in {type(base).__name__} does not fit together:\n- "
            + ";\n- ".join(merging.clashes)
            + ".\nDeclare how such a field merges (Annotated[…, Merge.add], .append, .union, .max, "
            "or Merge(function)), or choose another merge_strategy"
        )
    changes = tuple(map(_owned, merging.changes))
    return ContextUpdate(changes) if changes else None


def _owned(change: ContextChange) -> ContextChange:
    match change:
        case SetValue(path, value):
            return SetValue(path, cloned(value))
        case AppendValues(path, values):
            return AppendValues(path, tuple(map(cloned, values)))
        case DeleteKey():
            return change


@dataclass(slots=True)
class _Changed:
    """A path that branches (by their declared index) changed, itself or inside."""

    first: int
    last: int
    whole: list[tuple[int, ContextChange]] = field(default_factory=list)
    inside: dict[Hashable, _Changed] = field(default_factory=dict)

    def add(self, branch: int, parts: Sequence[Hashable], change: ContextChange) -> None:
        """Add a change at ``parts`` below this path; branches come in declared order."""
        node = self
        for part in parts:
            below = node.inside.get(part)
            if below is None:
                below = node.inside[part] = _Changed(branch, branch)
            node = below
            node.last = branch
        node.whole.append((branch, change))

    def all(self) -> Iterator[tuple[int, ContextChange]]:
        """Every change at this path and inside."""
        yield from self.whole
        for below in self.inside.values():
            yield from below.all()


@dataclass(slots=True)
class _Merging:
    """One merge: its changes so far, what clashed, and what a user's function raised."""

    base: BaseModel
    names: Sequence[BranchName]
    strategy: MergeStrategy
    contexts: Contexts
    changes: list[ContextChange] = field(default_factory=list)
    clashes: list[str] = field(default_factory=list)
    raised: Raised | None = None

    def settle_inside(
        self, changed: _Changed, path: ContextPath, value: object, rule: Merge | None
    ) -> None:
        """Settle each part of ``value``: fields by what they declare, items by ``rule``."""
        held = _parts_of(value)
        for part, below in changed.inside.items():
            if isinstance(value, BaseModel):
                rule = declared_merge(type(value), str(part))
            self._settle(below, (*path, part), held.get(part, MISSING), rule)

    def _settle(
        self, changed: _Changed, path: ContextPath, value: object, rule: Merge | None
    ) -> None:
        """Decide what becomes of ``path``, where the base has ``value``."""
        ready = isinstance(rule, ReadyMerge)
        loose = rule is None and self.strategy is not MergeStrategy.ERROR_ON_CONFLICT
        if self.raised is not None:
            return
        if changed.first == changed.last:
            self.changes.extend(change for _, change in changed.all())
        elif not changed.whole and (rule is None or ready):
            self.settle_inside(changed, path, value, rule)
        elif (ready or loose) and (tables := _new_tables(changed)):
            self._settle_tables(changed, path, tables, rule)
        elif rule is None:
            self._choose(changed, path, value)
        elif _all_deleted(changed):
            self.changes.append(changed.whole[0][1])
        elif any(isinstance(change, DeleteKey) for _, change in changed.whole):
            self._clash(changed, path, f"{rule} combines no deletion with a change")
        elif isinstance(rule, ReadyMerge):
            self._join(changed, path, value, rule)
        else:
            self._compute(changed, path, value, rule)

    def _settle_tables(
        self,
        changed: _Changed,
        path: ContextPath,
        tables: Sequence[dict[Hashable, object]],
        rule: Merge | None,
    ) -> None:
        """Merge dicts that are new at ``path`` key by key, into one change."""
        by_key = _Changed(changed.first, changed.last)
        for (branch, _), table in zip(changed.whole, tables, strict=True):
            for key, item in table.items():
                by_key.add(branch, (key,), SetValue((*path, key), item))
        outer, self.changes = self.changes, []
        self.settle_inside(by_key, path, {}, rule)
        merged = copy.copy(tables[0])
        merged.clear()
        merged.update(
            {one.path[-1]: one.value for one in self.changes if isinstance(one, SetValue)}
        )
        self.changes = outer
        self.changes.append(SetValue(path, merged))

    def _choose(self, changed: _Changed, path: ContextPath, value: object) -> None:
        """Settle what no rule is declared for."""
        match self.strategy:
            case MergeStrategy.OVERWRITE | MergeStrategy.KEEP_FIRST as strategy:
                wins = changed.last if strategy is MergeStrategy.OVERWRITE else changed.first
                whole = [change for branch, change in changed.whole if branch == wins]
                self.changes.extend(whole)
                if not whole:
                    self.settle_inside(changed, path, value, None)
            case MergeStrategy.CONTEXT_UPDATE if grown := _all_appended(changed):
                self.changes.append(AppendValues(path, grown))
            case MergeStrategy.CONTEXT_UPDATE if _all_agree(changed):
                self.changes.append(changed.whole[0][1])
            case _:
                counted = any(_is_number(change) for _, change in changed.whole)
                self._clash(changed, path, "declare Merge.add to add them up" if counted else "")

    def _join(self, changed: _Changed, path: ContextPath, value: object, rule: ReadyMerge) -> None:
        """Apply a rule of the engine."""
        if changed.inside:
            self._clash(changed, path, f"{rule} combines no part with a whole")
            return
        joined = caught_inline(rule.join, value, _written(changed))
        if not isinstance(joined, Raised):
            self.changes.extend(() if joined is None else (joined,))
        elif isinstance(joined.error, TypeError | ValueError | ArithmeticError):
            self._clash(changed, path, f"{rule} cannot combine them: {joined.error}")
        else:
            self.raised = joined

    def _compute(self, changed: _Changed, path: ContextPath, value: object, rule: Merge) -> None:
        """Ask a rule of the user's."""
        by_branch: dict[int, list[ContextChange]] = {}
        for branch, change in sorted(changed.all(), key=lambda one: one[0]):
            by_branch.setdefault(branch, []).append(change)
        values = [
            cloned(_at(self.contexts.merge(self.base, ContextUpdate(tuple(changes))), path))
            for changes in by_branch.values()
        ]
        before = None if value is MISSING else cloned(value)
        returned = caught_inline(rule.combine, before, values)
        if isinstance(returned, Raised):
            self.raised = returned
            return
        holder = cast(BaseModel, _at(self.base, path[:-1]))
        self.changes.extend(self.contexts.changes_of_field(holder, path, returned))

    def _clash(self, changed: _Changed, path: ContextPath, why: str = "") -> None:
        """Note that branches do not agree about ``path``: the first, and one that differs."""
        (one, change), *others = sorted(changed.all(), key=lambda one: one[0])
        others = [other for other in others if other[0] != one]
        two, differs = next((it for it in others if not _agree(change, it[1])), others[0])
        more = len({branch for branch, _ in others}) - 1
        self.clashes.append(
            f"{'.'.join(map(str, path))}: "
            f"branch {self.names[one]!r} {_told(change, path)}, "
            f"branch {self.names[two]!r} {_told(differs, path)}"
            + (f", and {more} more changed it" if more else "")
            + (f" ({why})" if why else "")
        )


def _parts_of(value: object) -> Mapping[Hashable, object]:
    if isinstance(value, BaseModel):
        return cast(Mapping[Hashable, object], state_of(value))
    return value if isinstance(value, dict) else {}


def _at(context: BaseModel, path: ContextPath) -> object:
    value: object = context
    for part in path:
        value = _parts_of(value)[part]
    return value


def _new_tables(changed: _Changed) -> list[dict[Hashable, object]]:
    """The dicts of one type that all branches put at a path, if that is what they did."""
    values = [change.value for _, change in changed.whole if isinstance(change, SetValue)]
    kinds = {type(value) for value in values}
    uniform = len(kinds) == 1 and kinds <= KEYED and len(values) == len(changed.whole)
    return cast(list[dict[Hashable, object]], values) if uniform and not changed.inside else []


def _written(changed: _Changed) -> list[Written]:
    return [change for _, change in changed.whole if not isinstance(change, DeleteKey)]


def _all_deleted(changed: _Changed) -> bool:
    return not changed.inside and all(isinstance(one, DeleteKey) for _, one in changed.whole)


def _all_appended(changed: _Changed) -> tuple[object, ...]:
    """What the branches appended, if that is all they did."""
    grown = [change.values for _, change in changed.whole if isinstance(change, AppendValues)]
    only = len(grown) == len(changed.whole) and not changed.inside
    return tuple(chain.from_iterable(grown)) if only else ()


def _all_agree(changed: _Changed) -> bool:
    """Whether the branches made equal changes that make no difference when made once."""
    _, first = changed.whole[0]
    once = not _is_number(first)
    return once and not changed.inside and all(_agree(first, one) for _, one in changed.whole)


def _agree(one: ContextChange, other: ContextChange) -> bool:
    if isinstance(one, SetValue) and isinstance(other, SetValue):
        return exactly_equal(one.value, other.value)
    return isinstance(one, DeleteKey) and isinstance(other, DeleteKey)


def _is_number(change: ContextChange) -> bool:
    """Whether a change set a number, which may have been counted up."""
    value = change.value if isinstance(change, SetValue) else None
    return isinstance(value, Number) and not isinstance(value, bool | Enum)


def _told(change: ContextChange, path: ContextPath) -> str:
    """What a branch did, for an error about ``path``."""
    it = "it" if change.path == path else ".".join(map(str, change.path))
    match change:
        case SetValue(value=value):
            return f"set {it} to {_short(value)}"
        case AppendValues(values=values):
            return f"appended {', '.join(map(_short, values[:3]))} to {it}"
        case DeleteKey():
            return f"deleted {it}"


def _short(value: object) -> str:
    text = caught_inline(reprlib.repr, value)
    return type(value).__name__ if isinstance(text, Raised) else text
