"""What all frames of one run share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from enum import IntFlag
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from .context import HumanAnswer
from .errors import DuplicatePath
from .hooks import EventStream, Hook
from .journal import Journal
from .outcomes import OnChunk, RunStatus
from .path import FramePath, Segment, step_segment
from .references import StateProviders
from .unsaved import Outputs

Extensions: TypeAlias = Mapping[str, object]

NO_EXTENSIONS: Extensions = MappingProxyType({})
NO_PROVIDERS: StateProviders = MappingProxyType({})


def new_run_id() -> str:
    """An identity for a run: as random as a uuid4, at a fifth of its price."""
    return f"run_{os.urandom(16).hex()}"


class Facility(IntFlag):
    """What a run makes use of; each but the last brings one interceptor around every frame."""

    NONE = 0
    EVENTS = 1
    JOURNAL = 2
    OUTPUTS = 4
    REFERENCES = 8
    CONTEXT = 16


class _Claims(NamedTuple):
    """The paths that frames have been given one by one, and how many of each name there are."""

    paths: set[FramePath]
    ordinals: dict[FramePath, int]


class Run:
    """What all frames of one run share.

    ``outputs`` holds the newest output of each step by name, where something asks for it
    (`Facility.OUTPUTS`); ``busy`` counts children since the loop turned. The id is made late.
    """

    __slots__ = (
        "_claims",
        "_run_id",
        "busy",
        "events",
        "extensions",
        "facilities",
        "journal",
        "on_chunk",
        "outputs",
        "resources",
        "state_providers",
        "stream",
    )

    def __init__(
        self,
        run_id: str | None = None,
        resources: object = None,
        stream: bool = False,
        on_chunk: OnChunk | None = None,
        extensions: Extensions = NO_EXTENSIONS,
        hooks: tuple[Hook, ...] = (),
        journal: Journal | None = None,
        facilities: Facility = Facility.NONE,
        state_providers: StateProviders = NO_PROVIDERS,
    ) -> None:
        self._run_id = run_id
        self._claims: _Claims | None = None
        self.resources = resources
        self.stream = stream
        self.on_chunk = on_chunk
        self.extensions = MappingProxyType(dict(extensions)) if extensions else NO_EXTENSIONS
        self.events = EventStream(self.run_id, hooks) if hooks else None
        self.journal = journal
        self.busy = 0
        self.state_providers = state_providers
        self.outputs = Outputs()
        # Flags are dear to combine, and most runs need none.
        if hooks:
            facilities |= Facility.EVENTS
        if journal is not None:
            facilities |= Facility.JOURNAL
        elif facilities:
            facilities &= ~Facility.JOURNAL
        self.facilities = facilities

    @property
    def run_id(self) -> str:
        """The run's identity."""
        if self._run_id is None:
            self._run_id = new_run_id()
        return self._run_id

    def apart(self) -> Run:
        """The same run for what goes on behind it: what that puts out reaches nobody else."""
        _ = self.run_id, self._taken()  # made now, so that both have them
        own = copy(self)
        own.outputs = Outputs(self.outputs)
        return own

    @property
    def step_outputs(self) -> Mapping[str, object]:
        """``outputs``, for readers."""
        return MappingProxyType(self.outputs)

    @property
    def hitl_history(self) -> Sequence[HumanAnswer]:
        """The answers that the run has been given, in order."""
        return () if self.journal is None else self.journal.hitl_history

    @property
    def status(self) -> str:
        """How the run stands while its steps look."""
        return RunStatus.RUNNING

    def claim(self, path: FramePath) -> None:
        """Take ``path`` for one frame; `DuplicatePath` when another has it."""
        claimed = self._taken().paths
        if path in claimed:
            raise DuplicatePath(
                f"two frames at {path} in one run; give the second child another segment"
            )
        claimed.add(path)

    def free_segment(self, above: FramePath, name: str) -> Segment:
        """The segment of the next child called ``name`` below ``above``."""
        first, taken = above / step_segment(name), self._taken()
        ordinal = taken.ordinals.get(first, 0)
        while above / step_segment(name, ordinal) in taken.paths:
            ordinal += 1
        taken.ordinals[first] = ordinal + 1
        return step_segment(name, ordinal)

    def _taken(self) -> _Claims:
        if self._claims is None:
            self._claims = _Claims(set(), {})
        return self._claims
