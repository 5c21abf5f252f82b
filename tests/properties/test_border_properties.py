"""Copies at the border are equal, of the same types, and share nothing that can change."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.border import copied
from flujo_nb.engine.values import exactly_equal

atoms = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
data = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner, inner)
        | st.sets(st.integers())
        | st.frozensets(st.text())
    ),
    max_leaves=20,
)


def containers(value: object) -> Iterator[object]:
    """Every list, dict and set inside a value, itself included."""
    match value:
        case list() | tuple():
            for item in value:
                yield from containers(item)
        case dict():
            for item in value.values():
                yield from containers(item)
    if isinstance(value, list | dict | set):
        yield value


@given(data)
def test_a_copy_is_exactly_equal_and_shares_nothing_that_can_change(value: object) -> None:
    result = copied(value)
    assert result.shared == ()
    assert exactly_equal(result.value, value)
    theirs = {id(one) for one in containers(value)}
    assert not any(id(one) in theirs for one in containers(result.value))


@given(data)
def test_aliases_are_kept(value: object) -> None:
    pair = copied([value, value]).value
    assert isinstance(pair, list)
    assert pair[0] is pair[1]


@given(data)
def test_a_value_in_itself_is_copied_too(value: object) -> None:
    loop: list[object] = [value]
    loop.append({"loop": loop})
    result = copied(loop).value
    assert isinstance(result, list)
    assert result[1]["loop"] is result is not loop
