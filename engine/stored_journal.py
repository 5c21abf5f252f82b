"""The journal of a run that a store keeps: what is noted is durable before anything depends on it.

What was recorded before is read once, and decoded when a frame comes to it. Everything else about
it is a question to the rows (`flujo_nb.engine.journal_image`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from time import time
from typing import NamedTuple, cast

from pydantic_core import from_json

from .errors import AlreadyAnswered, ResumeError, ValueNotSaved
from .journal import Decision, Journal
from .journal_image import ESTIMATE, ONCE, PAST, Image, kept_rows
from .outcome_codec import LivePart, OutcomeCodec, Unsaved, live_parts, status_of_row, tree_of
from .outcomes import BackgroundLaunched, Failure, FrameOutcome, Success
from .path import FramePath, Segment
from .recorded_frames import RecordedFrames
from .row_writer import RowWriter
from .step_config import JSONValue
from .step_definitions import StepDefinitions
from .steps import Node, name_of
from .store.codec import Codec
from .stores import Lease, Row, RowKind, Source, Store
from .usage import FREE, Usage
from .user_code import Raised
from .value_keys import class_name
from .values import shown

PATCH = "patch"
"""The decision that holds what a fork changes at its frame."""

_DEFINITION = "definition "


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


class StoredJournal(Journal):
    """The entries of one run of a store.

    Without a ``lease`` it is only read. ``image`` is what was recorded when it was `read`;
    ``replaying`` says that nothing may run, ``keeps`` that what is recorded stands although steps
    were edited; ``gave_unsaved`` that values were asked for which are gone.
    """

    __slots__ = (
        "_attempted",
        "_defined",
        "_definitions",
        "_given",
        "_input",
        "_known_answers",
        "_live",
        "_outcomes_codec",
        "_redone",
        "codec",
        "definitions",
        "frames",
        "gave_unsaved",
        "image",
        "keeps",
        "persist",
        "replaying",
        "run_id",
        "source",
        "store",
        "strict",
        "visited",
        "writer",
    )

    def __init__(
        self,
        store: Store,
        run_id: str,
        codec: Codec,
        persist: Persist = Persist.REQUIRE,
        lease: Lease | None = None,
        source: Source | None = None,
        definitions: StepDefinitions | None = None,
    ) -> None:
        super().__init__()
        self.store = store
        self.run_id = run_id
        self.codec = codec
        self.persist = persist
        self.source = source
        self.definitions = definitions or StepDefinitions()
        self.replaying = False
        self.strict = False
        self.keeps = False
        self.gave_unsaved = False
        self.visited: set[str] = set()
        self.writer = RowWriter(store, lease, 0 if source is None else source.upto)
        self._outcomes_codec = OutcomeCodec(codec, persist is Persist.REQUIRE)
        self._definitions: dict[Node, bytes] = {}
        self._defined: set[bytes] = set()
        self._live: dict[str, FrameOutcome] = {}
        self._redone: set[str] = set()
        self._attempted: dict[str, Usage] = {}
        self._known_answers: Mapping[str, bytes] = {}
        self._given: object = None
        self._input = codec.encode(None).digest
        self.forget()

    # Reading

    def read(self, below: FramePath | None = None) -> None:
        """Read what is recorded, of the whole run or of one frame with all inside; decode nothing.

        Raises `NoSuchRun` and `StoreError`, and `ValueNotRead` for answers that cannot be decoded.
        """
        rows = self.all_rows()
        if below is not None:
            text = str(below)
            rows = [row for row in rows if row.path == text or row.path.startswith(f"{text}/")]
        self._take(Image(rows))
        self.take_answers(self.store.answers(self.run_id))

    def forget(self) -> None:
        """Drop what was read: frames that begin now are new ones."""
        self._take(Image())

    def _take(self, image: Image) -> None:
        self.image = image
        self.frames = RecordedFrames(image, self._outcomes_codec, self.store.blob)
        self.writer.seq = max(self.writer.seq, image.last_seq)
        self._open_behind = {path.segments for path in image.open_behind()}
        self._definitions.clear()  # taken anew: a step may have changed since
        names = [name for _, name in image.decisions if name.startswith(_DEFINITION)]
        self._defined.update(bytes.fromhex(name.removeprefix(_DEFINITION)) for name in names)

    def all_rows(self) -> Sequence[Row]:
        """The rows that the run began with, if it was forked, and its own."""
        own = self.store.rows(self.run_id)
        if self.source is None:
            return own
        origin = self.store.run(self.source.run_id)
        before = StoredJournal(self.store, origin.run_id, self.codec, source=origin.source)
        return [*kept_rows(before.all_rows(), self.source), *own]

    def take_answers(self, answers: Mapping[str, bytes]) -> None:
        """Take in the answers that the store holds; those already taken stand."""
        self._known_answers = answers
        for path, body in self.image.answered(answers).items():
            at = FramePath.parse(path)
            if at not in self._answers:
                tree = cast(JSONValue, from_json(body))
                self._answers[at] = self.codec.decode(tree, self.store.blob)

    # What frames ask

    def begin(self, path: FramePath, step: Node, data: object) -> Begun:
        """How the frame at ``path`` begins; asked before anything can change its input."""
        definition = self._definitions.get(step) or self.definition_of(step)
        if data is not self._given:
            self._given, self._input = data, self._digest_of(data)
        return Begun(str(path), name_of(step), definition, self._input, self.writer.seq)

    def definition_of(self, step: Node) -> bytes:
        """The digest of what ``step`` is; what it says is noted once a run."""
        known = self._definitions.get(step)
        if known is not None:
            return known
        defined = self.definitions.of(step)
        digest = self._definitions[step] = defined.digest
        if self.writer.lease is not None and digest not in self._defined:
            self._defined.add(digest)
            lines = self.codec.encode(list(defined.lines), "definition")
            name = f"{_DEFINITION}{digest.hex()}"
            body = b'{"v":%s}' % lines.body
            self.writer.note(RowKind.DECISION, "", body, name=name, blobs=lines.blobs)
        return digest

    def lines_of(self, definition: bytes) -> Sequence[str]:
        """What a recorded definition said, line by line."""
        known = self._decision_at("", f"{_DEFINITION}{definition.hex()}")
        return () if known is None else cast(Sequence[str], known.value)

    def inputs_of(self, row: Row) -> Iterator[object]:
        """What a recorded frame was given, if some recorded value is that.

        Only its digest is recorded, so the outputs before it are tried, the newest first.
        """
        before = [one for one in self.image.finished.values() if one.seq < row.seq]
        for one in sorted(before, key=lambda one: one.seq, reverse=True):
            tree = tree_of(one)
            value = self.codec.decode(tree["o"], self.store.blob) if "o" in tree else None
            if self._digest_of(value) == row.input:
                yield value
                return

    def _digest_of(self, value: object) -> bytes:
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
        if not begun.path and row.definition != begun.definition and not self.keeps:
            return None  # the steps around were not what they are now: each is looked at by itself
        self.visited.add(begun.path)
        if self.replaying:
            return row
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
        """Let the frame at ``path``, and those inside it whose values are gone, run again."""
        for text, row in list(self.image.finished.items()):
            if text == path or (text.startswith(f"{path}/") and live_parts(tree_of(row))):
                del self.image.finished[text]
                self._redone.add(text)

    def patch_at(self, path: FramePath) -> Mapping[str, JSONValue] | None:
        """What the fork that began this run changes at ``path``."""
        known = self.decision(path, PATCH)
        return None if known is None else cast(Mapping[str, JSONValue], known.value)

    def outcome_in_source(self, path: FramePath) -> FrameOutcome | None:
        """How the frame at ``path`` ended in the run that this one was forked from."""
        if self.source is None:
            return None
        origin = self.store.run(self.source.run_id)
        before = StoredJournal(self.store, origin.run_id, self.codec, source=origin.source)
        before.read()
        return before.outcome_at(path)

    def unvisited(self) -> Sequence[str]:
        """The recorded frames that no frame of this walk came to, nor one that holds them."""
        finished = self.image.finished
        return [
            text
            for text, row in finished.items()
            if self.image.is_final(row) and not self._is_within_visited(text)
        ]

    def _is_within_visited(self, text: str) -> bool:
        while text and text not in self.visited:
            text = text.rpartition("/")[0]
        return text in self.visited

    # What is noted

    def finish_frame(self, begun: Begun, outcome: FrameOutcome) -> None:
        """Note how a frame ended. Raises `ValueNotSaved` where values have to be saved."""
        body = self._outcomes_codec.body_of(outcome)
        if body.live:
            self._live[begun.path] = outcome
        if body.output is not None and isinstance(outcome, Success):
            self._given, self._input = outcome.output, body.output.digest
        usage = outcome.usage or FREE
        if self._attempted:
            usage -= self._attempted.pop(begun.path, FREE)
        writer = self.writer
        row = Row(
            writer.seq + 1,
            begun.path,
            RowKind.FINISHED,
            begun.name,
            status_of_row(outcome),
            begun.definition,
            begun.input,
            begun.started,
            time(),
            usage.cost_micros,
            usage.tokens,
            usage.requests,
            body.end(),
        )
        writer.add(row, body.blobs)
        if self._open_behind and isinstance(outcome, Success):
            self._open_behind.discard(FramePath.parse(begun.path).segments)

    async def attempted(self, path: FramePath, used: Usage) -> None:
        """Make durable that an attempt that failed used something, before the next one starts."""
        text = str(path)
        self._attempted[text] = self._attempted.get(text, FREE) + used
        self.writer.note(RowKind.ATTEMPT, text, usage=used)
        await self.writer.commit()

    async def start(self, path: FramePath, once: bool, estimate: Usage = FREE) -> None:
        """Make durable that a frame begins that may run once only, or may cost something."""
        status = ONCE if once else ESTIMATE
        self.writer.note(RowKind.STARTED, str(path), status=status, usage=estimate)
        await self.writer.commit()

    def is_in_doubt(self, path: FramePath) -> bool:
        """Whether the frame at ``path`` may run once only, and began without a known end."""
        text = str(path)
        row = self.image.finished.get(text)
        lost = text in self._redone or (row is not None and self._is_lost(row))
        return lost or self.image.is_in_doubt(text)

    def launch(self, path: FramePath) -> None:
        """Note that the frame at ``path`` works behind the run, which goes on without it."""
        super().launch(path)
        above = FramePath(path.segments[:-1])
        name = str(above.segments[-1].key)
        launched = BackgroundLaunched(task_id=str(path))
        body = self._outcomes_codec.body_of(launched).end()
        text, status = str(above), status_of_row(launched)
        self.writer.note(RowKind.FINISHED, text, body, name=name, status=status)

    def go_past(self, path: FramePath) -> None:
        """Note that the parent of the failed frame at ``path`` went on without it."""
        self.writer.note(RowKind.DECISION, str(path), b'{"v":true}', name=PAST)

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

    def decide(
        self, path: FramePath, name: str, decision: Decision, number: int | None = None
    ) -> Raised | None:
        """Note a decision of the frame at ``path``; `Raised` when it has to be saved and cannot.

        Where it need not, it is taken anew when the run is resumed.
        """
        try:
            body = self._outcomes_codec.decision_body(decision.value, decision.update)
        except ValueNotSaved as error:
            return Raised(error) if self.persist is Persist.REQUIRE else None
        label = name if number is None else f"{name}#{number}"
        self.writer.note(RowKind.DECISION, str(path), body.end(), name=label, blobs=body.blobs)
        return None

    # Budgets, answers

    def spent_at(self, path: FramePath) -> Usage:
        """What has been spent, or may have been, of the budget that begins at ``path``."""
        return self.image.spent_below(str(path))

    def spend(self, path: FramePath, spent: Usage) -> None:
        """Nothing: every row says what its frame used."""

    def reopen(self, path: FramePath) -> None:
        """Note that the answer at ``path`` was refused: the question is open again."""
        super().reopen(path)
        text = str(path)
        self.image.refused[text] = self.image.refused.get(text, 0) + 1
        self.writer.note(RowKind.SUPERSEDED, text)

    async def put_answer(self, path: FramePath, value: object) -> None:
        """Make the answer to the pause at ``path`` durable; no lease is needed.

        The first answer holds: the same again changes nothing, another is `AlreadyAnswered`.
        """
        encoded = self.codec.encode(value, "answer")
        if encoded.blobs:
            raise ResumeError(f"the answer at {path} is too large to keep: {encoded.size} bytes")
        pause = self.image.pause_id(str(path))
        held = await self.store.answer(self.run_id, pause, encoded.body)
        if held != encoded.body:
            stands = self.codec.decode(cast(JSONValue, from_json(held)), self.store.blob)
            raise AlreadyAnswered(
                f"{path} was answered with {shown(stands)}, and a run keeps its answers; found "
                f"{shown(value)}. To try another one, run again"
            )
        self.take_answers({**self._known_answers, pause: encoded.body})

    async def rest(self, status: str, pauses: Sequence[FramePath] = ()) -> bool:
        """Give the lease back and leave the run as ``status``.

        False, and the lease stays, when one of ``pauses`` has been answered meanwhile.
        """
        await self.writer.commit()
        if self.writer.lease is None:
            return True
        asked = [self.image.pause_id(str(path)) for path in pauses]
        answers = await self.store.rest(self.writer.lease, status, asked, self._known_answers)
        if answers:
            self.take_answers(answers)
            return False
        self.writer.lease = None
        return True
