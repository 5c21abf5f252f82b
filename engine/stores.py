"""What a store of runs is: the protocol, and the values that cross it.

A store keeps, for each run, rows in the order in which they happened, the answers to its pauses,
and who owns it. It knows nothing of what the bytes in them mean. Writing waits, for a bounded
time and without holding the event loop, while another process holds the store; reading does not
wait for writers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol


class RowKind(StrEnum):
    """What a row tells of the frame at its path."""

    FINISHED = "finished"
    ATTEMPT = "attempt"
    DECISION = "decision"
    STARTED = "started"
    RESUMED = "resumed"
    SUPERSEDED = "superseded"


class Row(NamedTuple):
    """One entry of a run's journal.

    ``seq`` counts the rows of a run from 1. ``path`` is the text of a frame's path; ``name`` its
    step's, or what was decided. Of a finished frame: ``status`` (``success``, ``failure``,
    ``paused``, ``aborted``, ``launched``), the digests of its ``definition`` and ``input`` (16
    bytes each) and ``started``, the last row before it began. ``at`` is in seconds since 1970;
    usage is the row's own, in micro-dollars, tokens and requests. ``body`` is JSON.
    """

    seq: int
    path: str
    kind: str
    name: str | None
    status: str | None
    definition: bytes | None
    input: bytes | None
    started: int | None
    at: float
    cost_micros: int
    tokens: int
    requests: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that executes runs.

    ``boot_id`` and ``pid_namespace`` say on which running system ``pid`` means something;
    ``process_start`` tells the process from a later one of that number. ``label`` is for humans.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    process_start: str
    label: str = ""

    def __str__(self) -> str:
        label = f"{self.label}, " if self.label else ""
        return f"{label}process {self.pid} on {self.host}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to a run. ``fence`` is greater than that of every lease before it.

    ``after_crash`` says that whoever had the run before never gave it back.
    """

    run_id: str
    fence: int
    owner: Owner
    after_crash: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Source:
    """What a forked run begins with: the rows of another one, up to and including ``upto``."""

    run_id: str
    upto: int


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as a store lists it.

    ``about`` is JSON that the engine wrote when the run was made; ``status`` is ``running`` while
    somebody owns it, and how it was left after that. ``rows`` counts them, ``last_seq`` is the
    newest; ``size`` is what the run's own rows take, in bytes. ``owner`` has the lease, if
    anybody has; ``answered`` counts the answers. Usage is the sum over all rows but those of kind
    ``started``, which tell what was expected.
    """

    run_id: str
    status: str
    created_at: float
    updated_at: float
    about: bytes
    owner: Owner | None
    source: Source | None
    rows: int
    last_seq: int
    answered: int
    size: int
    cost_micros: int
    tokens: int
    requests: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning removed: runs by id, and how many bytes that freed."""

    runs: tuple[str, ...]
    freed: int


class Store(Protocol):
    """Keeps runs. Every method may raise `StoreError`; what raised has not happened.

    A run's id and names are data: they are bound as parameters and never part of a statement or
    of a file's name.
    """

    @property
    def location(self) -> str:
        """Where the runs are kept, for humans."""

    @property
    def key(self) -> bytes:
        """The store's own 32 random bytes, which its references to secrets are made with."""

    async def create(
        self, run_id: str, about: bytes, owner: Owner, source: Source | None = None
    ) -> Lease:
        """A new run, owned by ``owner``. Raises `RunExists`, and `NoSuchRun` for the source."""

    async def take(self, run_id: str, owner: Owner) -> Lease:
        """The lease of a run that nobody has, or whose owner is dead or has let it expire.

        Raises `RunHeld`, which names the owner, and `NoSuchRun`.
        """

    async def append(self, lease: Lease, rows: Sequence[Row], blobs: Mapping[bytes, bytes]) -> None:
        """Write ``rows``, and ``blobs`` by their digests (32 bytes), all or none of them.

        Raises `LeaseLost`, which names who took the run.
        """

    async def rest(
        self, lease: Lease, status: str, pauses: Sequence[str], known: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        """Give the lease back and leave the run as ``status``.

        Unless one of ``pauses`` has an answer that is not among ``known``: then the lease stays
        with its owner, who gets all the answers of the run. Raises `LeaseLost`.
        """

    async def answer(self, run_id: str, pause: str, body: bytes) -> bytes:
        """Keep an answer, without a lease; the answer that holds: the first one."""

    def run(self, run_id: str) -> StoredRun:
        """One run. Raises `NoSuchRun`."""

    def runs(self) -> Sequence[StoredRun]:
        """All runs, the newest first."""

    def rows(self, run_id: str, upto: int | None = None) -> Sequence[Row]:
        """The run's own rows in order, without those of its source. Raises `NoSuchRun`."""

    def answers(self, run_id: str) -> Mapping[str, bytes]:
        """The answers to a run's pauses. Raises `NoSuchRun`."""

    def blob(self, digest: bytes) -> bytes:
        """The bytes of a digest. Raises `StoreError` when they are not there."""

    async def delete(self, run_id: str) -> int:
        """Remove a run with all its rows and answers; the bytes that this freed.

        Raises `NoSuchRun`, `RunHeld` while somebody executes it, and `StoreError` while another
        run was forked from it.
        """

    async def prune(self, *, older_than: float | None = None, down_to: int | None = None) -> Pruned:
        """Remove runs that were not touched since ``older_than`` (seconds since 1970).

        And, the oldest first, as many as it takes to come down to ``down_to`` bytes. Runs that
        somebody executes, or that others were forked from, stay.
        """

    async def aclose(self) -> None:
        """Let go of everything. Leases that are still held stay with this process until it ends."""
