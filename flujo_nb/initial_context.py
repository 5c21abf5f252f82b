"""The context that a session's lines start with."""

from __future__ import annotations

from collections.abc import Mapping

from IPython.core.error import UsageError
from pydantic import BaseModel, ValidationError

from .border import copied


def initial_context(
    context: type[BaseModel] | BaseModel | None,
    init: Mapping[str, object] | BaseModel | None,
    current: BaseModel | None,
) -> BaseModel | None:
    """The context that new lines start with, after ``context`` and ``init`` were given.

    ``current`` is what it was before. Raises `UsageError` when they do not fit.
    """
    if context is None and init is None:
        return current
    given: object = current if context is None else context
    if isinstance(init, BaseModel):
        given, init = init, None
    if isinstance(given, BaseModel):
        model, values = type(given), {**dict(given), **(init or {})}
    elif isinstance(given, type) and issubclass(given, BaseModel):
        model, values = given, dict(init or {})
    else:
        found = "nothing" if given is None else repr(given)[:60]
        raise UsageError(f"a context is a pydantic model (class Ctx(BaseModel): …); found {found}")
    try:
        return model.model_validate(copied(values).value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or model.__name__
        raise UsageError(
            f"{model.__name__} cannot start: {where}: {first['msg']}; give values with --init "
            "{'field': …}"
        ) from error
