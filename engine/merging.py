"""How changes of several branches to one field become one: what users declare, and the rules.

A rule works on changes rather than on whole values, so that its cost follows what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from enum import Enum
from types import UnionType
from typing import Annotated, ClassVar, TypeAlias, Union, cast, get_args, get_origin

from pydantic import BaseModel

from .context import AppendValues, ContextChange, SetValue
from .errors import ConfigurationError
from .values import ATOMS, all_equal, exactly_equal, state_of

BranchName: TypeAlias = str
MergeFunction: TypeAlias = Callable[[BaseModel, Mapping[BranchName, BaseModel]], object]

MISSING = object()
"""Stands for the value of a path that does not exist."""


class MergeStrategy(Enum):
    """What becomes of a path that several branches changed and whose field declares no `Merge`.

    A change inside of what another branch deleted or replaced meets that change. Dicts that
    branches put where none was meet key by key, except under ``ERROR_ON_CONFLICT``.
    """

    NO_MERGE = "no_merge"
    """Nothing is merged, whatever fields declare."""

    CONTEXT_UPDATE = "context_update"
    """Lists that only grew are joined. Equal changes agree, but for numbers: each branch may have
    counted up. Anything else is an error."""

    ERROR_ON_CONFLICT = "error_on_conflict"
    """An error, even for equal changes."""

    OVERWRITE = "overwrite"
    """The change of the branch that was declared last; where it changed something inside, what
    others did to the whole is dropped."""

    KEEP_FIRST = "keep_first"
    """As ``OVERWRITE``, for the branch that was declared first."""


class Merge:
    """How a field merges that several branches changed: ``Annotated[int, Merge.add]``.

    ``Merge(function)`` calls ``function(base, values)`` with copies of the field's value before
    the branches and of the values of those that changed it, in declared order. What it returns is
    validated as the field.

    Ready rules, which hold for each value of a dict when the field is one:

    * ``add``: a number changes by the sum of the branches' differences;
    * ``append``: a list or tuple grows by what each branch appended;
    * ``union``: a set, or a list without duplicates, gets and loses what any branch gave or took;
    * ``max``: the largest of the values that branches set.

    What a rule cannot combine is an error: a deletion and a change; for ``append``, a list that a
    branch changed otherwise than by appending.
    """

    add: ClassVar[Merge]
    append: ClassVar[Merge]
    union: ClassVar[Merge]
    max: ClassVar[Merge]

    def __init__(self, combine: Callable[..., object], /) -> None:
        if not callable(combine):
            raise ConfigurationError(
                f"Merge takes a function of (base, values); found {combine!r:.60}. "
                "The ready rules are Merge.add, Merge.append, Merge.union and Merge.max"
            )
        self.combine = combine

    def __repr__(self) -> str:
        return f"Merge({self.combine!r})"


Written: TypeAlias = SetValue | AppendValues
Join: TypeAlias = Callable[[object, Sequence[Written]], ContextChange | None]


class ReadyMerge(Merge):
    """A rule of the engine: made of changes, so that no whole value is needed."""

    def __init__(self, join: Join, name: str) -> None:
        super().__init__(join)
        self.join = join
        self.name = name

    def __repr__(self) -> str:
        return f"Merge.{self.name}"


def _value_of(base: object, change: Written) -> object:
    if isinstance(change, SetValue):
        return change.value
    return [*cast(list[object], base), *change.values]


def _added(base: object, written: Sequence[Written]) -> ContextChange:
    first, *others = cast(list[int], [_value_of(base, change) for change in written])
    if isinstance(first, bool) or any(isinstance(value, bool) for value in others):
        raise TypeError("a bool is no number to add")
    if base is not None and base is not MISSING:
        others = [value - cast(int, base) for value in others]
    return SetValue(written[0].path, sum(others, start=first))


def _largest(base: object, written: Sequence[Written]) -> ContextChange:
    values = cast(list[int], [_value_of(base, change) for change in written])
    return SetValue(written[0].path, max(values))


def _appended(base: object, written: Sequence[Written]) -> ContextChange:
    path = written[0].path
    if base is None or base is MISSING:
        base = () if isinstance(_value_of([], written[0]), tuple) else []
    added = [value for change in written for value in _growth(base, change)]
    if all(isinstance(change, AppendValues) for change in written):
        return AppendValues(path, tuple(added))
    whole = [*cast(Sequence[object], base), *added]
    return SetValue(path, tuple(whole) if isinstance(base, tuple) else whole)


def _growth(base: object, change: Written) -> Sequence[object]:
    """What a branch appended to ``base``; `TypeError` when that is not all it did."""
    if isinstance(change, AppendValues):
        return change.values
    value = change.value
    if isinstance(base, list | tuple) and isinstance(value, list | tuple):
        if type(value) is type(base) and len(value) >= len(base) and all_equal(base, value):
            return value[len(base) :]
        raise TypeError("a branch did not only append")
    raise TypeError(f"expected lists or tuples, found {type(value).__name__}")


def _united(base: object, written: Sequence[Written]) -> ContextChange | None:
    path = written[0].path
    kinds = {type(change.value) if isinstance(change, SetValue) else list for change in written}
    if kinds == {list}:
        return _united_lists(base if isinstance(base, list) else [], written)
    values = [_value_of(base, change) for change in written]
    if kinds in ({set}, {frozenset}):
        sets = cast(list[set[object]], values)
        old: set[object] = set(base) if isinstance(base, set | frozenset) else set()
        united = old.intersection(*sets).union(*(one - old for one in sets))
        return SetValue(path, frozenset(united) if kinds == {frozenset} else united)
    if all(exactly_equal(values[0], value) for value in values):
        return written[0]
    raise TypeError("expected sets or lists, or equal values")


def _united_lists(base: list[object], written: Sequence[Written]) -> ContextChange | None:
    path = written[0].path
    known = _Distinct(base)
    fresh: list[object] = []
    kept = base
    for change in written:
        if isinstance(change, SetValue):
            values = cast(list[object], change.value)
            theirs = _Distinct(values)
            kept = [item for item in kept if item in theirs]
        else:
            values = list(change.values)
        fresh += [item for item in values if known.add(item)]
    if all(isinstance(change, AppendValues) for change in written):
        return AppendValues(path, tuple(fresh)) if fresh else None
    return SetValue(path, [*kept, *fresh])


class _Distinct:
    """Values, told apart as `exactly_equal` does."""

    def __init__(self, values: Iterable[object]) -> None:
        self._alike: dict[Hashable, list[object]] = {}
        for value in values:
            self.add(value)

    def __contains__(self, value: object) -> bool:
        alike = self._alike.get(_likeness(value), ())
        return any(exactly_equal(value, one) for one in alike)

    def add(self, value: object) -> bool:
        """Whether ``value`` is new here."""
        if value in self:
            return False
        self._alike.setdefault(_likeness(value), []).append(value)
        return True


def _likeness(value: object, depth: int = 3) -> Hashable:
    """What equal values have in common, and few others do."""
    kind = type(value)
    name = kind.__qualname__
    match value:
        case float() | complex():
            return name, repr(value)  # NaN is like NaN
        case _ if kind in ATOMS:
            return name, value
        case list() | tuple() if depth:
            return name, *(_likeness(item, depth - 1) for item in value)
        case dict() if depth:
            return name, frozenset((k, _likeness(item, depth - 1)) for k, item in value.items())
        case BaseModel() if depth:
            return name, _likeness(state_of(value), depth - 1)
    if kind.__hash__ is object.__hash__:  # equal by what they hold, not by identity
        return name
    try:
        return name, hash(value)
    except TypeError:
        return name


Merge.add = ReadyMerge(_added, "add")
Merge.append = ReadyMerge(_appended, "append")
Merge.union = ReadyMerge(_united, "union")
Merge.max = ReadyMerge(_largest, "max")


def declared_merge(model: type[BaseModel], name: str) -> Merge | None:
    """What a field of ``model`` declares; the last one when there are several."""
    info = model.model_fields.get(name)
    if info is None:
        return None
    marks = list(info.metadata)
    if get_origin(info.annotation) in (Union, UnionType):  # Annotated[int, Merge.add] | None
        for arm in get_args(info.annotation):
            marks += get_args(arm)[1:] if get_origin(arm) is Annotated else ()
    return next((mark for mark in reversed(marks) if isinstance(mark, Merge)), None)
