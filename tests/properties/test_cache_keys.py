"""The keys of the cache: equal for values that are exactly equal, and for no others."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flujo_nb.engine.value_keys import encoded
from flujo_nb.engine.values import cloned, exactly_equal
from tests.properties.states import fingerprint, values


@given(values, values)
def test_bytes_are_equal_for_what_is_exactly_equal_and_for_nothing_else(
    left: object, right: object
) -> None:
    assert (encoded(left) == encoded(right)) == exactly_equal(left, right)
    assert (encoded(left) == encoded(right)) == (fingerprint(left) == fingerprint(right))


@given(values)
def test_a_copy_has_the_same_bytes(value: object) -> None:
    assert encoded(value) == encoded(cloned(value))


@given(st.dictionaries(values.filter(lambda v: type(v) in (str, int, bytes)), values), st.randoms())
def test_the_order_of_a_dict_does_not_count(table: dict[Any, Any], chance: random.Random) -> None:
    items = [*table.items()]
    chance.shuffle(items)
    assert encoded(dict(items)) == encoded(table)


@given(st.lists(values, max_size=4), st.lists(values, max_size=4))
def test_joined_bytes_are_unambiguous(left: list[Any], right: list[Any]) -> None:
    joined = [b"".join(map(encoded, one)) for one in (left, right)]
    assert (joined[0] == joined[1]) == (encoded(left) == encoded(right))
