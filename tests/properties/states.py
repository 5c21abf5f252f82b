"""Contexts of every shape, how to tell them apart exactly, and how to spoil them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, PrivateAttr

SPOILED = "spoiled"


class Inner(BaseModel):
    model_config = ConfigDict(extra="allow")
    label: Any = None
    items: list[Any] = []


class State(BaseModel):
    """A context whose fields may hold anything; it is isolated lazily."""

    one: Any = None
    two: Any = None
    items: list[Any] = []
    table: dict[Any, Any] = {}
    inner: Inner | None = None


class PrivateState(State):
    """The same with what makes isolation eager."""

    model_config = ConfigDict(extra="allow")
    _hidden: Any = PrivateAttr(default=None)


class ValidatedState(State):
    """The same with assignments that are validated."""

    model_config = ConfigDict(validate_assignment=True)


atoms = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf")])
    | st.text("ab", max_size=2)
    | st.binary(max_size=1)
)
keys = st.text("abc", max_size=1) | st.integers(2, 5)


def _containers(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inside, max_size=4)
        | st.dictionaries(keys, inside, max_size=3)
        | st.tuples(inside, inside)
        | st.sets(st.text("abc", max_size=1) | st.integers(2, 5), max_size=3)
        | st.builds(Inner, label=inside, items=st.lists(inside, max_size=2))
        | st.builds(Inner, extra=inside)
    )


values = st.recursive(atoms, _containers, max_leaves=8)


def _with_hidden(state: PrivateState, hidden: object) -> PrivateState:
    state._hidden = hidden
    return state


def _states(model: type[State], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[State]:
    return st.builds(
        model,
        one=values,
        two=values,
        items=st.lists(values, max_size=4),
        table=st.dictionaries(keys, values, max_size=3),
        inner=st.none() | st.builds(Inner, label=values, items=st.lists(values, max_size=2)),
        **more,
    )


private_states = st.builds(_with_hidden, _states(PrivateState, more=values), values)
states = _states(State) | private_states | _states(ValidatedState)
pairs = (
    st.tuples(_states(State), _states(State))
    | st.tuples(private_states, private_states)
    | st.tuples(_states(ValidatedState), _states(ValidatedState))
)


def fingerprint(value: object) -> object:
    """A text of ``value`` that differs whenever anything inside differs, type or sign included."""
    match value:
        case BaseModel():
            parts = {
                **dict(value),
                **(value.__pydantic_private__ or {}),
            }
            return type(value).__name__, fingerprint(parts)
        case dict():
            return "dict", sorted((repr(key), fingerprint(item)) for key, item in value.items())
        case set():
            return "set", sorted(map(repr, value))
        case list() | tuple():
            return type(value).__name__, [fingerprint(item) for item in value]
        case _:
            return type(value).__name__, repr(value)


def spoil(value: object) -> None:
    """Change everything that can be changed in ``value``, at every depth."""
    match value:
        case BaseModel():
            for name in [name for name, _ in value]:
                spoil(getattr(value, name))
            for hidden in (value.__pydantic_private__ or {}).values():
                spoil(hidden)
            if value.__pydantic_extra__ is not None:
                value.__pydantic_extra__[SPOILED] = SPOILED
            vars(value).update(dict.fromkeys(type(value).model_fields, SPOILED))
        case dict():
            for item in value.values():
                spoil(item)
            value[SPOILED] = SPOILED
        case list() | tuple():
            for item in value:
                spoil(item)
            if isinstance(value, list):
                value.append(SPOILED)
        case set():
            value.add(SPOILED)
