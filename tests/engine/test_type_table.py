"""Which classes a name in saved data can lead to."""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
import typing
from collections import namedtuple
from collections.abc import Callable
from typing import Annotated, Any, Generic, TypedDict, TypeVar

import pytest
from pydantic import BaseModel

from flujo_nb.engine.step_kinds import HumanInTheLoopStep, ImportStep, LoopStep
from flujo_nb.engine.steps import Pipeline, Step
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.engine.value_keys import class_name

T = TypeVar("T")


class Model(BaseModel):
    class Inner(BaseModel):  # noqa: D106  # as a cell has it
        a: int


class Kind(enum.Enum):
    A = 1


class Ordinary:
    pass


Pair = namedtuple("Pair", "a b")


def local_model(**fields: Any) -> Any:
    """A class that no module has."""
    return type(
        "Local",
        (BaseModel,),
        {
            "__annotations__": fields,
            "__module__": __name__,
            "__qualname__": f"somewhere.<locals>.L{len(fields)}",
        },
    )


@pytest.mark.parametrize("kind", [Model, Model.Inner, Kind, Pair])
def test_classes_of_imported_modules_are_found(kind: type) -> None:
    assert TypeTable().find(class_name(kind)) is kind
    assert TypeTable().has(kind)


@pytest.mark.parametrize(
    "name",
    [
        f"{__name__}.Ordinary",
        f"{__name__}.BaseModel",  # another's, under a name of ours
        f"{__name__}.Model.model_fields",
        f"{__name__}.sys.modules",
        f"{__name__}.local_model",
        "builtins.int",
        "os.system",
        "no.such.module.Thing",
        "Thing",
        "",
        "..",
    ],
)
def test_nothing_else_is_found(name: str) -> None:
    assert TypeTable(lambda: {"__name__": "__main__", "Thing": Model}).find(name) is None


def test_nothing_is_imported_to_find_a_class() -> None:
    sys.modules.pop("this", None)
    before = set(sys.modules)
    assert TypeTable().find("this.Zen") is None
    assert TypeTable().find("xml.dom.minidom.Document.Inner") is None
    assert set(sys.modules) == before


def test_the_namespace_has_the_current_class_of_a_name() -> None:
    space: dict[str, object] = {"__name__": "__main__"}
    table = TypeTable(lambda: space)
    first, second = (type("Own", (BaseModel,), {"__module__": "__main__"}) for _ in range(2))
    assert table.find("__main__.Own") is None
    for kind in (first, second):
        space["Own"] = kind
        assert table.find("__main__.Own") is kind
    assert table.has(second)
    assert not table.has(first)


HINTS: list[Callable[[Any], object]] = [
    lambda kind: kind,
    lambda kind: list[kind],
    lambda kind: dict[str, tuple[kind, ...]],
    lambda kind: kind | None,
    lambda kind: typing.Optional[kind],  # noqa: UP045
    lambda kind: Annotated[kind, "x"],
    lambda kind: Callable[[int], kind],
    lambda kind: local_model(a=list[kind], b=int),
    lambda kind: dataclasses.make_dataclass("D", [("a", kind)]),
    lambda kind: typing.NamedTuple("N", [("a", kind)]),  # type: ignore[misc]
    lambda kind: TypedDict("TD", {"a": kind}),  # type: ignore[operator]
    lambda kind: typing.NewType("Own", kind),
    lambda kind: TypeVar("Bound", bound=kind),
]


@pytest.mark.parametrize("hint", HINTS)
def test_classes_are_found_in_an_annotation(hint: Callable[[Any], object]) -> None:
    kind = local_model(x=int)
    table = TypeTable()
    assert table.find(class_name(kind)) is None
    table.add(hint(kind))
    assert table.find(class_name(kind)) is kind


def test_a_generic_model_is_found_with_its_arguments() -> None:
    class Box(BaseModel, Generic[T]):
        content: T

    table = TypeTable()
    table.add(Box[int])
    assert table.has(Box[int])


def test_an_annotation_that_holds_itself_ends() -> None:
    table = TypeTable()
    table.add(Recursive)
    assert table.find("no.such") is None


class Recursive(BaseModel):
    children: list[Recursive] = []


def annotated(given: Any, result: Any) -> Callable[..., object]:
    def function(data: object) -> object:
        return data

    function.__annotations__ = {"data": given, "return": result}
    return function


def test_classes_are_found_in_what_steps_are_annotated_with() -> None:
    kinds = [local_model(**dict.fromkeys("abcdefgh"[:n], int)) for n in range(1, 8)]
    one, two, three, four, five, six, seven = kinds
    inner = Step.from_callable(annotated(one, list[two]), name="inner")
    loop: Any = LoopStep(
        name="loop",
        loop_body_pipeline=inner,
        exit_condition_callable=annotated(three, bool),
        max_loops=1,
    )
    asks: Any = HumanInTheLoopStep(name="ask", input_schema=four)
    last = Step.from_callable(
        functools.partial(annotated(int, int)),
        name="last",
        fallback_step=Step.from_callable(annotated(int, five), name="other"),
    )
    imported: Any = ImportStep(name="import", pipeline=Pipeline.of(last), context_model=six)
    table = TypeTable()
    table.add_node(Pipeline.of(loop, asks, imported))
    assert [table.find(class_name(kind)) for kind in kinds[:6]] == kinds[:6]
    assert table.find(class_name(seven)) is None


def test_an_annotation_that_does_not_resolve_hides_nothing_else() -> None:
    kind = local_model(x=int)
    table = TypeTable()
    table.add(annotated("NoSuchName", int))
    table.add(kind)
    assert table.has(kind)
