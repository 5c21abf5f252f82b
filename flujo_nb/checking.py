"""Checks: the expressions in a cell, and what each of them comes to.

An expression is evaluated once, the two sides of a comparison too, so that a failed one can show
what stood on both.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType

from flujo_nb.engine.errors import StepInterrupted
from flujo_nb.engine.failure_builder import feedback_of
from flujo_nb.engine.user_code import Raised, caught_inline
from flujo_nb.widgets.previews import FEEDBACK, clipped, short

from .errors import TerseError

_SIDE = 60

_Relation = Callable[..., object]

_RELATIONS: dict[type[ast.cmpop], tuple[str, _Relation]] = {
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Is: ("is", operator.is_),
    ast.IsNot: ("is not", operator.is_not),
    ast.In: ("in", lambda one, whole: one in whole),
    ast.NotIn: ("not in", lambda one, whole: one not in whole),
}


class CheckFailed(TerseError):
    """Not everything that has to hold of a frame does."""


class NoExpression(Exception):
    """A body is no list of expressions; ``line`` counts its lines from 1."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


@dataclass(frozen=True, slots=True)
class Check:
    """An expression that has to hold: its text, and the code of it.

    Of a comparison there is the code of each side, and how each is compared with the next one.
    """

    text: str
    sides: Sequence[CodeType]
    relations: Sequence[tuple[str, _Relation]]

    def why_not(self, names: dict[str, object]) -> str | None:
        """Why it does not hold, in one line; ``None`` when it does.

        It is evaluated with ``names``. Raises `StepInterrupted`, when that was interrupted.
        """
        told = caught_inline(self._evaluated, names)
        if not isinstance(told, Raised):
            return told
        if isinstance(told.error, KeyboardInterrupt | StepInterrupted):
            raise StepInterrupted from told.error
        return clipped(" ".join(feedback_of(told.error).split()), FEEDBACK)

    def _evaluated(self, names: dict[str, object]) -> str | None:
        value: object = eval(self.sides[0], names)  # noqa: S307  # the user's own cell
        if not self.relations:
            return None if value else f"it is {short(value)}"
        for code, (sign, relation) in zip(self.sides[1:], self.relations, strict=True):
            left, value = value, eval(code, names)  # noqa: S307  # too
            if not relation(left, value):
                return f"{short(left, _SIDE)} {sign} {short(value, _SIDE)} is false"
        return None


def checks_in(body: str) -> list[Check]:
    """The expressions of a body, one a line (or in brackets over several).

    Raises `NoExpression` when something else stands there, or nothing does.
    """
    try:
        tree = ast.parse(body)
        checks = list(_checks(tree.body, body))
    except SyntaxError as error:
        raise NoExpression(error.lineno or 1, error.msg) from error
    except ValueError as error:  # a text that no source can be
        raise NoExpression(1, str(error)) from error
    except (RecursionError, MemoryError) as error:
        raise NoExpression(1, "it is nested too deeply") from error
    if not checks:
        raise NoExpression(1, "there is nothing to check")
    return checks


def _checks(statements: Sequence[ast.stmt], body: str) -> Iterator[Check]:
    for one in statements:
        if not isinstance(one, ast.Expr):
            raise NoExpression(one.lineno, f"{_first_line(one)} is no expression")
        whole = one.value
        if isinstance(whole, ast.Tuple) and whole.elts:
            raise NoExpression(one.lineno, "a tuple is always true: leave out the message")
        if isinstance(whole, ast.Constant) and isinstance(whole.value, str | bytes):
            raise NoExpression(one.lineno, f"{_first_line(one)} is a text, and checks nothing")
        sides, relations = [whole], []
        if isinstance(whole, ast.Compare):
            sides = [whole.left, *whole.comparators]
            relations = [_RELATIONS[type(sign)] for sign in whole.ops]
        codes = [compile(ast.Expression(side), "<check>", "eval") for side in sides]
        yield Check(_text_of(whole, body), codes, relations)


def _text_of(whole: ast.expr, body: str) -> str:
    """An expression in one line, as it was written if that is one."""
    text = ast.get_source_segment(body, whole) or ""
    if not text or "\n" in text:
        text = " ".join(ast.unparse(whole).split())
    return clipped(text, FEEDBACK)


def _first_line(one: ast.stmt) -> str:
    return clipped(ast.unparse(one).partition("\n")[0], _SIDE)
