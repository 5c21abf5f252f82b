"""The copy of a context that a step works on, made as lazily as it can be.

A *view* is an instance of a subclass of the user's model, made once per model. It begins with the
base's own field values; a mutable one is cloned when it is first read. Reading ``__dict__`` (which
is what serialisers and copies do) clones all that is left. So isolating costs nothing for fields
that a step does not touch, whatever their size.

Models whose own code would notice are copied eagerly: with extras or private attributes, attribute
access or subclass hooks of their own, validators of the whole model.
"""

from __future__ import annotations

import copy
from typing import ClassVar, Self, TypeVar, cast

from pydantic import BaseModel

from .context import SHOWN, show, shown_by
from .errors import ContextIsolationError, ContextViewError
from .values import ATOMS, cloned, state_of

ContextT = TypeVar("ContextT", bound=BaseModel)

_read = object.__getattribute__
_VIEW_TYPE = "__flujo_view_type__"


def view_of(base: ContextT) -> ContextT:
    """A copy of ``base`` to work on; nothing done to it reaches ``base``.

    Raises `ContextIsolationError` for a field that cannot be copied, when it is read.
    """
    model = type(base)
    view_type: type[BaseModel] | None = vars(model).get(_VIEW_TYPE)
    if view_type is None:
        if not _may_be_lazy(base):
            return _eager_copy(base)
        view_type = _make_view_type(model)
        type.__setattr__(model, _VIEW_TYPE, view_type)  # both go together when they go
    view = object.__new__(view_type)
    _fill(view, state_of(base), set(base.__pydantic_fields_set__))
    object.__setattr__(view, "_flujo_cloned", set())
    return show(cast(ContextT, view), shown_by(base))


def plain_of(context: ContextT) -> ContextT:
    """``context`` as an instance of the user's own class: a view's whole content, or itself."""
    if not isinstance(context, _View):
        return context
    plain = object.__new__(context._flujo_model)
    _fill(plain, dict(_whole(context)), set(context.__pydantic_fields_set__))
    return cast(ContextT, plain)


def own_state(context: BaseModel) -> dict[str, object]:
    """`state_of` a context as it is: fields that a view never gave out stay the base's objects."""
    if isinstance(context, _View):
        fields: dict[str, object] = _read(context, "__dict__")
        return {name: value for name, value in fields.items() if name in context._flujo_fields}
    return state_of(context)


def _fill(model: object, state: dict[str, object], fields_set: set[str]) -> None:
    object.__setattr__(model, "__dict__", state)
    object.__setattr__(model, "__pydantic_fields_set__", fields_set)
    object.__setattr__(model, "__pydantic_extra__", None)
    object.__setattr__(model, "__pydantic_private__", None)


def _eager_copy(base: ContextT) -> ContextT:
    try:
        return show(base.model_copy(deep=True), shown_by(base))
    except (TypeError, ValueError, AttributeError) as error:
        names = [name for name, value in state_of(base).items() if not _can_be_copied(value)]
        raise isolation_error(type(base), ", ".join(names) or "?", error) from error


_OWN_CODE = ("__getattribute__", "__setattr__", "__delattr__")
_SUBCLASS_HOOKS = ("__init_subclass__", "__pydantic_init_subclass__")


def _may_be_lazy(base: BaseModel) -> bool:
    model = type(base)
    return (
        all(getattr(model, name) is getattr(BaseModel, name) for name in _OWN_CODE)
        and not any(
            name in vars(kind) for kind in _users_classes(model) for name in _SUBCLASS_HOOKS
        )
        and not model.__private_attributes__
        and not model.__pydantic_decorators__.model_validators
        and base.__pydantic_extra__ is None
    )


def _users_classes(model: type[BaseModel]) -> list[type]:
    not_the_users = ("pydantic", "builtins", "typing", "abc")
    return [one for one in model.__mro__ if one.__module__.partition(".")[0] not in not_the_users]


def _can_be_copied(value: object) -> bool:
    try:
        cloned(value)
    except (TypeError, ValueError, AttributeError):
        return False
    return True


def isolation_error(model: type, field: str, cause: Exception) -> ContextIsolationError:
    """The error that names the field which cannot be copied."""
    return ContextIsolationError(
        f"field {field!r} of {model.__name__} cannot be copied ({cause}), and every step works on "
        "its own copy of the context; keep it in `resources` instead"
    )


class _View:
    """The behaviour of a view, mixed in before the user's model.

    ``_flujo_cloned`` names the fields whose value is the view's own.
    """

    __slots__ = ()
    _flujo_model: ClassVar[type[BaseModel]]
    _flujo_fields: ClassVar[frozenset[str]]
    _flujo_assignable: ClassVar[frozenset[str]]

    def __new__(cls, *positional: object, **fields: object) -> Self:
        """``type(context)(…)`` makes an instance of the user's model."""
        return cast(Self, cls._flujo_model(*positional, **fields))

    def __getattribute__(self, name: str) -> object:
        if name in _read(self, "_flujo_fields"):
            return _field(self, name)
        if name == "__dict__":
            return _whole(self)
        if name == "__class__":
            return _read(self, "_flujo_model")
        if name == "__pydantic_generic_metadata__":  # what pydantic's == looks at
            return _read(self, "_flujo_model").__pydantic_generic_metadata__
        return _read(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in SHOWN and name not in self._flujo_fields:
            raise ContextViewError(
                f"{name!r} is what {self._flujo_model.__name__} shows of its run, and nothing "
                f"writes to it: declare a field {name!r} on {self._flujo_model.__name__}, or "
                "another one"
            )
        if name in self._flujo_assignable:
            _read(self, "__dict__")[name] = value
            _read(self, "__pydantic_fields_set__").add(name)
        else:
            BaseModel.__setattr__(cast(BaseModel, self), name, value)
        _own_names(self).add(name)

    def __copy__(self) -> BaseModel:
        return copy.copy(plain_of(cast(BaseModel, self)))

    def __deepcopy__(self, memo: dict[int, object] | None = None) -> BaseModel:
        return copy.deepcopy(plain_of(cast(BaseModel, self)), memo)

    def __reduce__(self) -> str | tuple[object, ...]:
        return plain_of(cast(BaseModel, self)).__reduce_ex__(4)


def _make_view_type(model: type[BaseModel]) -> type[BaseModel]:
    body = {
        "__slots__": ("_flujo_cloned",),
        "__module__": model.__module__,
        "__doc__": model.__doc__,
    }
    metaclass: type[type] = type(model)
    view_type: type[BaseModel] = metaclass(model.__name__, (_View, model), body)
    config, fields = model.model_config, model.model_fields
    unchecked = not config.get("validate_assignment") and not config.get("frozen")
    plain = {name for name, field in fields.items() if unchecked and not field.frozen}
    type.__setattr__(view_type, "_flujo_model", model)
    type.__setattr__(view_type, "_flujo_fields", frozenset(fields))
    type.__setattr__(view_type, "_flujo_assignable", frozenset(plain))
    return view_type


def _own_names(view: _View) -> set[str]:
    """The fields that were cloned or assigned; all of them in a view that pydantic made itself."""
    try:
        names: set[str] = _read(view, "_flujo_cloned")
    except AttributeError:
        names = set(view._flujo_fields)
    return names


def _field(view: _View, name: str) -> object:
    state: dict[str, object] = _read(view, "__dict__")
    if name not in state:
        return _read(view, name)  # deleted, or never set: the model's own error
    value = state[name]
    if type(value) in ATOMS or name in (own := _own_names(view)):
        return value
    try:
        value = state[name] = cloned(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise isolation_error(view._flujo_model, name, error) from error
    own.add(name)
    return value


def _whole(view: _View) -> dict[str, object]:
    state: dict[str, object] = _read(view, "__dict__")
    for name in state:
        _field(view, name)
    return state
