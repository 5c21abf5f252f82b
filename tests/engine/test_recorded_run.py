"""A run of a store, as it is read: what stands, what is gone, what a fork began with."""

from __future__ import annotations

from typing import Any

import pytest

from flujo_nb.engine.errors import NoSuchRun
from flujo_nb.engine.outcomes import Success
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.recorded_run import Begun, Persist, RecordedRun
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.memory import MemoryStore
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.type_table import TypeTable
from flujo_nb.engine.stores import Row, Source
from flujo_nb.engine.unsaved import Unsaved
from tests.engine.durable import row
from tests.engine.fakes import Wait

LIVE = b'{"live":[["output","function","code is not data"]]}'
LOST = b'{"o":1,"live":[["context.tool","function","code is not data"]]}'


def begun(path: str, definition: bytes = b"d" * 16) -> Begun:
    return Begun(path, path, definition, b"i" * 16, 0)


def run_of(wait: Wait, *rows: Row) -> RecordedRun:
    async def main() -> RecordedRun:
        store = MemoryStore()
        lease = await store.create("r", b"{}", this_process())
        await store.append(lease, rows, {})
        return read(store, "r")

    result: RecordedRun = wait(main())
    return result


def read(store: MemoryStore, run_id: str) -> RecordedRun:
    source = store.run(run_id).source
    recorded = RecordedRun(store, run_id, Codec(TypeTable()), Persist.REQUIRE, source)
    recorded.read()
    return recorded


def at(text: str) -> FramePath:
    return FramePath.parse(text)


def test_a_run_that_is_not_there_is_an_error() -> None:
    with pytest.raises(NoSuchRun):
        RecordedRun(MemoryStore(), "r", Codec(TypeTable())).read()


def test_nothing_is_decoded_before_somebody_asks(wait: Wait) -> None:
    recorded = run_of(wait, row(1, body=b'{"o":{"$":"unheard of"}}'), row(2, "b", body=b'{"o":3}'))
    outcome: Any = recorded.final_outcome(at("b"))
    assert outcome.output == 3
    with pytest.raises(Exception, match="unheard of"):
        recorded.final_outcome(at("a"))


def test_a_part_of_a_run_can_be_read(wait: Wait) -> None:
    recorded = run_of(wait, row(1, "c[1]/a"), row(2, "c[1]"), row(3, "c[12]"), row(4, "c[2]/a"))
    recorded.read(at("c[1]"))
    assert set(recorded.image.finished) == {"c[1]/a", "c[1]"}
    recorded.forget()
    assert recorded.outcome_at(at("c[1]")) is None


def test_only_final_ends_stand_and_in_a_replay_all(wait: Wait) -> None:
    recorded = run_of(wait, row(1), row(2, "b", status="failure"), row(3, "c", status="paused"))
    assert recorded.recorded(begun("a")) is not None
    assert [recorded.recorded(begun(path)) for path in "bcd"] == [None, None, None]
    recorded.replaying = True
    assert recorded.recorded(begun("b")) is not None
    assert recorded.recorded(begun("c")) is not None
    assert recorded.recorded(begun("d")) is None


def test_around_what_works_on_behind_the_run_nothing_stands(wait: Wait) -> None:
    recorded = run_of(
        wait, row(1, "sub/import/job", status="launched"), row(2, "sub"), row(3, "subway")
    )
    assert recorded.recorded(begun("sub")) is None
    assert recorded.recorded(begun("subway")) is not None


def test_what_was_not_come_to_is_told(wait: Wait) -> None:
    rows = [row(1, "a"), row(2, "p/:x/b"), row(3, "p"), row(4, "q", status="paused"), row(5, "z")]
    recorded = run_of(wait, *rows, row(6, "l/[0]"), row(7, "l"))
    for path in ("a", "p", "l", "n"):
        recorded.recorded(begun(path))
    recorded.restored.add("p")  # so that nobody comes to what is inside
    assert recorded.unvisited() == ["z", "l/[0]"]


def test_when_the_root_stands_all_was_come_to(wait: Wait) -> None:
    recorded = run_of(wait, row(1, "a"), row(2, ""))
    recorded.recorded(begun(""))
    recorded.restored.add("")
    assert recorded.unvisited() == []


def test_a_frame_whose_change_to_the_context_is_gone_does_not_stand(wait: Wait) -> None:
    recorded = run_of(wait, row(1, "a", body=LOST), row(2, "b", body=LIVE))
    assert recorded.recorded(begun("a")) is None
    assert recorded.is_in_doubt(at("a"))  # it began; if it may run once only, a human is asked
    assert recorded.recorded(begun("b")) is not None
    assert not recorded.is_in_doubt(at("b"))


def test_a_value_that_is_gone_says_so(wait: Wait) -> None:
    recorded = run_of(wait, row(1, "a", body=LIVE))
    assert not recorded.gave_unsaved
    outcome: Any = recorded.final_outcome(at("a"))
    assert isinstance(outcome.output, Unsaved)
    assert outcome.output.path == "a"
    assert recorded.gave_unsaved


def test_what_is_made_again_is_made_with_what_is_gone_inside(wait: Wait) -> None:
    rows = [row(1, "l/[0]", body=LIVE), row(2, "l/[1]"), row(3, "l", body=LIVE), row(4, "m")]
    recorded = run_of(wait, *rows)
    recorded.redo("l")
    assert set(recorded.image.finished) == {"l/[1]", "m"}
    assert [recorded.is_in_doubt(at(path)) for path in ("l", "l/[0]", "l/[1]", "m")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_input_of_a_frame_is_found_among_what_was_given_before(wait: Wait) -> None:
    recorded = run_of(wait, row(1, "a", body=b'{"o":1}'), row(2, "b", body=b'{"o":2}'), row(3, "c"))
    wanted = row(3, "c", input=recorded.digest_of(1))
    assert list(recorded.inputs_of(wanted)) == [1]
    assert list(recorded.inputs_of(row(3, "c", input=recorded.digest_of(7)))) == []
    assert list(recorded.inputs_of(row(1, "a", input=recorded.digest_of(1)))) == []


# Forks.


def forked(wait: Wait) -> MemoryStore:
    """A store with a run, a fork of it, and a fork of that."""

    async def main() -> MemoryStore:
        store, me = MemoryStore(), this_process()
        lease = await store.create("r", b"{}", me)
        rows = [
            row(1, "a", body=b'{"o":1}'),
            row(2, "b", body=b'{"o":2}'),
            row(3, "c"),
            row(4, "d"),
        ]
        await store.append(lease, rows, {})
        lease = await store.create("f", b"{}", me, Source("r", 2))
        patch = row(3, "c", "decision", name="patch", body=b'{"v":{"data":5}}')
        await store.append(lease, [patch, row(4, "c", body=b'{"o":33}'), row(5, "d")], {})
        lease = await store.create("g", b"{}", me, Source("f", 4))
        await store.append(lease, [row(5, "d", body=b'{"o":44}')], {})
        return store

    result: MemoryStore = wait(main())
    return result


def test_a_fork_begins_with_rows_of_its_source(wait: Wait) -> None:
    store = forked(wait)
    outputs = {
        run: {path: outcome_at(read(store, run), path) for path in "abcd"} for run in ("f", "g")
    }
    assert outputs["f"] == {"a": 1, "b": 2, "c": 33, "d": None}
    assert outputs["g"] == {"a": 1, "b": 2, "c": 33, "d": 44}
    assert [row.seq for row in read(store, "g").all_rows()] == [1, 2, 3, 4, 5]


def outcome_at(recorded: RecordedRun, path: str) -> object:
    outcome: Any = recorded.outcome_at(at(path))
    return outcome.output


def test_a_fork_knows_its_patch_and_what_its_source_had(wait: Wait) -> None:
    fork = read(forked(wait), "f")
    patch: Any = fork.patch_at(at("c"))
    assert patch.changes == {"data": 5}
    assert isinstance(patch.before, Success)
    assert fork.patch_at(at("d")) is None
    before: Any = fork.outcome_in_source(at("b"))
    assert before.output == 2
    assert fork.outcome_in_source(at("nowhere")) is None


def test_a_run_of_its_own_has_no_source(wait: Wait) -> None:
    recorded = run_of(wait, row(1))
    assert recorded.outcome_in_source(at("a")) is None
    assert recorded.patch_at(at("a")) is None
