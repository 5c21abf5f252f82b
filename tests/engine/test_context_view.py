"""The copy that a step works on: everything that people do with a model works on it."""

from __future__ import annotations

import copy
import functools
import pickle
import threading
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    ValidationError,
    computed_field,
    field_validator,
    model_validator,
)

from flujo_nb.engine.context_update_manager import ContextUpdateManager
from flujo_nb.engine.context_view import plain_of, view_of
from flujo_nb.engine.errors import ContextIsolationError
from flujo_nb.engine.values import exactly_equal
from tests.engine.fakes import Counts

T = TypeVar("T")


class Inner(BaseModel):
    tags: list[str] = []


class Plain(BaseModel):
    number: int = 0
    names: list[str] = Field(default_factory=list)
    inner: Inner = Field(default_factory=Inner)
    table: dict[str, list[int]] = Field(default_factory=dict)


class Validated(BaseModel):
    model_config = ConfigDict(validate_assignment=True)
    number: int = 0
    names: list[str] = []

    @field_validator("number")
    @classmethod
    def _not_negative(cls, number: int) -> int:
        if number < 0:
            raise ValueError("negative")
        return number


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int = 0


class Private(BaseModel):
    number: int = 0
    _cache: dict[str, list[int]] = PrivateAttr(default_factory=dict)


class Computed(BaseModel):
    names: list[str] = []

    @computed_field
    @property
    def count(self) -> int:
        return len(self.names)


class Cached(BaseModel):
    names: list[str] = []

    @functools.cached_property
    def upper(self) -> list[str]:
        return [name.upper() for name in self.names]


class OwnAccess(BaseModel):
    number: int = 0
    names: list[str] = []

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value * 2 if name == "number" else value)


class OfType(BaseModel, Generic[T]):
    value: T
    names: list[str] = []


class Settable(BaseModel):
    names: list[str] = []

    @property
    def last(self) -> str:
        return self.names[-1]

    @last.setter
    def last(self, name: str) -> None:
        self.names.append(name)


class Logging(BaseModel):
    model_config = ConfigDict(validate_assignment=True)
    number: int = 0
    log: list[int] = []

    @model_validator(mode="after")
    def _note(self) -> Logging:
        self.log.append(self.number)
        return self


def full() -> Plain:
    return Plain(number=1, names=["a"], inner=Inner(tags=["t"]), table={"k": [1]})


MODELS = [
    full(),
    Validated(number=1, names=["a"]),
    Extra.model_validate({"number": 1, "more": [1]}),
    Private(number=1),
    Computed(names=["a"]),
    Cached(names=["a"]),
    OwnAccess(number=1, names=["a"]),
    OfType[int](value=1, names=["a"]),
    OfType(value=[1]),
    Settable(names=["a"]),
    RootModel[list[int]]([1, 2]),
]


@pytest.fixture(params=MODELS, ids=lambda model: type(model).__name__)
def base(request: pytest.FixtureRequest) -> BaseModel:
    model: BaseModel = request.param
    return model.model_copy(deep=True)


def test_a_view_looks_like_the_model(base: BaseModel) -> None:
    view = view_of(base)
    assert isinstance(view, type(base))
    assert view.__class__ is type(base)
    assert view == base
    assert base == view
    assert repr(view) == repr(base)
    assert str(view) == str(base)
    assert view.model_dump() == base.model_dump()
    assert view.model_dump_json() == base.model_dump_json()
    assert view.model_dump(exclude_unset=True) == base.model_dump(exclude_unset=True)
    assert dict(view) == dict(base)
    assert view.model_fields_set == base.model_fields_set


def test_copies_of_a_view_are_ordinary_models_of_their_own(base: BaseModel) -> None:
    view = view_of(base)
    for made in (
        copy.copy(view),
        copy.deepcopy(view),
        view.model_copy(),
        view.model_copy(deep=True),
        plain_of(view),
    ):
        assert type(made) is type(base)
        assert made == base
    assert type(plain_of(base)) is type(base)


@pytest.mark.parametrize(
    "model", [full(), Validated(), Extra.model_validate({"more": 1}), Private(), Counts(total=3)]
)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_view_can_be_pickled(model: BaseModel, protocol: int) -> None:
    made = pickle.loads(pickle.dumps(view_of(model), protocol))
    assert type(made) is type(model)
    assert exactly_equal(made, model)


def test_pydantic_takes_a_view_for_the_model(base: BaseModel) -> None:
    view = view_of(base)
    assert type(base).model_validate(view) == base
    assert type(view)(**base.model_dump()) == base if not isinstance(base, RootModel) else True


def test_nothing_done_to_a_view_reaches_its_base() -> None:
    base = full()
    before = base.model_dump_json()
    view = view_of(base)
    view.number = 9
    view.names.append("b")
    view.inner.tags.append("u")
    view.table["k"].append(2)
    view.table["new"] = []
    vars(view)["names"].append("c")
    assert base.model_dump_json() == before
    assert view.model_dump() == {
        "number": 9,
        "names": ["a", "b", "c"],
        "inner": {"tags": ["t", "u"]},
        "table": {"k": [1, 2], "new": []},
    }


class Copied:
    """Counts how often it is copied."""

    times = 0

    def __deepcopy__(self, memo: dict[int, object]) -> Copied:
        type(self).times += 1
        return self


def test_only_what_is_read_is_copied() -> None:
    class Two(BaseModel):
        number: int = 0
        read: Any = None
        unread: Any = None

    read, unread = type("Read", (Copied,), {}), type("Unread", (Copied,), {})
    base = Two(read=[read()], unread=[unread()])
    view = view_of(base)
    view.number = 2
    assert view.read is view.read
    assert ContextUpdateManager().diff(base, view) is not None
    assert (read.times, unread.times) == (1, 0)


def test_a_value_is_copied_once() -> None:
    view = view_of(full())
    assert view.names is view.names
    assert view.model_copy().names is view.names


def test_assignment_is_validated_where_the_model_says_so() -> None:
    base = Validated(names=["a"])
    view = view_of(base)
    view.number = 3
    with pytest.raises(ValidationError, match="negative"):
        view.number = -1
    with pytest.raises(ValidationError, match="valid integer"):
        view.number = "many"  # type: ignore[assignment]
    view.names.append("b")
    assert (view.number, view.names) == (3, ["a", "b"])
    assert (base.number, base.names) == (0, ["a"])


def test_a_validator_of_the_model_cannot_reach_the_base() -> None:
    base = Logging()
    view = view_of(base)
    view.number = 3
    assert base.log == [0]
    assert view.log == [0, 3]


def test_a_property_setter_cannot_reach_the_base() -> None:
    base = Settable(names=["a"])
    view = view_of(base)
    view.last = "b"
    assert base.names == ["a"]
    assert view.names == ["a", "b"]
    assert ContextUpdateManager().diff(base, view) is not None


def test_what_is_frozen_stays_frozen() -> None:
    class Frozen(BaseModel):
        model_config = ConfigDict(frozen=True)
        number: int = 0
        names: list[str] = []

    class FrozenField(BaseModel):
        number: int = Field(0, frozen=True)

    for model in (Frozen(), FrozenField()):
        view = view_of(model)
        with pytest.raises(ValidationError, match="frozen"):
            view.number = 3
        assert view.number == 0
    view = view_of(Frozen())
    assert hash(Frozen.model_construct(names=())) == hash(view_of(Frozen.model_construct(names=())))


def test_unknown_fields_are_refused_as_the_model_refuses_them() -> None:
    view = view_of(full())
    with pytest.raises(ValueError, match='"Plain" object has no field "nmber"'):
        view.nmber = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="nmber"):
        view.nmber  # type: ignore[attr-defined]  # noqa: B018


def test_extras_and_private_attributes_are_the_views_own() -> None:
    extra = Extra(more=[1])
    view = view_of(extra)
    view.more.append(2)  # type: ignore[attr-defined]
    view.new = 1  # type: ignore[attr-defined]
    assert extra.__pydantic_extra__ == {"more": [1]}
    private = Private()
    private._cache["a"] = [1]
    hidden = view_of(private)
    hidden._cache["a"].append(2)
    assert private._cache == {"a": [1]}


def test_computed_fields_and_cached_properties_see_the_views_values() -> None:
    view = view_of(Computed(names=["a"]))
    view.names.append("b")
    assert view.count == 2
    assert view.model_dump() == {"names": ["a", "b"], "count": 2}
    cached = view_of(Cached(names=["a"]))
    assert cached.upper == ["A"]
    assert cached.upper is cached.upper


def test_what_the_base_has_cached_is_not_shared() -> None:
    base = Cached(names=["a"])
    assert base.upper == ["A"]
    view = view_of(base)
    view.upper.append("B")
    assert base.upper == ["A"]


def test_a_model_with_access_of_its_own_keeps_it() -> None:
    base = OwnAccess(names=["a"])
    view = view_of(base)
    view.number = 3
    view.names.append("b")
    assert view.number == 6
    assert base.model_dump() == {"number": 0, "names": ["a"]}


def test_a_field_can_be_deleted() -> None:
    view = view_of(full())
    assert view.names == ["a"]
    del view.names
    with pytest.raises(AttributeError):
        view.names  # noqa: B018
    assert "names" not in view.model_dump(warnings=False)


def test_a_field_that_cannot_be_copied_is_named_when_it_is_read() -> None:
    class Holding(BaseModel):
        number: int = 0
        lock: Any = None

    view = view_of(Holding(lock=threading.Lock()))
    view.number = 1
    with pytest.raises(ContextIsolationError, match=r"field 'lock' of Holding .* `resources`"):
        view.lock  # noqa: B018


def test_a_model_that_is_copied_whole_names_the_field_too() -> None:
    class Holding(BaseModel):
        _lock: Any = PrivateAttr(default_factory=threading.Lock)

    with pytest.raises(ContextIsolationError, match="'_lock' of Holding"):
        view_of(Holding())


def test_making_a_view_runs_no_code_of_the_models_subclasses() -> None:
    class Registered(BaseModel):
        known: ClassVar[list[str]] = []

        def __init_subclass__(cls, *, key: str, **options: Any) -> None:
            super().__init_subclass__(**options)
            cls.known.append(key)

    class One(Registered, key="one"):
        number: int = 0

    assert view_of(One()).number == 0
    assert Registered.known == ["one"]


def test_a_model_may_refer_to_itself_and_have_awkward_names() -> None:
    class Tree(BaseModel):
        children: list[Tree] = []

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    base = Tree(children=[Tree()])
    view = view_of(base)
    view.children[0].children.append(Tree())
    assert base.children[0].children == []


def test_a_view_of_a_view_is_a_copy_too() -> None:
    base = view_of(full())
    base.names.append("b")
    again = view_of(base)
    again.names.append("c")
    again.inner.tags.clear()
    assert (base.names, base.inner.tags) == (["a", "b"], ["t"])
    assert again.names == ["a", "b", "c"]
