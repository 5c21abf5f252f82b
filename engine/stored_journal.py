"""The journal of a run in a store: what is noted is durable before anything depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import ClassVar, cast

from pydantic_core import from_json, to_json

from .errors import AlreadyAnswered, ResumeError, ValueNotSaved
from .frame import AnyFrame
from .journal import Decision
from .journal_image import ESTIMATE, ONCE, PAST, Image, is_at_or_below
from .outcome_codec import status_of_row
from .outcomes import Aborted, BackgroundLaunched, FrameOutcome, Success
from .path import FramePath
from .recorded_frames import RecordedFrames
from .recorded_run import DEFINITION, Begun, Persist, RecordedRun
from .row_writer import RowWriter
from .step_config import JSONValue
from .step_definitions import DefinitionTable, StepDefinitions
from .steps import Node, name_of
from .store.codec import Codec
from .stores import Lease, Row, RowKind, Source, Store
from .usage import FREE, Usage
from .user_code import Raised
from .values import shown, whole

_FINISHED = RowKind.FINISHED.value  # a plain str: sqlite3 asks every other type how to adapt it


class StoredJournal(RecordedRun):
    """The journal of a run of a store. Without a ``lease`` it notes nothing.

    ``cold`` has every frame that ended read back from the store, and what it left in memory
    dropped: what changes something in place, or depends on identity, then shows.
    """

    cold: ClassVar[bool] = False

    __slots__ = (
        "_attempted",
        "_carried",
        "_deciding",
        "_defined",
        "_definitions",
        "_given",
        "_input",
        "definitions",
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
        self.writer = RowWriter(store, lease, 0 if source is None else source.upto)
        self.definitions = definitions or StepDefinitions()
        self._definitions: dict[Node, tuple[str, bytes]] = {}
        self._defined: set[bytes] = set()
        self._attempted: dict[str, Usage] = {}
        self._carried: set[str] = set()
        self._deciding: dict[str, bytes] = {}
        super().__init__(store, run_id, codec, persist, source)
        self._given: object = None
        self._input = self.digest_of(None)

    def _take(self, image: Image) -> None:
        super()._take(image)
        self.writer.seq = max(self.writer.seq, image.last_seq)
        self._definitions.clear()  # taken anew: a step may have changed since

    def begin(self, path: FramePath | str, step: Node, data: object) -> Begun:
        """How the frame at ``path`` begins; asked before anything can change its input."""
        name, definition = self._definitions.get(step) or self._define(step)
        if data is not self._given:
            self._given, self._input = data, self.digest_of(data)
        text = str(path)
        if step.is_container:
            self._deciding[text] = self._input
        return Begun(text, name, definition, self._input, self.writer.seq)

    def knows(self, value: object, digest: bytes) -> None:
        """Note that ``value``, which the next frame may be given, has that digest."""
        self._given, self._input = value, digest

    def definition_of(self, step: Node) -> bytes:
        """The digest of what ``step`` is; what it says is noted once a run."""
        known = self._definitions.get(step) or self._define(step)
        return known[1]

    def look_again(self, nodes: Sequence[Node]) -> None:
        """Forget what ``nodes`` were, where that is not what they are: what they use may change."""
        for node in nodes:
            known = self._definitions.get(node)
            if known is not None and self.definitions.of(node).digest != known[1]:
                del self._definitions[node]

    def define(self, nodes: Sequence[Node]) -> None:
        """Note what ``nodes`` are, all in one row: frames that end then write one each."""
        table = self.definitions.table_of(nodes)
        for node, digest in zip(nodes, table.digests, strict=True):
            self._definitions[node] = whole(name_of(node)), digest
        self._note_definitions(table)

    def _define(self, step: Node) -> tuple[str, bytes]:
        digest = self.definitions.of(step).digest
        known = self._definitions[step] = whole(name_of(step)), digest
        if digest not in self._defined:
            self._note_definitions(self.definitions.table_of([step]))
        return known

    def _note_definitions(self, table: DefinitionTable) -> None:
        self._defined.update(table.digests)
        name = f"{DEFINITION}{table.name}"
        if self.writer.lease is not None and ("", name) not in self.image.decisions:
            noted = self.definitions.noted
            if table.name not in noted:
                made = self._outcomes_codec.decision_body(table.lines, None)
                noted[table.name] = made.end(), made.blobs
            body, blobs = noted[table.name]
            self.writer.note(RowKind.DECISION, "", body, name=name, blobs=blobs)

    def finish_frame(self, begun: Begun, outcome: FrameOutcome) -> None:
        """Note how a frame ended. Raises `ValueNotSaved` where values have to be saved."""
        body = self._outcomes_codec.body_of(outcome)
        if body.live:
            self._live[begun.path] = outcome
        if body.output is not None and isinstance(outcome, Success):
            self._given, self._input = outcome.output, body.output.digest
        if self._deciding:
            self._deciding.pop(begun.path, None)
        usage = outcome.usage or FREE
        if self._attempted:
            usage -= self._attempted.pop(begun.path, FREE)
        if begun.path in self._carried:
            self._carried.discard(begun.path)
            body.add(b"s", to_json(outcome.usage or FREE))
        writer = self.writer
        row = Row(
            writer.seq + 1,
            begun.path,
            _FINISHED,
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

    def read_back(self, begun: Begun, frame: AnyFrame, outcome: FrameOutcome) -> FrameOutcome:
        """What the store holds of the frame that ended with ``outcome`` just now."""
        if begun.path in self._live or isinstance(outcome, Aborted):  # an abort's error is raised
            return outcome
        rows = [row for row in self.all_rows() if is_at_or_below(row.path, begun.path)]
        frames = RecordedFrames(Image(rows), self._outcomes_codec, self.store.blob)
        row = frames.image.finished[begun.path]
        return frames.outcome_of(row, frame.step, frame.segments, frame.index)

    async def attempted(self, path: FramePath, used: Usage) -> None:
        """Make durable that an attempt that failed used something, before the next one starts."""
        text = str(path)
        self._attempted[text] = self._attempted.get(text, FREE) + used
        self.writer.note(RowKind.ATTEMPT, text, usage=used)
        await self.writer.commit()

    def carry(self, path: FramePath, used: Usage) -> None:
        """Note that attempts of the frame at ``path`` used that before, as `attempted` noted."""
        self._attempted[str(path)] = used
        self._carried.add(str(path))

    async def start(self, path: FramePath, once: bool, estimate: Usage = FREE) -> None:
        """Make durable that a frame begins that may run once only, or may cost something."""
        status = ONCE if once else ESTIMATE
        self.writer.note(RowKind.STARTED, str(path), status=status, usage=estimate)
        await self.writer.commit()

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

    def decide(
        self, path: FramePath, name: str, decision: Decision, number: int | None = None
    ) -> Raised | None:
        """Note a decision of the frame at ``path``; `Raised` when it has to be saved and cannot.

        Where it need not, it is taken anew when the run is resumed.
        """
        label = name if number is None else f"{name}#{number}"
        if type(decision.value) is bool and decision.update is None:  # each iteration has one
            body = b'{"v":true}' if decision.value else b'{"v":false}'
            self.writer.note(RowKind.DECISION, str(path), body, name=label)
            return None
        try:
            made = self._outcomes_codec.decision_body(decision.value, decision.update)
        except ValueNotSaved as error:
            return Raised(error) if self.persist is Persist.REQUIRE else None
        text = str(path)
        given, blobs = self._deciding.get(text), made.blobs
        self.writer.note(RowKind.DECISION, text, made.end(), name=label, given=given, blobs=blobs)
        return None

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

        False, and the lease stays, when one of ``pauses`` has been answered meanwhile. After a
        commit that failed what else was noted is given up: nobody was told that it is durable.
        """
        if not self.writer.is_broken:
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
