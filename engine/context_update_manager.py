"""What steps may do to a context: work on a copy, and say what changed.

Nobody writes to a context that another frame can see. A step works on an isolated copy; its
difference to the base becomes a `ContextUpdate`; applying an update makes a new context that
shares with the old one whatever the update does not name.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError

from .branch_merge import KEYED, BranchUpdate, merged_update, selected
from .context import (
    AppendValues,
    ContextChange,
    ContextPath,
    ContextUpdate,
    DeleteKey,
    SetValue,
    show,
    shown_by,
)
from .context_view import isolation_error, own_state, plain_of, view_of
from .errors import ContextUpdateError
from .merging import BranchName, MergeFunction, MergeStrategy
from .user_code import Raised, caught_inline
from .values import ATOMS, all_equal, cloned, exactly_equal, state_of

_MISSING = object()
ContextT = TypeVar("ContextT", bound=BaseModel)


class ContextUpdateManager:
    """Isolate, diff, merge."""

    def isolate(self, base: ContextT) -> ContextT:
        """A copy of ``base`` for one attempt, made as lazily as possible."""
        return view_of(base)

    def diff(self, base: BaseModel, context: BaseModel) -> ContextUpdate | None:
        """What ``context`` (an isolated copy that was worked on) has that ``base`` has not.

        The values in the update are copies, so that a reference which the step kept cannot change
        it later.
        """
        before, after = state_of(base), own_state(context)
        changes: list[ContextChange] = []
        for name in {**before, **after}:
            if before.get(name, _MISSING) is after.get(name, _MISSING):
                continue  # the base's own object: what a step never read
            try:
                changes.extend(_changes_of_key((), name, before, after))
            except (TypeError, ValueError, AttributeError, RecursionError) as error:
                raise isolation_error(type(base), name, error) from error
        return ContextUpdate(tuple(changes)) if changes else None

    def merge(self, base: ContextT, update: ContextUpdate | None) -> ContextT:
        """``base`` with ``update`` applied; ``base`` itself stays as it is.

        Raises `ContextUpdateError` for a path that ``base`` does not have.
        """
        if update is None:
            return base
        result = _shallow(base)
        own: set[int] = {id(result)}
        for change in update.changes:
            try:
                _apply(result, change, own)
            except (KeyError, TypeError) as error:
                where = ".".join(map(str, change.path))
                raise ContextUpdateError(
                    f"an update of {where!r} does not fit {type(base).__name__}: {error!r}"
                ) from error
        return result

    def merge_branches(
        self,
        base: ContextT,
        branches: Sequence[BranchUpdate],
        strategy: MergeStrategy | MergeFunction,
        field_mapping: Mapping[BranchName, Sequence[str]] | None = None,
    ) -> ContextUpdate | Raised | None:
        """The update that the updates of ``branches``, all taken from ``base``, come to together.

        Branches stand in declared order, which alone decides; what each changed is as `diff` or
        this method gives it. Of a branch in ``field_mapping`` only the dotted paths that it lists
        count. A callable strategy gets a copy of ``base`` and each branch's context by name; it
        changes the former or returns a new model.

        Gives `Raised` when a function of the user's raised. Raises `ContextMergeError`, which
        names every path that branches do not agree about, and `ContextUpdateError` for a value
        of a user's function that does not fit.
        """
        if strategy is MergeStrategy.NO_MERGE:
            return None
        if field_mapping is not None:
            branches = selected(branches, field_mapping)
        if isinstance(strategy, MergeStrategy):
            return merged_update(base, branches, strategy, self)
        context = self.isolate(base)
        theirs = {name: self.isolate(self.merge(base, update)) for name, update in branches}
        returned = caught_inline(strategy, context, theirs)
        if isinstance(returned, Raised):
            return returned
        if returned is not None and not isinstance(returned, type(base)):
            raise ContextUpdateError(
                f"a merge_strategy changes the {type(base).__name__} that it gets or returns a "
                f"new one; found {type(returned).__name__}"
            )
        return self.diff(base, context if returned is None else returned)

    def changes_of_field(
        self, holder: BaseModel, path: ContextPath, value: object
    ) -> list[ContextChange]:
        """How ``value``, validated, changes what ``holder`` has in its field at ``path``."""
        *outer, name = path
        probe = _probe_of(holder)
        _assign(probe, str(name), value)
        before, after = state_of(holder), own_state(probe)
        return list(_changes_of_key(tuple(outer), str(name), before, after))

    def merge_into(self, context: BaseModel, update: ContextUpdate) -> None:
        """Apply ``update`` to ``context`` itself: only for a copy that one policy works on."""
        merged = state_of(self.merge(plain_of(context), update))
        for name in {change.path[0] for change in update.changes}:
            _put(context, name, cloned(merged[str(name)]))

    def net(self, base: BaseModel, final: BaseModel) -> ContextUpdate | None:
        """The update that leads from ``base`` to ``final``, a context that `merge` made of it."""
        return None if final is base else self.diff(base, final)

    def update_of_output(self, base: BaseModel, output: object) -> ContextUpdate | None:
        """The update that an output makes under ``updates_context``.

        A model gives its explicitly set fields, a mapping its items; anything else, or a field
        that the context does not have, is a `ContextUpdateError`.
        """
        if isinstance(output, BaseModel):
            given = {name: state_of(output)[name] for name in output.model_fields_set}
        elif isinstance(output, Mapping):
            given = {str(name): value for name, value in output.items()}
        else:
            raise ContextUpdateError(
                "a step with updates_context returns a dict or a pydantic model; "
                f"found {type(output).__name__}"
            )
        probe = _probe_of(base)
        for name, value in given.items():
            _assign(probe, name, value)
        return self.diff(base, probe)

    def update_of_sink(self, base: BaseModel, path: str, output: object) -> ContextUpdate | None:
        """The update that stores ``output`` at the dotted ``path`` (``sink_to``).

        The parts name fields of models or keys of dicts; all but the last must exist.
        """
        *outer, last = path.split(".")
        holder: object = base
        for part in outer:
            holder = _part_of(holder, part, path)
        if isinstance(holder, BaseModel):
            probe = _probe_of(holder)
            _assign(probe, last, output)
            changes = tuple(_dict_changes(tuple(outer), state_of(holder), state_of(probe)))
        elif isinstance(holder, dict):
            changes = tuple(_dict_changes(tuple(outer), holder, {**holder, last: output}))
        else:
            raise ContextUpdateError(
                f"sink_to={path!r}: {'.'.join(outer)} is {type(holder).__name__}, which holds "
                "no parts; name a field of a model or a key of a dict"
            )
        merged = self.merge(base, ContextUpdate(changes))
        checked = _probe_of(base)
        _assign(checked, path.partition(".")[0], state_of(merged)[path.partition(".")[0]])
        return self.diff(base, checked)


def _part_of(holder: object, part: str, path: str) -> object:
    inside: Mapping[str, object] = {}
    if isinstance(holder, BaseModel):
        inside = state_of(holder)
    elif isinstance(holder, dict):
        inside = holder
    if part not in inside:
        raise ContextUpdateError(
            f"sink_to={path!r}: there is no {part!r} in {type(holder).__name__}"
        )
    return inside[part]


def _assign(model: BaseModel, name: str, value: object) -> None:
    """Set a field as pydantic validates it; ``model`` is a copy of our own."""
    kind = model.__class__
    if name not in kind.model_fields and model.__pydantic_extra__ is None:
        raise ContextUpdateError(
            f"{kind.__name__} has no field {name!r}; it has {', '.join(kind.model_fields)}"
        )
    try:
        model.__pydantic_validator__.validate_assignment(model, name, value)
    except ValidationError as error:
        raise ContextUpdateError(
            f"{kind.__name__}.{name}: {error.errors()[0]['msg']}; found {value!r:.80}"
        ) from error


def _changes(path: ContextPath, before: object, after: object) -> Iterator[ContextChange]:
    """How ``after`` differs from ``before``, both at ``path``: as deep as dicts and models go."""
    if before is after:
        return
    kind = type(before)
    if kind is type(after):
        if kind in ATOMS and exactly_equal(before, after):
            return
        if kind in KEYED:
            yield from _dict_changes(
                path, cast(dict[str, object], before), cast(dict[str, object], after)
            )
            return
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            yield from _dict_changes(path, state_of(before), state_of(after))
            return
        if kind is list:
            old, new = cast(list[object], before), cast(list[object], after)
            if len(new) >= len(old) and all_equal(old, new):
                if len(new) > len(old):
                    yield AppendValues(path, tuple(map(cloned, new[len(old) :])))
                return
        elif exactly_equal(before, after):
            return
    yield SetValue(path, cloned(after))


def _dict_changes(
    path: ContextPath, before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[ContextChange]:
    for key in {**before, **after}:
        yield from _changes_of_key(path, key, before, after)


def _changes_of_key(
    path: ContextPath, key: str, before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[ContextChange]:
    if key not in after:
        yield DeleteKey((*path, key))
    elif key not in before:
        yield SetValue((*path, key), cloned(after[key]))
    else:
        yield from _changes((*path, key), before[key], after[key])


def _apply(context: BaseModel, change: ContextChange, own: set[int]) -> None:
    """Make one change, copying each holder on the way once (``own``: those already copied)."""
    holder: object = context
    *outer, last = change.path
    for part in outer:
        inner = _get(holder, part)
        if id(inner) not in own:
            inner = _shallow(inner) if isinstance(inner, BaseModel) else _copied(inner)
            own.add(id(inner))
            _put(holder, part, inner)
        holder = inner
    match change:
        case SetValue(value=value):
            _put(holder, last, value)
        case AppendValues(values=values):
            grown = cast(list[object], _get(holder, last))
            _put(holder, last, [*grown, *values])
        case DeleteKey():
            _delete(holder, last)


def _get(holder: object, part: object) -> object:
    if isinstance(holder, BaseModel):
        return state_of(holder)[str(part)]
    return cast(Mapping[object, object], holder)[part]


def _put(holder: object, part: object, value: object) -> None:
    if not isinstance(holder, BaseModel):
        cast(dict[object, object], holder)[part] = value
        return
    name = str(part)
    extra, private = holder.__pydantic_extra__, holder.__pydantic_private__
    if name in type(holder).model_fields:
        vars(holder)[name] = value
        holder.__pydantic_fields_set__.add(name)
    elif private is not None and name in type(holder).__private_attributes__:
        private[name] = value
    elif extra is not None:
        extra[name] = value


def _delete(holder: object, part: object) -> None:
    if not isinstance(holder, BaseModel):
        del cast(dict[object, object], holder)[part]
        return
    for held in (vars(holder), holder.__pydantic_extra__, holder.__pydantic_private__):
        if held is not None:
            held.pop(str(part), None)


def _copied(value: object) -> object:
    return copy.copy(value) if isinstance(value, dict) else value


def _probe_of(model: ContextT) -> ContextT:
    """A model to validate assignments on: its own validators may change what they see."""
    decorators = type(model).__pydantic_decorators__
    if decorators.model_validators or decorators.field_validators or decorators.validators:
        return view_of(model)
    return _shallow(model)


def _shallow(model: ContextT) -> ContextT:
    """A new model with the same values; values that properties cached are left behind."""
    copied = model.model_copy()
    fields = type(model).model_fields
    for name in [name for name in vars(copied) if name not in fields]:
        del vars(copied)[name]
    return show(copied, shown_by(model))
