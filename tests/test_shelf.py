"""Which records go when there are too many."""

from __future__ import annotations

from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.record import FrameRecord
from flujo_nb.shelf import Shelf


def record(number: int) -> FrameRecord:
    return FrameRecord(
        id=f"f{number}",
        name="s",
        path=FramePath(),
        run_id="r",
        data=None,
        context=None,
        outcome=Success(),
    )


def shelf_of(*saved: bool) -> Shelf:
    shelf = Shelf()
    for number, is_saved in enumerate(saved):
        shelf.put(record(number), 10, is_saved)
    return shelf


def held(shelf: Shelf, count: int) -> list[int]:
    return [number for number in range(count) if shelf.get(f"f{number}") is not None]


def test_nothing_goes_while_there_is_room() -> None:
    shelf = shelf_of(True, True)
    assert shelf.trim(20, ["f1", "f0"]) == ()
    assert (held(shelf, 2), shelf.size) == ([0, 1], 20)


def test_the_oldest_goes_first_and_heads_record_never() -> None:
    shelf = shelf_of(True, True, True)
    assert shelf.trim(10, ["f0", "f2", "f1"]) == []
    assert (held(shelf, 3), shelf.size) == ([0], 10)
    shelf.trim(0, ["f0"])
    assert held(shelf, 3) == [0]


def test_what_does_not_stand_on_heads_line_goes_before_what_does() -> None:
    shelf = shelf_of(True, True, True)
    shelf.trim(20, ["f2", "f0"])
    assert held(shelf, 3) == [0, 2]


def test_what_is_not_saved_goes_last_and_is_gone_then() -> None:
    shelf = shelf_of(False, True, False, True)
    assert shelf.trim(30, ["f3"]) == []
    assert held(shelf, 4) == [0, 2, 3]
    assert shelf.trim(20, ["f3"]) == ["f0"]
    assert shelf.released == {"f0"}


def test_a_record_that_comes_back_counts_once() -> None:
    shelf = shelf_of(True)
    shelf.put(record(0), 10, True)
    assert (shelf.size, len(shelf)) == (10, 1)
