"""The runs of one pipeline in a store: begun, taken up again, read, forked, and left at rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import cast

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from .answers import answer_of
from .differences import value_difference
from .errors import (
    LeaseLost,
    NoSuchRun,
    ReplayMismatch,
    ResumeError,
    RunInputMismatch,
    RunSetAside,
    ValueNotSaved,
)
from .execution_dispatcher import work_of
from .journal import Decision
from .journal_image import CRASHED, MOST_RESUMES, Image, began_at, kept_rows
from .outcome_codec import tree_of, withheld
from .outcomes import RunStatus
from .path import FramePath
from .recall import edited
from .recorded_run import PATCH, Persist
from .results import Pause
from .resuming import choose_pause, schema_of, wanted_by
from .step_config import JSONValue
from .step_definitions import StepDefinitions
from .steps import AnyStep, Node, name_of
from .store.codec import Codec
from .store.owners import this_process
from .store.secrets import SecretBook, secrets_of
from .store.type_table import TypeTable
from .stored_journal import StoredJournal
from .stores import Lease, Row, RowKind, Source, Store, StoredRun
from .unsaved import LivePart, Unsaved
from .usage import UsageLimits
from .values import shown, whole

REQUEST = "request"
"""The decision that holds what a run was asked for with: its input, and the context it began on."""

INPUT_GONE = Unsaved("", LivePart("the run's input", "unknown", "give it again, as data"))
"""Stands for the input of a run that could not be saved."""

SET_ASIDE = "set_aside"
"""The status of a run whose resumes came to nothing."""

_ROOT = FramePath()

_unrested: dict[tuple[bytes, str], Lease] = {}
"""Leases that could not be given back, by their store's key and run: any runner here may."""


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
        behind = (work_of(cast(AnyStep, node)) for node in nodes if node.in_background)
        self._nodes = (*behind, *nodes)
        self._persist = persist
        self._about = {key: text and whole(text) for key, text in (about or {}).items()}
        self._definitions = StepDefinitions(withheld)
        types = TypeTable()
        types.add(context_model)
        for node in nodes:
            types.add_node(node)
        self._key = store.key
        self._codec = Codec(types, SecretBook(self._key, partial(secrets_of, resources)))
        self._owner = this_process()

    # Beginning and going on

    async def begin(self, run_id: str, asked: Asked, limits: UsageLimits | None) -> StoredJournal:
        """The journal of a new run. Raises `RunExists`, and `ValueNotSaved` for its input."""
        noted = self._noted(asked)
        about = to_json(
            {
                **self._about,
                "limits": None if limits is None else limits.model_dump(exclude_none=True),
            }
        )
        lease = await self.store.create(run_id, about, self._owner)
        journal = self._journal(run_id, lease)
        try:
            journal.decide(_ROOT, REQUEST, Decision(noted))
            journal.define(self._nodes)
            await journal.writer.commit()
        except BaseException:
            await self.leave(journal, RunStatus.INTERRUPTED)
            raise
        return journal

    async def take(self, run_id: str, asked: Asked, *, keep: bool, anyway: bool) -> StoredJournal:
        """The journal of a known run, which this process executes from now on.

        ``asked`` is noted if it was not when the run was begun.

        Raises `NoSuchRun`, `RunHeld`, `DefinitionChanged` unless ``keep``, and `RunSetAside`
        unless ``anyway``.
        """
        before = self.store.run(run_id)
        left = _unrested.get((self._key, run_id))
        if left is not None:  # the store failed when it was to be given back
            with suppress(LeaseLost):
                await self.store.rest(left, RunStatus.INTERRUPTED, (), {})
            _unrested.pop((self._key, run_id), None)
        lease = await self.store.take(run_id, self._owner)
        journal = self._journal(run_id, lease, before.source)
        try:
            journal.read()
            journal.keeps = keep
            crashed = lease.after_crash and left is None
            fruitless = journal.image.fruitless + crashed >= MOST_RESUMES
            if not anyway and (fruitless or before.status == SET_ASIDE):
                await journal.rest(SET_ASIDE)
                raise RunSetAside(
                    f"run {run_id} is set aside: it crashed {MOST_RESUMES} times in a row before "
                    f"anything more was recorded, the last time after {_last(journal)}. Look at "
                    "what it does next, then resume it with anyway=True"
                )
            journal.define(self._nodes)  # in one row, before each is looked at
            self.check_definitions(journal)
            status = CRASHED if crashed else None
            noted = b'{"keep":true}' if keep else b"{}"
            journal.writer.note(RowKind.RESUMED, "", noted, status=status)
            if journal.decision(_ROOT, REQUEST) is None:
                journal.decide(_ROOT, REQUEST, Decision(self._noted(asked)))
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

        When that fails, or is cancelled, the lease stays with this process, which gives it back
        when it takes the run up again.
        """
        lease = journal.writer.lease
        try:
            return await journal.rest(status, pauses)
        except BaseException:
            journal.writer.lease = None
            if lease is not None:
                _unrested[self._key, journal.run_id] = lease
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

    def _noted(self, asked: Asked) -> dict[str, object]:
        """As much of what a run is asked for with as can be saved."""
        noted: dict[str, object] = {}
        for name, value in (("data", asked.data), ("context", asked.context)):
            try:
                self._codec.encode(value, "input" if name == "data" else name)
            except ValueNotSaved:
                if self._persist is Persist.REQUIRE:
                    raise
            else:
                noted[name] = value
        return noted

    def asked(self, journal: StoredJournal) -> Mapping[str, object]:
        """What a run was begun with: its ``data`` and its ``context``, as far as noted.

        ``data`` that could not be saved is marked as gone.
        """
        noted = journal.decision(_ROOT, REQUEST)
        if noted is None:
            return {}
        return {"data": INPUT_GONE, **cast(Mapping[str, object], noted.value)}

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

    def check_input(self, journal: StoredJournal, begun_with: object, data: object) -> None:
        """Raise `RunInputMismatch` when ``data`` is given, and not what the run was begun with.

        In a replay that is a `ReplayMismatch`.
        """
        if data is not None and journal.digest_of(data) != journal.digest_of(begun_with):
            if journal.replaying:
                told = value_difference(begun_with, data, "input")
                raise ReplayMismatch(
                    f"run {journal.run_id} gets another input than recorded: {told}"
                )
            raise RunInputMismatch(
                f"run {journal.run_id} was begun with {shown(begun_with)}; found {shown(data)}. "
                "Give the same input or none to go on with it, or another run_id to begin a new run"
            )

    # Answers and forks

    async def answer(self, run_id: str, given: object, wanted: FramePath | str | None) -> FramePath:
        """Keep an answer to a question of a run, whoever executes it; the path that asked.

        Raises `ResumeError` when there is no telling which question is meant, `AnswerRejected`,
        `AlreadyAnswered`.
        """
        journal = self.look(run_id)
        asking = [self._pause_of(row) for row in journal.image.asking()]
        asking = [one for one in asking if one.step is not None] or asking  # others were renamed
        answered = journal.answers
        known = [path for path in answered if wanted is not None and str(path) == str(wanted)]
        if wanted is None and not asking and len(answered) == 1:
            known = [*answered]
        if known:
            [at] = known  # the same again changes nothing
        else:
            status = self.store.run(run_id).status
            asked = choose_pause(run_id, status, asking, answered, wanted)
            answer_of(given, wanted_by(asked), str(asked.path))
            at = asked.path
        await journal.put_answer(at, given)
        return at

    def _pause_of(self, row: Row) -> Pause:
        asked = cast(Mapping[str, JSONValue], tree_of(row)["q"])
        schema = cast(Mapping[str, JSONValue] | None, asked["schema"])
        named = [node for node in self._nodes if name_of(node) == row.name]
        # Several steps of a name may ask for different things.
        step = next((node for node in named if schema_of(node) == schema), next(iter(named), None))
        return Pause(FramePath.parse(row.path), str(asked["message"]), schema, step)

    async def fork(
        self, run_id: str, at: str, new_id: str, patch: Mapping[str, JSONValue] | None
    ) -> StoredJournal:
        """The journal of a new run that has all that finished before the frame at ``at`` began.

        Raises `NoSuchRun`, `RunExists`, `ResumeError` when nothing is recorded at ``at``,
        `DefinitionChanged` for steps that it would keep, and `ValueNotSaved` for its patch.
        """
        if patch is not None:
            self._codec.encode(patch, "patch")
        origin = self.look(run_id)
        rows = origin.all_rows()
        upto = began_at(rows, at)
        if upto is None:
            known = ", ".join(list(origin.image.finished)[:20]) or "nothing"
            raise ResumeError(f"nothing is recorded at {at!r} in run {run_id}; there is {known}")
        source = Source(run_id, upto)
        origin.image = Image(kept_rows(rows, source))
        self.check_definitions(origin)
        about = self.store.run(run_id).about
        lease = await self.store.create(new_id, about, self._owner, source)
        journal = self._journal(new_id, lease, source)
        try:
            journal.read()
            if patch is not None:
                journal.decide(FramePath.parse(at), PATCH, Decision(patch))
            journal.define(self._nodes)
            await journal.writer.commit()
            journal.read()
        except BaseException:
            await self.leave(journal, RunStatus.INTERRUPTED)
            raise
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
