"""Which of the statements that a notebook executed are needed for some names to have their values.

Statements stay in the order in which they were executed. What one needs when it runs is what was
bound before it; what its functions need when they are called is what is bound at the end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .cell_sources import Statement
from .statement_names import Call

Find = Callable[[str], str | None]
"""The module whose ``from … import *`` brings a name, if one does."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A name that no statement binds, or none that runs outside a notebook.

    ``user`` is the statement that needs it, and ``wanted_for`` what all this is for. ``why_not``
    says what is amiss with the statement that binds it.
    """

    name: str
    wanted_for: str
    user: Statement | None
    why_not: str | None = None


@dataclass(slots=True)
class Needed:
    """The statements that are needed, in the order of their execution, and what is lacking.

    ``constants`` are the names, of those given, that are needed too; ``starred`` the names that
    come from ``from … import *``, with their modules.
    """

    statements: list[Statement] = field(default_factory=list)
    constants: set[str] = field(default_factory=set)
    starred: dict[str, str] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Want:
    """A name that has to have the value that it had before the statement number ``before``."""

    name: str
    before: int
    wanted_for: str
    user: Statement | None = None
    is_optional: bool = False


class Executed:
    """All statements that were executed, in their order."""

    def __init__(self, statements: Sequence[Statement]) -> None:
        self.statements = statements
        self._binders: dict[str, list[int]] = {}
        self._changers: dict[str, list[int]] = {}
        for number, one in enumerate(statements):
            effects = _Effects(self, number)
            effects.read(one)
            for name in effects.binds:
                self._binders.setdefault(name, []).append(number)
            for name in effects.changes - effects.binds:
                self._changers.setdefault(name, []).append(number)

    @property
    def end(self) -> int:
        """The number of the statement that would come next."""
        return len(self.statements)

    def binder_of(self, name: str, before: int) -> int | None:
        """The last statement before the one numbered ``before`` that binds ``name``."""
        numbers = self._binders.get(name, [])
        at = bisect_left(numbers, before)
        return numbers[at - 1] if at else None

    def bound(self) -> Collection[str]:
        """Every name that a statement binds."""
        return self._binders.keys()

    def imports_only(self, name: str, before: int) -> bool:
        """Whether ``name`` is what an import bound."""
        number = self.binder_of(name, before)
        return number is not None and self.statements[number].imported is not None

    def needed(
        self,
        wanted: Mapping[str, str],
        *,
        constants: Collection[str],
        known: Collection[str],
        star: Find,
    ) -> Needed:
        """What is needed for the names in ``wanted`` (each with what it is for) at the end.

        ``constants`` are names whose values are written down instead, ``known`` those that Python
        brings.
        """
        return _Choice(self, constants, known, star).needed(wanted)

    def changing(self, name: str, after: int, before: int) -> Iterator[int]:
        """The statements between two that change the value of ``name``."""
        numbers = self._changers.get(name, [])
        yield from numbers[bisect_left(numbers, after + 1) : bisect_left(numbers, before)]


class _Effects:
    """What the statement numbered ``number`` binds and changes, by what it calls too."""

    def __init__(self, executed: Executed, number: int) -> None:
        self._executed = executed
        self._number = number
        self._called: set[str] = set()
        self.binds: set[str] = set()
        self.changes: set[str] = set()

    def read(self, statement: Statement) -> None:
        names = statement.names
        self.binds |= names.binds
        self.changes |= names.changes | self._own(names.may_change)
        for call in names.calls:
            self._read_call(call)

    def _read_call(self, call: Call) -> None:
        number = self._executed.binder_of(call.function, self._number)
        if number is None:
            return
        function = self._executed.statements[number]
        if not function.is_definition:
            return
        names = function.names
        if names.changes_given:
            self.changes.update(call.given)
        if call.function not in self._called:
            self._called.add(call.function)
            self.binds |= names.binds_later
            self.changes |= names.changes_later | self._own(names.may_change_later)
            for inner in names.calls_later:
                self._read_call(inner)

    def _own(self, names: Collection[str]) -> set[str]:
        """Those that no import bound."""
        return {one for one in names if not self._executed.imports_only(one, self._number)}


class _Choice:
    def __init__(
        self, executed: Executed, constants: Collection[str], known: Collection[str], star: Find
    ) -> None:
        self._executed = executed
        self._constants = constants
        self._known = known
        self._star = star
        self._waiting: deque[_Want] = deque()
        self._done: set[tuple[str, int, bool]] = set()
        self._kept: set[int] = set()
        self._result = Needed()

    def needed(self, wanted: Mapping[str, str]) -> Needed:
        end = self._executed.end
        self._waiting.extend(_Want(name, end, wanted[name]) for name in wanted)
        while self._waiting:
            want = self._waiting.popleft()
            if (want.name, want.before, want.is_optional) not in self._done:
                self._done.add((want.name, want.before, want.is_optional))
                self._meet(want)
        self._result.statements = [self._executed.statements[one] for one in sorted(self._kept)]
        return self._result

    def _meet(self, want: _Want) -> None:
        name = want.name
        if name in self._constants:
            self._result.constants.add(name)
            return
        number = self._executed.binder_of(name, want.before)
        if number is None:
            self._meet_unbound(want)
            return
        binder = self._executed.statements[number]
        if binder.why_not is not None:
            self._lacks(want, binder.why_not)
            return
        self._keep(number, want)
        for one in self._executed.changing(name, number, want.before):
            self._keep(one, want)
        if not binder.is_sure:
            self._want(name, number, want, binder, is_optional=True)

    def _meet_unbound(self, want: _Want) -> None:
        module = self._star(want.name)
        if module is not None:
            self._result.starred[want.name] = module
        elif want.name not in self._known:
            self._lacks(want, None)

    def _lacks(self, want: _Want, why_not: str | None) -> None:
        if not want.is_optional:
            missing = Missing(want.name, want.wanted_for, want.user, why_not)
            self._result.missing.append(missing)

    def _keep(self, number: int, want: _Want) -> None:
        """Keep a statement; what its functions need, they need when it is used and at the end."""
        one = self._executed.statements[number]
        if one.why_not is not None:
            self._lacks(want, one.why_not)
            return
        self._kept.add(number)
        for name in one.names.loads:
            self._want(name, number, want, one, is_optional=name in one.own)
        for name in one.names.later:
            self._want(name, self._executed.end, want, one)
            if one.names.is_calling:
                self._want(name, number, want, one, is_optional=True)
            if want.before < self._executed.end:
                self._want(name, want.before, want, one, is_optional=True)
        for name in one.names.hints:
            self._want(name, self._executed.end, want, one, is_optional=True)

    def _want(
        self, name: str, before: int, source: _Want, user: Statement, *, is_optional: bool = False
    ) -> None:
        self._waiting.append(_Want(name, before, source.wanted_for, user, is_optional))
