"""What is written of a user's class beside its values, and how its instances are made again.

Making one runs no code of the class as long as the class has the same schema; under another
schema the data are validated into the class as it is now.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
import typing
from collections.abc import Callable, Mapping, Set
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary

from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter, ValidationError

from ..errors import ValueNotRead
from ..user_code import Raised, caught_inline
from ..value_keys import class_name
from ..values import shown
from .codec_forms import NoForm

Fields = Mapping[str, object]


class State(NamedTuple):
    """What an instance holds: its fields, and of a pydantic model the rest.

    ``given`` names the fields that were set; ``None`` says all of them.
    """

    fields: Fields
    given: Set[str] | None = None
    extra: Fields | None = None
    private: Fields | None = None


_digests: WeakKeyDictionary[type, str] = WeakKeyDictionary()
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def schema_digest(kind: type) -> str:
    """A digest of a class's fields and their annotations."""
    known = _digests.get(kind)
    if known is None:
        text = _ADDRESS.sub("", repr(_schema(kind)))
        known = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
        _digests[kind] = known
    return known


def _schema(kind: type) -> list[object]:
    if issubclass(kind, BaseModel):
        return [
            (name, field.annotation, field.metadata) for name, field in kind.model_fields.items()
        ]
    return [(field.name, field.type) for field in _dataclass_fields(kind)]


def _dataclass_fields(kind: type) -> tuple[dataclasses.Field[object], ...]:
    return dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()


_OWN = __name__.partition(".")[0]
_IMPLICIT = frozenset({"__dict__", "__weakref__"})


def state(value: object) -> State:
    """What a model or a dataclass holds. Raises `NoForm` when that is more than is known of."""
    kind = type(value)
    if isinstance(value, BaseModel):
        names = type(value).model_fields
        attributes = vars(value)
        held = {name: attributes[name] for name in names if name in attributes}
        _check_attributes(value, held)
        given = value.__pydantic_fields_set__
        return State(
            held,
            None if given == held.keys() else given,
            value.__pydantic_extra__ or None,
            value.__pydantic_private__ or None,
        )
    held = {}
    for field in _dataclass_fields(kind):
        try:
            held[field.name] = object.__getattribute__(value, field.name)
        except AttributeError:  # a field without a value, of init=False
            continue
    # The engine's own keep in theirs what follows from their fields.
    theirs = [base for base in kind.__mro__ if base.__module__.partition(".")[0] != _OWN]
    slots = {name for base in theirs for name in vars(base).get("__slots__", ())}
    more = [name for name in slots - held.keys() - _IMPLICIT if hasattr(value, name)]
    if more:
        raise NoForm(f"it has slots that are no fields: {', '.join(sorted(more))}")
    _check_attributes(value, held)
    return State(held)


def _check_attributes(value: object, held: Fields) -> None:
    """Refuse what would not come back: attributes that are no fields, data of a builtin base."""
    kind = type(value)
    try:
        object.__new__(kind)
    except TypeError:
        raise NoForm("its class extends a built-in type, whose part is not saved") from None
    attributes: Mapping[str, object] = vars(value) if hasattr(value, "__dict__") else {}
    if attributes.keys() <= held.keys():
        return
    cached = {
        name
        for base in kind.__mro__
        for name, part in vars(base).items()
        if isinstance(part, functools.cached_property)
    }
    more = [name for name in attributes if name not in held and name not in cached]
    if more:
        raise NoForm(f"it has attributes that are no fields: {', '.join(more)}")


def made(kind: type, digest: str, held: State) -> object:
    """An instance of ``kind`` that holds that.

    Without running any code of it when its schema has the given digest, else by validation.
    Raises `ValueNotRead` with the differences when the data do not fit.
    """
    if digest != schema_digest(kind):
        return _validated(kind, held)
    return _model(kind, held) if issubclass(kind, BaseModel) else _instance(kind, held.fields)


def _model(kind: type[BaseModel], held: State) -> BaseModel:
    model: BaseModel = object.__new__(kind)
    _set(model, "__dict__", dict(held.fields))
    given = held.fields.keys() if held.given is None else held.given
    _set(model, "__pydantic_fields_set__", set(given))
    if issubclass(kind, RootModel):  # which has neither extras nor private attributes
        return model
    keeps = kind.model_config.get("extra") == "allow"
    _set(model, "__pydantic_extra__", dict(held.extra or {}) if keeps else None)
    has_private = bool(kind.__private_attributes__)
    _set(model, "__pydantic_private__", dict(held.private or {}) if has_private else None)
    return model


def _instance(kind: type, fields: Fields) -> object:
    instance: object = object.__new__(kind)
    for name, value in fields.items():
        _set(instance, name, value)
    return instance


def _set(instance: object, name: str, value: object) -> None:
    """Set an attribute, past what the class says about that."""
    object.__setattr__(instance, name, value)


def _validated(kind: type, held: State) -> object:
    if issubclass(kind, BaseModel):
        known = list(kind.model_fields)
        build: Callable[[], object] = functools.partial(_validated_model, kind, held)
    else:
        known = [field.name for field in _dataclass_fields(kind)]
        build = functools.partial(_validated_instance, kind, held.fields)
    removed = [name for name in held.fields if name not in known]
    added = [name for name in known if name not in held.fields]
    result = Raised(ValueError("fields were removed")) if removed else caught_inline(build)
    if not isinstance(result, Raised):
        return result
    parts = [f"removed: {', '.join(removed)}"] if removed else []
    parts += [f"added: {', '.join(added)}"] if added else []
    parts += [] if removed else [f"failed: {_failure(result.error)}"]
    raise ValueNotRead(
        f"{class_name(kind)} was redefined since the value was saved, and the value does not fit "
        f"any more ({'; '.join(parts)}): run the step again, or define the class as it was"
    ) from result.error


def _failure(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)
        )
    return f"{type(error).__name__}: {shown(error)}"


def _validated_model(kind: type[BaseModel], held: State) -> BaseModel:
    data: dict[str, object] = dict(held.extra or {})
    for name, value in held.fields.items():
        field = kind.model_fields[name]
        alias = field.validation_alias or field.alias
        data[alias if isinstance(alias, str) else name] = value
    model = kind.model_validate(data)
    if held.given is not None:
        _set(model, "__pydantic_fields_set__", set(held.given) & kind.model_fields.keys())
    private = model.__pydantic_private__
    if private is not None and held.private:
        private.update({k: v for k, v in held.private.items() if k in kind.__private_attributes__})
    return model


def _validated_instance(kind: type, held: Fields) -> object:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields: dict[str, object] = {}
    for field in _dataclass_fields(kind):
        if field.name in held:
            fields[field.name] = _fitting(hints[field.name], field.name, held[field.name])
        elif field.default is not dataclasses.MISSING:
            fields[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            fields[field.name] = field.default_factory()
        else:
            raise ValueError(f"{field.name} has no value")
    return _instance(kind, fields)


def _fitting(hint: object, name: str, value: object) -> object:
    """``value`` as an annotation wants it."""
    lax = ConfigDict(arbitrary_types_allowed=True)
    has_config = isinstance(hint, type) and (
        issubclass(hint, BaseModel) or dataclasses.is_dataclass(hint) or typing.is_typeddict(hint)
    )
    config = None if has_config else lax
    adapter: TypeAdapter[object] = TypeAdapter(cast("type[object]", hint), config=config)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name}: {error.errors(include_url=False)[0]['msg']}") from None


def named_tuple_fields(kind: type) -> list[str]:
    """The names of a named tuple's fields."""
    return list(cast("tuple[str, ...]", vars(kind)["_fields"]))
