"""Answers to pauses, checked against what was asked for."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from .errors import AnswerRejected
from .user_code import Raised, caught_inline
from .values import shown


def answer_of(given: object, wanted: type | None, where: str) -> object:
    """``given`` as the type that the pause at ``where`` asks for.

    Raises `AnswerRejected`, which names each field that does not fit.
    """
    if wanted is None:
        return given
    taken = caught_inline(TypeAdapter[object](wanted).validate_python, given)
    if not isinstance(taken, Raised):
        return taken
    name = getattr(wanted, "__name__", str(wanted))
    raise AnswerRejected(
        f"the answer at {where} is no {name}: {_told(taken.error)}"
    ) from taken.error


def _told(error: BaseException) -> str:
    if not isinstance(error, ValidationError):
        return f"checking it raised {error!r}"
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}, found "
        f"{shown(one['input'])}"
        for one in error.errors(include_url=False)
    )
