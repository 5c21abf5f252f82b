"""References as values of a context."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ValidationError

from flujo_nb.engine.decorators import step
from flujo_nb.engine.executor_core import ExecutorCore
from flujo_nb.engine.references import ContextReference, Loaded, references_in
from flujo_nb.engine.run import Facility
from flujo_nb.engine.steps import Node
from tests.engine.fakes import echo


class Inner(BaseModel):
    other: ContextReference[int]


class Holder(BaseModel):
    own: ContextReference[dict[str, int]] | None = None
    inner: Inner | None = None


PLACE = {"provider_id": "p", "key": "k"}
HOLDER = Holder(own=ContextReference("p", "k"), inner=Inner(other=ContextReference("q", "l")))


def bound(value: Any) -> ContextReference[Any]:
    reference: ContextReference[Any] = ContextReference("p", "k")
    return reference.bound(Loaded(value))


def test_a_reference_is_validated_and_dumped_as_its_place() -> None:
    held = Holder.model_validate({"own": PLACE})
    assert held == Holder(own=ContextReference("p", "k"))
    assert held.model_dump() == {"own": PLACE, "inner": None}
    assert Holder.model_validate_json(held.model_dump_json()) == held
    with pytest.raises(ValidationError, match="key"):
        Holder.model_validate({"own": {"provider_id": "p"}})


def test_a_loaded_value_is_in_no_form_of_the_reference() -> None:
    held = Holder(own=bound({"secret": 1}))
    assert held.own is not None
    held.own.value["secret"] = 2
    for form in (held.model_dump(), held.model_dump_json(), repr(held), pickle.dumps(held)):
        assert "secret" not in str(form)


def test_a_place_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        ContextReference("p", "k").key = "l"  # type: ignore[misc]


def test_references_of_one_place_are_equal_unless_a_value_changed() -> None:
    plain, loaded = ContextReference[Any]("p", "k"), bound([1])
    assert plain == loaded == bound([2])
    assert hash(plain) == hash(loaded)
    assert plain != ContextReference("p", "l")
    assert plain != "p/k"
    assert loaded.value == [1]
    assert plain == loaded
    loaded.value.append(2)
    assert plain != loaded
    assert loaded.is_changed


def test_a_copy_has_the_value_as_it_stands() -> None:
    loaded = bound([1])
    loaded.value.append(2)
    assert copy.deepcopy(loaded).value == [1, 2]
    assert not copy.deepcopy(bound([1])).is_changed


def test_references_are_found_with_their_paths() -> None:
    found = {path: reference.key for path, reference in references_in(HOLDER)}
    assert found == {("own",): "k", ("inner", "other"): "l"}
    assert list(references_in(Holder())) == []


class Plain(BaseModel):
    names: list[str] = []
    again: Plain | None = None


class Deep(BaseModel):
    plain: Plain
    holder: Annotated[Holder | None, "perhaps"] = None


@step
def take(data: object, context: BaseModel) -> None: ...


@pytest.mark.parametrize(
    ("node", "context", "pays"),
    [
        (take, HOLDER, True),
        (take, Deep(plain=Plain()), True),
        (take, Plain(), False),
        (take, None, False),
        (echo, HOLDER, False),
    ],
)
def test_only_runs_that_may_meet_a_reference_pay_for_it(
    node: Node, context: BaseModel | None, pays: bool
) -> None:
    assert (Facility.REFERENCES in ExecutorCore().facilities_of(node, context)) is pays
