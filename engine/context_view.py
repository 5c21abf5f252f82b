"""The copy of a context that a step works on, made as lazily as it can be.

A *view* is an instance of a subclass of the user's model, made once per model. It begins with the
base's own field values; a mutable one is cloned when it is first read. Reading ``__dict__`` (which
is what serialisers and copies do) clones all that is left. So isolating costs nothing for fields
that a step does not touch, whatever their size.

Models with extras, private attributes or attribute access of their own are copied eagerly.
"""

from __future__ import annotations

import copy
from typing import ClassVar, Self, TypeVar, cast

from pydantic import BaseModel

from .errors import ContextIsolationError
from .values import ATOMS, cloned, state_of

ContextT = TypeVar("ContextT", bound=BaseModel)

_read = object.__getattribute__
_views: dict[type[BaseModel], type[BaseModel]] = {}


def view_of(base: ContextT) -> ContextT:
    """A copy of ``base`` to work on; nothing done to it reaches ``base``.

    Raises `ContextIsolationError` for a field that cannot be copied, when it is read.
    """
    model = type(base)
    if not _may_be_lazy(base):
        return _eager_copy(base)
    view_type = _views.get(model)
    if view_type is None:
        view_type = _views[model] = _make_view_type(model)
    view = object.__new__(view_type)
    _fill(view, dict(vars(base)), set(base.__pydantic_fields_set__))
    object.__setattr__(view, "_flujo_cloned", set())
    object.__setattr__(view, "_flujo_raw", False)
    return cast(ContextT, view)


def plain_of(context: ContextT) -> ContextT:
    """``context`` as an instance of the user's own class: a view's whole content, or itself."""
    if not isinstance(context, _View):
        return context
    plain = object.__new__(context._flujo_model)
    _fill(plain, dict(_whole(context)), set(context.__pydantic_fields_set__))
    return cast(ContextT, plain)


def touched_fields(base: BaseModel, context: BaseModel) -> dict[str, object]:
    """Fields (extras and private attributes too) of ``context`` that are not ``base``'s objects.

    Only these can differ. Fields that a view never gave out are left alone.
    """
    before = state_of(base)
    if isinstance(context, _View):
        fields: dict[str, object] = _read(context, "__dict__")
        after = {name: value for name, value in fields.items() if name in context._flujo_fields}
    else:
        after = state_of(context)
    return {
        name: value
        for name, value in after.items()
        if name not in before or value is not before[name]
    }


def _fill(model: object, state: dict[str, object], fields_set: set[str]) -> None:
    object.__setattr__(model, "__dict__", state)
    object.__setattr__(model, "__pydantic_fields_set__", fields_set)
    object.__setattr__(model, "__pydantic_extra__", None)
    object.__setattr__(model, "__pydantic_private__", None)


def _eager_copy(base: ContextT) -> ContextT:
    try:
        return base.model_copy(deep=True)
    except (TypeError, ValueError, AttributeError) as error:
        names = [name for name, value in state_of(base).items() if not _can_be_copied(value)]
        raise _isolation_error(type(base), ", ".join(names) or "?", error) from error


def _may_be_lazy(base: BaseModel) -> bool:
    model = type(base)
    plain_access = (
        model.__getattribute__ is BaseModel.__getattribute__
        and model.__setattr__ is BaseModel.__setattr__
    )
    return plain_access and not model.__private_attributes__ and base.__pydantic_extra__ is None


def _can_be_copied(value: object) -> bool:
    try:
        cloned(value)
    except (TypeError, ValueError, AttributeError):
        return False
    return True


def _isolation_error(model: type, field: str, cause: Exception) -> ContextIsolationError:
    return ContextIsolationError(
        f"field {field!r} of {model.__name__} cannot be copied ({cause}), and every step works on "
        "its own copy of the context; keep it in `resources` instead"
    )


class _View:
    """The behaviour of a view, mixed in before the user's model.

    ``_flujo_cloned`` names the fields whose value is the view's own. While ``_flujo_raw`` is true,
    pydantic validates an assignment and may see ``__dict__`` as it is.
    """

    __slots__ = ()
    _flujo_model: ClassVar[type[BaseModel]]
    _flujo_fields: ClassVar[frozenset[str]]
    _flujo_plain_assignment: ClassVar[bool]

    def __new__(cls, *positional: object, **fields: object) -> Self:
        """``type(context)(…)`` makes an instance of the user's model."""
        return cast(Self, cls._flujo_model(*positional, **fields))

    def __getattribute__(self, name: str) -> object:
        if name in _read(self, "_flujo_fields"):
            return _field(self, name)
        if name == "__class__":
            return _read(self, "_flujo_model")
        if name == "__dict__" and not _is_raw(self):
            return _whole(self)
        return _read(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._flujo_fields and self._flujo_plain_assignment:
            _read(self, "__dict__")[name] = value
            _read(self, "__pydantic_fields_set__").add(name)
        else:
            object.__setattr__(self, "_flujo_raw", True)
            try:
                BaseModel.__setattr__(cast(BaseModel, self), name, value)
            finally:
                object.__setattr__(self, "_flujo_raw", False)
        _read(self, "_flujo_cloned").add(name)

    def __copy__(self) -> BaseModel:
        return copy.copy(plain_of(cast(BaseModel, self)))

    def __deepcopy__(self, memo: dict[int, object] | None = None) -> BaseModel:
        return copy.deepcopy(plain_of(cast(BaseModel, self)), memo)

    def __reduce__(self) -> str | tuple[object, ...]:
        return plain_of(cast(BaseModel, self)).__reduce_ex__(4)


def _make_view_type(model: type[BaseModel]) -> type[BaseModel]:
    slots = ("_flujo_cloned", "_flujo_raw")
    body = {"__slots__": slots, "__module__": model.__module__, "__doc__": model.__doc__}
    metaclass: type[type] = type(model)
    view_type: type[BaseModel] = metaclass(model.__name__, (_View, model), body)
    config = model.model_config
    for name, value in (
        ("_flujo_model", model),
        ("_flujo_fields", frozenset(model.model_fields)),
        (
            "_flujo_plain_assignment",
            not config.get("validate_assignment") and not config.get("frozen"),
        ),
    ):
        type.__setattr__(view_type, name, value)
    return view_type


def _is_raw(view: _View) -> bool:
    try:
        return bool(_read(view, "_flujo_raw"))
    except AttributeError:  # made by pydantic from the view's type: an ordinary model
        return True


def _field(view: _View, name: str) -> object:
    state: dict[str, object] = _read(view, "__dict__")
    if name not in state:
        return _read(view, name)  # deleted, or never set: the model's own error
    value = state[name]
    if type(value) in ATOMS or _is_raw(view):
        return value
    done: set[str] = _read(view, "_flujo_cloned")
    if name not in done:
        try:
            value = state[name] = cloned(value)
        except (TypeError, ValueError, AttributeError) as error:
            raise _isolation_error(view._flujo_model, name, error) from error
        done.add(name)
    return value


def _whole(view: _View) -> dict[str, object]:
    state: dict[str, object] = _read(view, "__dict__")
    for name in state:
        _field(view, name)
    return state
