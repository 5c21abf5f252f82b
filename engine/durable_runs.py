"""The runs of one pipeline in a store: begun, taken up again, read, forked, and left at rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from .answers import answer_of
from .errors import (
    NoSuchRun,
    ResumeError,
    RunInputMismatch,
    RunSetAside,
    StoreError,
    ValueNotSaved,
)
from .in_doubt import Verdict
from .journal import Decision
from .journal_image import CRASHED, MOST_RESUMES, began_at
from .outcome_codec import withheld
from .outcomes import RunStatus
from .path import FramePath
from .recall import edited
from .step_definitions import StepDefinitions
from .step_kinds import HumanInTheLoopStep
from .steps import Node, name_of
from .store.codec import Codec
from .store.owners import this_process
from .store.secrets import SecretBook, secrets_of
from .store.type_table import TypeTable
from .stored_journal import Persist, StoredJournal
from .stores import Lease, RowKind, Source, Store, StoredRun
from .usage import UsageLimits

REQUEST = "request"
"""The decision that holds what a run was asked for with: its input, and the context it began on."""

SET_ASIDE = "set_aside"
"""The status of a run whose resumes came to nothing."""

_ROOT = FramePath()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a run was asked for with."""

    data: object
    context: BaseModel


class DurableRuns:
    """The runs of ``nodes`` (a pipeline with all inside, itself last) in ``store``."""

    def __init__(
        self,
        store: Store,
        nodes: Sequence[Node],
        persist: Persist,
        context_model: type[BaseModel],
        resources: object = None,
        about: Mapping[str, str | None] | None = None,
    ) -> None:
        self.store = store
        self._nodes = nodes
        self._persist = persist
        self._about = dict(about or {})
        self._definitions = StepDefinitions(withheld)
        types = TypeTable()
        types.add(context_model)
        for node in nodes:
            types.add_node(node)
        self._codec = Codec(types, SecretBook(store.key, partial(secrets_of, resources)))
        self._owner = this_process()
        self._unrested: dict[str, Lease] = {}

    # Beginning and going on

    async def begin(self, run_id: str, asked: Asked, limits: UsageLimits | None) -> StoredJournal:
        """The journal of a new run. Raises `RunExists`, and `ValueNotSaved` for its input."""
        self._codec.encode(asked.data, "input")
        self._codec.encode(asked.context, "context")
        about = to_json(
            {
                **self._about,
                "limits": None if limits is None else limits.model_dump(exclude_none=True),
            }
        )
        lease = await self.store.create(run_id, about, self._owner)
        journal = self._journal(run_id, lease)
        journal.decide(_ROOT, REQUEST, Decision({"data": asked.data, "context": asked.context}))
        await journal.writer.commit()
        return journal

    async def take(self, run_id: str, *, keep: bool, anyway: bool) -> StoredJournal:
        """The journal of a known run, which this process executes from now on.

        Raises `NoSuchRun`, `RunHeld`, `DefinitionChanged` unless ``keep``, and `RunSetAside`
        unless ``anyway``.
        """
        before = self.store.run(run_id)
        left = self._unrested.pop(run_id, None)
        if left is not None:  # the store failed when it was to be given back
            await self.store.rest(left, RunStatus.INTERRUPTED, (), {})
        lease = await self.store.take(run_id, self._owner)
        journal = self._journal(run_id, lease, before.source)
        try:
            journal.read()
            journal.keeps = keep
            crashed = before.status == RunStatus.RUNNING and left is None
            fruitless = journal.image.fruitless + crashed >= MOST_RESUMES
            if not anyway and (fruitless or before.status == SET_ASIDE):
                await journal.rest(SET_ASIDE)
                raise RunSetAside(
                    f"run {run_id} is set aside: it crashed {MOST_RESUMES} times in a row before "
                    f"anything more was recorded, the last time after {_last(journal)}. Look at "
                    "what it does next, then resume it with anyway=True"
                )
            self.check_definitions(journal)
            status = CRASHED if crashed else None
            journal.writer.note(RowKind.RESUMED, "", status=status)
            await journal.writer.commit()
        except BaseException:
            if journal.writer.lease is not None:
                await self.leave(journal, before.status)
            raise
        return journal

    async def leave(
        self, journal: StoredJournal, status: str, pauses: Sequence[FramePath] = ()
    ) -> bool:
        """Give a run back. False: it goes on, because a question was answered meanwhile.

        A store that fails now keeps the lease with this process, which gives it back when it
        takes the run up again.
        """
        lease = journal.writer.lease
        try:
            return await journal.rest(status, pauses)
        except StoreError:
            journal.writer.lease = None
            if lease is not None:
                self._unrested[journal.run_id] = lease
            raise

    # Looking

    def look(self, run_id: str) -> StoredJournal:
        """The journal of a run, to be read only. Raises `NoSuchRun`."""
        stored = self.store.run(run_id)
        journal = self._journal(run_id, None, stored.source)
        journal.read()
        return journal

    def known(self, run_id: str) -> StoredRun | None:
        """The run of that id, if the store holds it."""
        try:
            return self.store.run(run_id)
        except NoSuchRun:
            return None

    def asked(self, journal: StoredJournal) -> Asked | None:
        """What a run was asked for with, if it came so far as to note that."""
        noted = journal.decision(_ROOT, REQUEST)
        if noted is None:
            return None
        held = cast(Mapping[str, object], noted.value)
        return Asked(held["data"], cast(BaseModel, held["context"]))

    def check_definitions(self, journal: StoredJournal) -> None:
        """Raise `DefinitionChanged` when steps were edited whose outcomes are recorded."""
        edited(journal, self._nodes)

    def stands(self, journal: StoredJournal, node: Node, keep: bool) -> bool:
        """Whether all of a completed run is recorded, and ``node`` still is what was run."""
        journal.keeps = keep
        self.check_definitions(journal)
        root = "/".join(map(str, node.own_segments))
        row = journal.image.finished.get(root)
        if row is None or not journal.image.is_final(row) or any(journal.image.open_behind()):
            return False
        return keep or row.definition == journal.definition_of(node)

    def limits_of(self, run_id: str) -> UsageLimits | None:
        """The limits that a run was begun with."""
        about = cast(Mapping[str, object], from_json(self.store.run(run_id).about))
        return None if about.get("limits") is None else UsageLimits.model_validate(about["limits"])

    def check_input(self, journal: StoredJournal, asked: Asked, data: object) -> None:
        """Raise `RunInputMismatch` when ``data`` is given, and not what the run was begun with."""
        if data is None or self._codec_equal(asked.data, data):
            return
        raise RunInputMismatch(
            f"run {journal.run_id} was begun with {asked.data!r:.80}; found {data!r:.80}. Give the "
            "same input or none to go on with it, or another run_id to begin a new run"
        )

    def _codec_equal(self, one: object, other: object) -> bool:
        try:
            return self._codec.encode(one).digest == self._codec.encode(other).digest
        except ValueNotSaved:
            return False

    # Answers and forks

    async def answer(self, run_id: str, given: object, wanted: FramePath | str | None) -> FramePath:
        """Keep an answer to a question of a run, whoever executes it; the path that asked.

        Raises `ResumeError` when there is no telling which question is meant, `AnswerRejected`,
        `AlreadyAnswered`.
        """
        journal = self.look(run_id)
        asking = {row.path: row for row in journal.image.asking()}
        waiting = [path for path in asking if FramePath.parse(path) not in journal.answers]
        path = str(wanted) if wanted is not None else None
        if path is None and len(waiting or asking) == 1:
            [path] = waiting or asking
        if path is None or path not in asking:
            told = "; ".join(asking) or "no questions"
            raise ResumeError(
                f"run {run_id}: say which question is answered, as pause=PATH; found "
                f"{wanted or 'none'}, there are {told}"
            )
        at = FramePath.parse(path)
        answer_of(given, self._wanted_at(asking[path].name), path)
        await journal.put_answer(at, given)
        return at

    def _wanted_at(self, name: str | None) -> type | None:
        """The type of the answer that the step called ``name`` asks for."""
        step = next((node for node in self._nodes if name_of(node) == name), None)
        if isinstance(step, HumanInTheLoopStep):
            return step.input_schema
        return Verdict if step is not None and step.once else None

    async def fork(self, run_id: str, at: str, new_id: str) -> StoredJournal:
        """The journal of a new run that has all that finished before the frame at ``at`` began.

        Raises `NoSuchRun`, `RunExists`, and `ResumeError` when nothing is recorded at ``at``.
        """
        origin = self.look(run_id)
        upto = began_at(origin.all_rows(), at)
        if upto is None:
            known = ", ".join(list(origin.image.finished)[:20]) or "nothing"
            raise ResumeError(f"nothing is recorded at {at!r} in run {run_id}; there is {known}")
        source = Source(run_id, upto)
        about = self.store.run(run_id).about
        lease = await self.store.create(new_id, about, self._owner, source)
        journal = self._journal(new_id, lease, source)
        journal.read()
        return journal

    def _journal(
        self, run_id: str, lease: Lease | None, source: Source | None = None
    ) -> StoredJournal:
        return StoredJournal(
            self.store, run_id, self._codec, self._persist, lease, source, self._definitions
        )


def _last(journal: StoredJournal) -> str:
    rows = sorted(journal.image.finished.values(), key=lambda row: row.seq)
    return rows[-1].path or "the run" if rows else "nothing at all"
