"""Where a run starts: each rule of HEAD, on the pure function."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import BaseModel

from flujo_nb.engine.outcomes import RunStatus, Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.record import FrameRecord
from flujo_nb.head import (
    CellKey,
    Command,
    Ended,
    Entry,
    Given,
    Request,
    Start,
    decide_start,
    failed_after,
    line_of,
)


class Ctx(BaseModel):
    n: int = 0


INITIAL = Ctx(n=-1)


def key(
    name: str, execution: int, *, cell: str | None = None, ordinal: int = 0, command: str = "step"
) -> CellKey:
    return CellKey(command, name, cell, execution, ordinal)


def made(
    number: int,
    parent: Entry | str | None = None,
    cell: CellKey | None = None,
    *,
    name: str = "",
    ended: RunStatus = RunStatus.COMPLETED,
    resumes: str | None = None,
) -> Entry:
    """The entry of ``f<number>``, whose output and context carry its number."""
    record = FrameRecord(
        id=f"f{number}",
        name=name or (cell.name if cell is not None else f"s{number}"),
        path=FramePath(),
        run_id="r",
        data=None,
        context=None,
        outcome=Success(output=number),
        output=number,
        context_after=Ctx(n=number),
    )
    command = Command(
        id=record.id,
        name=record.name,
        path=FramePath(),
        frame=FramePath(),
        origin="somewhere",
        parent=parent.id if isinstance(parent, Entry) else parent,
        cell=cell,
        resumes=resumes,
    )
    return Entry(command, Ended(status=ended), lambda _: record)


def failed(number: int, parent: Entry | None, name: str, execution: int) -> Entry:
    return made(number, parent, key(name, execution), ended=RunStatus.FAILED)


def line(*cells: CellKey | None) -> tuple[Entry, list[Entry]]:
    """Entries that each continue from the one before, made by ``cells``; the last is HEAD."""
    entries: list[Entry] = []
    for number, cell in enumerate(cells):
        entries.append(made(number, entries[-1] if entries else None, cell))
    return entries[-1], entries


def start(request: Request, head: Entry | None = None, entries: Sequence[Entry] = ()) -> Start:
    def record(frame_id: str) -> FrameRecord:
        return next(entry for entry in entries if entry.id == frame_id).record

    return decide_start(request, head, entries, INITIAL, record)


def test_without_head_and_input_a_run_starts_from_nothing() -> None:
    found = start(Request())
    assert (found.parent, found.data, found.context) == (None, None, INITIAL)
    assert found.origin == "nothing (input None)"


def test_a_run_continues_from_head() -> None:
    head, entries = line(key("a", 1))
    found = start(Request(key("b", 2)), head, entries)
    assert found.parent == head.id
    assert (found.data, found.context) == (0, Ctx(n=0))
    assert found.origin == "f0.output"
    assert found.notes == ()


def test_a_given_input_starts_a_new_line() -> None:
    head, entries = line(key("a", 1))
    found = start(Request(key("b", 2), given=Given("x")), head, entries)
    assert (found.parent, found.data, found.context) == (None, "x", INITIAL)
    assert found.origin == "-i"


def test_none_is_an_input_like_any_other() -> None:
    head, entries = line(key("a", 1))
    found = start(Request(given=Given(None)), head, entries)
    assert (found.parent, found.data, found.origin) == (None, None, "-i")


def test_a_given_input_with_a_source_keeps_the_sources_context() -> None:
    head, entries = line(key("a", 1), key("b", 2))
    source = entries[0].record
    found = start(Request(given=Given("x"), source=source), head, entries)
    assert found.parent == source.id
    assert (found.data, found.context) == ("x", Ctx(n=0))
    assert found.origin == "-i, context of f0"


def test_a_source_is_continued_from_whatever_head_is() -> None:
    head, entries = line(key("a", 1), key("b", 2))
    found = start(Request(key("c", 3), source=entries[0].record), head, entries)
    assert found.parent == entries[0].id
    assert (found.data, found.context, found.origin) == (0, Ctx(n=0), "f0.output")


def test_a_source_is_where_a_cell_that_runs_again_starts_too() -> None:
    head, entries = line(key("a", 1), key("b", 2), key("c", 3))
    found = start(Request(key("b", 4), source=head.record), head, entries)
    assert found.parent == head.id


def test_a_cell_that_runs_again_gets_the_same_input() -> None:
    head, entries = line(key("a", 1), key("b", 2))
    found = start(Request(key("b", 3)), head, entries)
    assert found.parent == entries[0].id
    assert (found.data, found.context, found.origin) == (0, Ctx(n=0), "f0.output")
    assert found.notes == ("ran again from f0",)


def test_what_stands_on_the_older_record_is_named() -> None:
    head, entries = line(key("a", 1), key("b", 2), key("c", 3), key("d", 4))
    found = start(Request(key("b", 5)), head, entries)
    assert found.notes == ("ran again from f0; f2, f3 stand on an older f1",)
    found = start(Request(key("c", 5)), head, entries)
    assert found.notes == ("ran again from f1; f3 stands on an older f2",)


def test_the_first_cell_again_starts_from_nothing_again() -> None:
    head, entries = line(key("a", 1), key("b", 2))
    found = start(Request(key("a", 3)), head, entries)
    assert (found.parent, found.data, found.context) == (None, None, INITIAL)
    assert found.origin == "nothing (input None)"
    assert found.notes == ("ran again from the beginning; f1 stands on an older f0",)


def test_on_head_continues_from_head_all_the_same() -> None:
    head, entries = line(key("a", 1), key("b", 2))
    found = start(Request(key("b", 3), on_head=True), head, entries)
    assert found.parent == head.id
    assert found.notes == ()


def test_a_record_of_the_cell_on_another_line_is_not_found() -> None:
    first = made(0, None, key("a", 1))
    head = made(1, None, key("b", 2))
    entries = [first, head]
    assert start(Request(key("a", 3)), head, entries).parent == head.id


def test_of_several_records_of_a_cell_the_newest_is_run_again() -> None:
    head, entries = line(key("a", 1), key("b", 2), key("c", 3), key("b", 2, ordinal=1))
    found = start(Request(key("b", 4, ordinal=1)), head, entries)
    assert found.parent == entries[2].id


def test_a_failed_record_of_the_cell_does_not_count() -> None:
    head, entries = line(key("a", 1))
    entries.append(failed(1, head, "b", 2))
    found = start(Request(key("b", 3)), head, entries)
    assert found.parent == head.id
    assert found.notes == ()


def test_loops_in_one_execution_are_not_again() -> None:
    head, entries = line(key("a", 1), key("b", 2))
    assert start(Request(key("b", 2, ordinal=1)), head, entries).parent == head.id


def test_a_loop_without_cell_ids_that_runs_again_gets_the_same_inputs_in_the_same_order() -> None:
    head, entries = line(key("a", 1), *(key("b", 2, ordinal=n) for n in range(3)))
    first = start(Request(key("b", 3, ordinal=0)), head, entries)
    assert first.parent == entries[0].id
    second_head = made(4, first.parent, key("b", 3, ordinal=0))
    entries.append(second_head)
    second = start(Request(key("b", 3, ordinal=1)), second_head, entries)
    assert second.parent == second_head.id


def test_a_loop_with_cell_ids_that_runs_again_gets_the_same_inputs_in_the_same_order() -> None:
    loop = [key("b", 2, cell="B", ordinal=n) for n in range(3)]
    head, entries = line(key("a", 1, cell="A"), *loop)
    first = start(Request(key("b", 3, cell="B", ordinal=0)), head, entries)
    assert first.parent == entries[0].id
    second_head = made(4, first.parent, key("b", 3, cell="B", ordinal=0))
    entries.append(second_head)
    second = start(Request(key("b", 3, cell="B", ordinal=1)), second_head, entries)
    assert second.parent == second_head.id


@pytest.mark.parametrize(
    ("now", "before", "again"),
    [
        (key("b", 2, cell="B"), key("b", 1, cell="B"), True),
        (key("renamed", 2, cell="B"), key("b", 1, cell="B"), True),
        (key("b", 2, cell="C"), key("b", 1, cell="B"), False),
        (key("b", 2, cell="B", ordinal=1), key("b", 1, cell="B"), False),
        (key("b", 2), key("b", 1), True),
        (key("c", 2), key("b", 1), False),
        (key("b", 2, command="run"), key("b", 1), False),
        (key("b", 1), key("b", 1), False),
        (key("b", 2, cell="B"), key("b", 1), True),
    ],
)
def test_which_command_is_run_again(now: CellKey, before: CellKey, again: bool) -> None:
    assert now.is_again(before) is again


def test_behind_a_failure_the_run_says_so_and_continues_from_head() -> None:
    head, entries = line(key("a", 1))
    entries.append(failed(1, head, "boom", 2))
    found = start(Request(key("b", 3)), head, entries)
    assert found.parent == head.id
    assert found.origin == "f0.output (boom failed after it)"


def test_a_failure_is_forgotten_once_something_succeeded() -> None:
    head, entries = line(key("a", 1))
    entries.append(failed(1, head, "boom", 2))
    entries.append(newer := made(2, head, key("b", 3)))
    assert start(Request(key("c", 4)), newer, entries).origin == "f2.output"


def test_a_failure_on_another_line_is_not_after_head() -> None:
    head, entries = line(key("a", 1))
    entries.append(failed(1, None, "boom", 2))
    assert failed_after(head, entries) is None


def test_a_cell_again_behind_a_failure_starts_where_it_did() -> None:
    head, entries = line(key("a", 1), key("b", 2))
    entries.append(failed(2, head, "boom", 3))
    found = start(Request(key("b", 4)), head, entries)
    assert found.parent == entries[0].id
    assert found.origin == "f0.output"


def test_nothing_that_continues_from_head_passes_an_open_question() -> None:
    head, entries = line(key("a", 1))
    asks = made(1, head, key("ask", 2), ended=RunStatus.PAUSED)
    entries += [asks, failed(2, head, "boom", 3)]
    assert start(Request(key("b", 4)), head, entries).question is asks
    assert start(Request(key("b", 4), given=Given(1)), head, entries).question is None
    assert start(Request(key("b", 4), source=head.record), head, entries).question is None
    assert start(Request(key("a", 4)), head, entries).question is None


def test_a_question_that_was_gone_on_with_is_open_no_more() -> None:
    head, entries = line(key("a", 1))
    entries.append(made(1, head, key("ask", 2), ended=RunStatus.PAUSED))
    entries.append(made(2, head, key("ask", 2), ended=RunStatus.FAILED, resumes="f1"))
    assert start(Request(key("b", 4)), head, entries).question is None


def test_a_first_question_is_open_when_there_is_no_head() -> None:
    asks = made(0, None, key("ask", 1), ended=RunStatus.PAUSED)
    assert start(Request(key("b", 2)), None, [asks]).question is asks
    assert (
        start(Request(key("b", 2)), None, [made(1, "f0", ended=RunStatus.PAUSED)]).question is None
    )


def test_the_line_goes_back_to_the_first_also_through_frames_inside_others() -> None:
    head, entries = line(key("a", 1), key("b", 2))
    inner = made(2, "f1/words", key("c", 3))
    assert [one.id for one in line_of(inner, [*entries, inner])] == ["f2", "f0"]
    assert [one.id for one in line_of(head, entries)] == ["f1", "f0"]
