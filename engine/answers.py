"""Answers to pauses, checked against what was asked for."""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from .errors import AnswerRejected


def answer_of(given: object, wanted: type | None, where: str) -> object:
    """``given`` as the type that the pause at ``where`` asks for.

    Raises `AnswerRejected`, which names each field that does not fit.
    """
    if wanted is None:
        return given
    try:
        return TypeAdapter(wanted).validate_python(given)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}, found "
            f"{one['input']!r:.60}"
            for one in error.errors(include_url=False)
        )
        name = getattr(wanted, "__name__", str(wanted))
        raise AnswerRejected(f"the answer at {where} is no {name}: {told}") from error
