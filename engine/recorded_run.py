"""What is recorded of a run: read once, and decoded when a frame comes to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple, cast

from pydantic_core import from_json

from .context import HumanAnswer
from .errors import ValueNotSaved
from .journal import Decision, Journal, Patch
from .journal_image import Image, is_at_or_below, kept_rows
from .outcome_codec import OutcomeCodec, live_parts, tree_of
from .outcomes import Failure, FrameOutcome, Success
from .path import FramePath, Segment
from .recorded_frames import RecordedFrames
from .step_config import JSONValue
from .steps import Node
from .store.codec import Codec
from .stores import Row, Source, Store
from .unsaved import LivePart, Unsaved
from .usage import Usage
from .value_keys import class_name

PATCH = "patch"
"""The decision that holds what a fork changes at its frame."""

DEFINITION = "definition "
"""How the decisions begin that hold what the definitions of digests say, line by line."""


class Persist(StrEnum):
    """What becomes of values that cannot be saved.

    ``REQUIRE``: they fail their step. ``AUTO``: the step goes on, and its row says what is missing.
    ``NEVER``: nothing is saved at all.
    """

    AUTO = "auto"
    REQUIRE = "require"
    NEVER = "never"


class Begun(NamedTuple):
    """How a frame began, as its row will tell: its path's text, its step, the last row before."""

    path: str
    name: str
    definition: bytes
    input: bytes
    started: int


class RecordedRun(Journal):
    """A run of a store, to be read.

    ``image`` is what was recorded when it was `read`; ``keeps`` says that it stands although steps
    were edited, ``strict`` that pure steps run in a replay all the same.
    """

    __slots__ = (
        "_kept_answers",
        "_known_answers",
        "_live",
        "_outcomes_codec",
        "_redone",
        "codec",
        "frames",
        "image",
        "keeps",
        "persist",
        "restored",
        "run_id",
        "source",
        "store",
        "strict",
        "visited",
    )

    def __init__(
        self,
        store: Store,
        run_id: str,
        codec: Codec,
        persist: Persist = Persist.REQUIRE,
        source: Source | None = None,
    ) -> None:
        super().__init__()
        self.store = store
        self.run_id = run_id
        self.codec = codec
        self.persist = persist
        self.source = source
        self.strict = False
        self.keeps = False
        self.visited: set[str] = set()
        self.restored: set[str] = set()
        self._outcomes_codec = OutcomeCodec(codec, persist is Persist.REQUIRE)
        self._live: dict[str, FrameOutcome] = {}
        self._redone: set[str] = set()
        self._known_answers: Mapping[str, bytes] = {}
        self._kept_answers: Sequence[HumanAnswer] = ()
        self.forget()

    def read(self, below: FramePath | None = None, *, answered: bool = True) -> None:
        """Read what is recorded, of the whole run or of one frame with all inside.

        Only the answers to questions there are decoded; without ``answered`` nothing is. Raises
        `NoSuchRun` and `StoreError`, and `ValueNotRead` for an answer that cannot be decoded.
        """
        rows = self.all_rows()
        if below is not None:
            text = str(below)
            rows = [
                row
                for row in rows
                if is_at_or_below(row.path, text) or (row.name or "").startswith(DEFINITION)
            ]
        self._take(Image(rows))
        if answered:
            self.take_answers(self.store.answers(self.run_id), below)
        origin = None if below is not None else self._origin()
        if origin is not None:
            origin.read()
            kept = origin.hitl_history
            self._kept_answers = [one for one in kept if self._began_with(one.path)]

    def _origin(self) -> RecordedRun | None:
        """The run that this one was forked from."""
        if self.source is None:
            return None
        stored = self.store.run(self.source.run_id)
        return RecordedRun(self.store, stored.run_id, self.codec, source=stored.source)

    def _began_with(self, path: str) -> bool:
        """Whether a fork has the frame at ``path`` of the run that it was forked from."""
        row = self.image.finished.get(path)
        return row is not None and self.source is not None and row.seq <= self.source.upto

    @property
    def hitl_history(self) -> Sequence[HumanAnswer]:
        """The answers, in the order in which they came; a fork has those to frames that it kept."""
        return [*self._kept_answers, *super().hitl_history]

    def forget(self) -> None:
        """Drop what was read: frames that begin now are new ones."""
        self._take(Image())

    def begin_with(self, rows: Iterable[Row]) -> None:
        """Take in rows that were noted just now, of frames that begin after others."""
        self._take(Image(rows))

    def _take(self, image: Image) -> None:
        self.image = image
        self.frames = RecordedFrames(image, self._outcomes_codec, self.store.blob)
        self._open_behind = {path.segments for path in image.open_behind()}
        for path, name in image.decisions:
            known = self._decision_at(path, PATCH) if name == PATCH else None
            if known is not None:
                changes = cast(Mapping[str, JSONValue], known.value)
                self.patches[FramePath.parse(path).segments] = Patch(changes)

    def all_rows(self) -> Sequence[Row]:
        """The rows that the run began with, if it was forked, and its own."""
        own = self.store.rows(self.run_id)
        origin = self._origin()
        if origin is None or self.source is None:
            return own
        return [*kept_rows(origin.all_rows(), self.source), *own]

    def take_answers(self, answers: Mapping[str, bytes], below: FramePath | None = None) -> None:
        """Take in the answers that the store holds; those already taken stand."""
        self._known_answers = answers
        for path, body in self.image.answered(answers).items():
            at = FramePath.parse(path)
            is_wanted = below is None or is_at_or_below(path, str(below))
            if is_wanted and at not in self._answers:
                tree = cast(JSONValue, from_json(body))
                self._answers[at] = self.codec.decode(tree, self.store.blob)

    def lines_of(self, definition: bytes) -> Sequence[str]:
        """What a recorded definition said, line by line."""
        for path, name in self.image.decisions:
            known = self._decision_at(path, name) if name.startswith(DEFINITION) else None
            if known is not None:
                table = cast(Mapping[str, Sequence[str]], known.value)
                if definition.hex() in table:
                    return table[definition.hex()]
        return ()

    def inputs_of(self, row: Row) -> Iterator[object]:
        """What a recorded frame was given, if some recorded value is that.

        Only its digest is recorded, so the outputs before it are tried, the newest first.
        """
        before = [one for one in self.image.finished.values() if one.seq < row.seq]
        for one in sorted(before, key=lambda one: one.seq, reverse=True):
            tree = tree_of(one)
            value = self.codec.decode(tree["o"], self.store.blob) if "o" in tree else None
            if self.digest_of(value) == row.input:
                yield value
                return

    def digest_of(self, value: object) -> bytes:
        """A digest of what ``value`` holds; of what cannot be saved, of its type."""
        try:
            return self.codec.encode(value, "input").digest
        except ValueNotSaved:
            return blake2b(class_name(type(value)).encode(), digest_size=16).digest()

    def recorded(self, begun: Begun) -> Row | None:
        """The row that tells how a frame ended before, if that is final (in a replay, any)."""
        row = self.image.finished.get(begun.path)
        if row is None:
            return None
        self.visited.add(begun.path)
        if self.replaying:
            return row
        if not begun.path and row.definition != begun.definition and not self.keeps:
            return None  # other steps stand in it now: each is looked at by itself
        if not self.image.is_final(row) or self._is_lost(row):
            return None
        if self._open_behind and self._has_open_behind(FramePath.parse(begun.path).segments):
            return None
        return row

    def _is_lost(self, row: Row) -> bool:
        """Whether what a frame did to the context was only in memory, and is gone."""
        if b'"live"' not in row.body or row.path in self._live:
            return False
        return any(part.where.startswith("context") for part in live_parts(tree_of(row)))

    def outcome_of(
        self, row: Row, step: Node | None, segments: tuple[Segment, ...], index: int | None
    ) -> FrameOutcome:
        """How the frame of ``row`` ended. Raises `ValueNotRead`."""
        live = self._live.get(row.path)
        if live is not None:
            return live
        outcome = self.frames.outcome_of(row, step, segments, index)
        if isinstance(outcome, Success) and isinstance(outcome.output, Unsaved):
            self.gave_unsaved = True
        return outcome

    def final_outcome(self, path: FramePath) -> Success | Failure | None:
        """How the frame at ``path`` ended, if that is final."""
        row = self.image.finished.get(str(path))
        if row is None or not self.image.is_final(row):
            return None
        outcome = self.outcome_of(row, None, path.segments, None)
        return outcome if isinstance(outcome, Success | Failure) else None

    def outcome_at(self, path: FramePath, step: Node | None = None) -> FrameOutcome | None:
        """How the frame at ``path`` ended the last time, if it did and was read."""
        return self._live.get(str(path)) or self.frames.outcome_at(path, step)

    def live_only(self, path: FramePath) -> Sequence[LivePart]:
        """What of the frame at ``path`` is not saved."""
        row = self.image.finished.get(str(path))
        return () if row is None else live_parts(tree_of(row))

    def release(self, path: FramePath) -> None:
        """Drop the values at and below ``path`` that are only in memory."""
        text = str(path)
        for one in [key for key in self._live if key == text or key.startswith(f"{text}/")]:
            del self._live[one]

    def redo(self, path: str) -> None:
        """Let the frame at ``path``, and those inside it whose values are gone, run again.

        One that did that already, and whose value is there, stands.
        """
        for text, row in list(self.image.finished.items()):
            if text in self._live:
                continue
            if text == path or (text.startswith(f"{path}/") and live_parts(tree_of(row))):
                del self.image.finished[text]
                self._redone.add(text)

    def patch_at(self, path: FramePath) -> Patch | None:
        """What is changed at the frame at ``path``, also by the fork that began this run."""
        patch = super().patch_at(path)
        if patch is None or patch.before is not None or self.source is None:
            return patch
        return replace(patch, before=self.outcome_in_source(path))

    def outcome_in_source(self, path: FramePath) -> FrameOutcome | None:
        """How the frame at ``path`` ended in the run that this one was forked from."""
        origin = self._origin()
        if origin is None:
            return None
        origin.read()
        return origin.outcome_at(path)

    def unvisited(self) -> Sequence[str]:
        """The recorded frames that this walk did not come to, nor to one that holds them."""
        return [
            text
            for text, row in self.image.finished.items()
            if text and self.image.is_final(row) and not self._is_held(text)
        ]

    def _is_held(self, text: str) -> bool:
        if text in self.visited:
            return True
        while text and text not in self.restored:
            text = text.rpartition("/")[0]
        return text in self.restored

    def is_in_doubt(self, path: FramePath) -> bool:
        """Whether the frame at ``path`` may run once only, and began without a known end."""
        text = str(path)
        row = self.image.finished.get(text)
        lost = text in self._redone or (row is not None and self._is_lost(row))
        return lost or self.image.is_in_doubt(text)

    def decision(self, path: FramePath, name: str, number: int | None = None) -> Decision | None:
        """What was decided under ``name`` (the ``number``-th time) in the frame at ``path``."""
        if not self.image.decisions:
            return None
        return self._decision_at(str(path), name if number is None else f"{name}#{number}")

    def _decision_at(self, path: str, name: str) -> Decision | None:
        row = self.image.decisions.get((path, name))
        if row is None:
            return None
        value, update = self._outcomes_codec.decision_of(tree_of(row), self.store.blob)
        return Decision(value, update)

    def spent_at(self, path: FramePath) -> Usage:
        """What has been spent, or may have been, of the budget that begins at ``path``."""
        return self.image.spent_below(str(path))
