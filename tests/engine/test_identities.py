"""Objects recognised without being kept."""

from __future__ import annotations

import gc

from flujo_nb.engine.identities import MAX_PINNED, Sightings, held, new_name


class Thing:
    pass


def test_what_was_noted_at_first_sight_holds() -> None:
    sightings: Sightings[int] = Sightings(pins=False)
    things = [Thing() for _ in range(50)]
    notes = iter(range(1000))
    assert [sightings.of(one, lambda: next(notes)) for one in things] == list(range(50))
    assert [sightings.of(one, lambda: next(notes)) for one in things] == list(range(50))


def test_what_is_gone_is_forgotten_and_never_taken_for_another() -> None:
    sightings: Sightings[bytes] = Sightings(pins=False)
    assert len({sightings.of(Thing(), new_name) for _ in range(200)}) == 200
    gc.collect()
    assert sightings._known == {}


def test_what_cannot_be_weakly_referenced_is_new_each_time_or_kept_for_a_while() -> None:
    value = [1]
    loose: Sightings[bytes] = Sightings(pins=False)
    assert loose.of(value, new_name) != loose.of(value, new_name)
    firm: Sightings[bytes] = Sightings(pins=True)
    first = firm.of(value, new_name)
    for number in range(3 * MAX_PINNED):
        firm.of([number], new_name)
        if number < MAX_PINNED or number % 2:
            assert firm.of(value, new_name) == first
    assert len(firm._pinned) == MAX_PINNED


def test_no_two_names_are_equal() -> None:
    assert len({new_name() for _ in range(100)}) == 100


def test_what_is_held_may_go() -> None:
    thing = Thing()
    way = held(thing)
    assert way() is thing
    del thing
    gc.collect()
    assert way() is None
    assert held(5)() == 5
