"""Outcomes as the bodies of rows, and back.

A body is a JSON object. Its keys: ``o`` output, ``u`` update of the context, ``l`` latency in
seconds, ``n`` attempts (when not 1), ``m`` metadata, ``c`` the frames inside, ``s`` what
all attempts used (when some were noted before the frame began again), ``live`` the parts that are
not saved; ``e`` error, ``q`` question, ``a`` abort, ``t`` background task.
Values in it are what a `Codec` made of them.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypedDict, cast

from pydantic_core import from_json, to_json

from . import errors
from .context import AppendValues, ContextPath, ContextUpdate, DeleteKey, SetValue
from .errors import FlujoError, ValueNotSaved
from .outcomes import (
    Aborted,
    AbortReason,
    BackgroundLaunched,
    Chunk,
    Failure,
    FailureKind,
    FrameOutcome,
    OutcomeFacts,
    Paused,
    StepOutcome,
    Success,
    make_success,
)
from .path import Segment, index_segment
from .step_config import JSONValue
from .steps import Node
from .store.codec import Codec, Encoded
from .store.secrets import looks_like
from .stores import Row
from .unsaved import LivePart, Unsaved
from .usage import NO_METADATA, Usage
from .user_code import Raised, caught_inline, message_of
from .values import ATOMS, whole

MAX_AUTO_BYTES = 64 * 2**20
"""The largest output that is saved by itself; a larger one is saved where that is required."""

MAX_TRACEBACK = 20_000
"""How many characters of a traceback are kept: the last ones."""

Blobs: TypeAlias = dict[bytes, bytes]
Blob: TypeAlias = Callable[[bytes], bytes]


class RecordedError(FlujoError):
    """An error as it was recorded. ``kind`` is its class's name, ``told`` its traceback."""

    def __init__(self, kind: str, message: str, told: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.told = told


@dataclass(slots=True)
class Body:
    """The body of a row, as it is being written."""

    text: bytes = b""
    blobs: Blobs = field(default_factory=dict)
    live: list[LivePart] = field(default_factory=list)
    output: Encoded | None = None

    def add(self, key: bytes, code: bytes) -> None:
        """Add a key with its JSON."""
        self.text += b',"%s":%s' % (key, code)

    def value(self, key: bytes, encoded: Encoded) -> None:
        """Add a key with an encoded value."""
        self.add(key, encoded.body)
        if encoded.blobs:
            self.blobs.update(encoded.blobs)

    def end(self) -> bytes:
        """The whole."""
        if self.live:
            self.add(b"live", to_json([[one.where, one.kind, one.reason] for one in self.live]))
        return b"{%s}" % self.text[1:]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recorded frame stands, with the body of its row and what was inside it."""

    tree: Mapping[str, JSONValue]
    step: Node | None
    segments: tuple[Segment, ...]
    index: int | None
    children: Sequence[StepOutcome]


class _Error(TypedDict):
    """What a body tells of an error; ``own``: it is of one of the engine's own classes."""

    type: str
    own: bool
    message: str
    feedback: str
    kind: str
    traceback: str


class OutcomeCodec:
    """Writes outcomes, and reads them.

    With ``requires`` a value that cannot be saved is an error (`ValueNotSaved`); otherwise its row
    says which part is missing.
    """

    def __init__(self, codec: Codec, requires: bool) -> None:
        self.codec = codec
        self._requires = requires

    def body_of(self, outcome: FrameOutcome) -> Body:
        """The body of the row that tells how a frame ended."""
        body = Body()
        match outcome:
            case Success():
                body.output = self._output(body, outcome.output)
                if outcome.update is not None:
                    self._update(body, outcome.update)
            case Failure():
                self._failure(body, outcome)
            case Paused():
                code = _json({"schema": outcome.schema}).decode()
                schema = outcome.schema if looks_like(code) is None else None  # a default, say
                asked = {"message": withheld(outcome.message), "schema": schema}
                body.add(b"q", _json(asked))
            case Aborted():
                told = {"reason": outcome.reason.value, "message": withheld(outcome.message)}
                body.add(b"a", _json(told))
            case BackgroundLaunched():
                body.add(b"t", to_json(outcome.task_id))
        if outcome.latency_s:
            body.add(b"l", b"%.17g" % outcome.latency_s)
        if outcome.attempts != 1:
            body.add(b"n", b"%d" % outcome.attempts)
        if outcome.metadata:
            self._readable(body, b"m", dict(outcome.metadata))
        if outcome.children:
            body.add(b"c", to_json(inside_of(outcome.children)))
        return body

    def _output(self, body: Body, output: object) -> Encoded | None:
        try:
            encoded = self.codec.encode(output)
            if not self._requires and encoded.size > MAX_AUTO_BYTES:
                told = f"{encoded.size / 2**20:.0f} MB, and at most 64 MB are saved by themselves"
                raise ValueNotSaved("output", type(output).__name__, told)
        except ValueNotSaved as error:
            if self._requires:
                raise
            body.live.append(LivePart(error.where, error.kind, error.reason))
            return None
        body.value(b"o", encoded)
        return encoded

    def decision_body(self, value: object, update: ContextUpdate | None) -> Body:
        """The body of the row that tells of a decision: its value, and what came with it.

        Raises `ValueNotSaved`.
        """
        body = Body()
        body.value(b"v", self.codec.encode(value, "decision"))
        if update is not None:
            body.value(b"u", self.codec.encode(_listed(update), "context"))
        return body

    def decision_of(
        self, tree: Mapping[str, JSONValue], blob: Blob
    ) -> tuple[object, ContextUpdate | None]:
        """What `decision_body` wrote."""
        return self.codec.decode(tree["v"], blob), self._update_of(tree, blob)

    def _update(self, body: Body, update: ContextUpdate) -> None:
        try:
            body.value(b"u", self.codec.encode(_listed(update), "context"))
        except ValueNotSaved as error:
            if self._requires:
                raise
            body.live.append(LivePart(error.where, error.kind, error.reason))

    def _failure(self, body: Body, failure: Failure) -> None:
        error = failure.error
        told = {
            "type": error.kind if isinstance(error, RecordedError) else type(error).__name__,
            "own": type(error) in _OWN.values(),
            "message": withheld(message_of(error)),
            "feedback": withheld(failure.feedback),
            "kind": failure.kind.value,
            "traceback": _told(error),
        }
        body.add(b"e", _json(told))
        if failure.output is not None:
            self._readable(body, b"o", failure.output)

    def _readable(self, body: Body, key: bytes, value: object) -> None:
        """Add what readers may want to see, as far as it can be saved: nothing depends on it."""
        try:
            body.value(key, self.codec.encode(value, "metadata"))
        except ValueNotSaved:
            if isinstance(value, dict) and value:
                kept = {name: one for name, one in value.items() if type(one) in ATOMS}
                if len(kept) < len(value):
                    self._readable(body, key, kept)

    def outcome_of(self, row: Row, place: Place, usage: Usage | None, blob: Blob) -> FrameOutcome:
        """The outcome that a row tells of; ``usage`` is that of all its frame's attempts.

        Raises `ValueNotRead`.
        """
        tree = place.tree
        output = self.codec.decode(tree["o"], blob) if "o" in tree else None
        metadata = NO_METADATA
        if "m" in tree:
            metadata = cast(Mapping[str, object], self.codec.decode(tree["m"], blob))
        if row.status == "success":
            live = live_parts(tree)
            return make_success(
                cast(Node, place.step),  # which a reader without the program does not have
                place.segments,
                place.index,
                cast(int, tree.get("n", 1)),
                cast(float, tree.get("l", 0.0)),
                usage,
                place.children,
                metadata,
                Unsaved(row.path, live[0]) if live and "o" not in tree else output,
                self._update_of(tree, blob),
            )
        told = OutcomeFacts(
            step=place.step,
            segments=place.segments,
            index=place.index,
            attempts=cast(int, tree.get("n", 1)),
            latency_s=cast(float, tree.get("l", 0.0)),
            usage=usage,
            children=place.children,
            metadata=metadata,
        )
        match row.status:
            case "failure":
                why = cast(_Error, tree["e"])
                kind, feedback = FailureKind(why["kind"]), why["feedback"]
                error = _error_of(why)
                return Failure(error=error, feedback=feedback, kind=kind, output=output, **told)
            case "paused":
                asked = cast(Mapping[str, JSONValue], tree["q"])
                schema = cast(Mapping[str, JSONValue] | None, asked["schema"])
                return Paused(message=cast(str, asked["message"]), schema=schema, **told)
            case "launched":
                return BackgroundLaunched(task_id=cast(str, tree["t"]), **told)
        ended = cast(dict[str, str], tree["a"])
        return Aborted(reason=AbortReason(ended["reason"]), message=ended["message"], **told)

    def _update_of(self, tree: Mapping[str, JSONValue], blob: Blob) -> ContextUpdate | None:
        if "u" not in tree:
            return None
        changes: list[SetValue | AppendValues | DeleteKey] = []
        for what, parts, *rest in cast(list[list[object]], self.codec.decode(tree["u"], blob)):
            path: ContextPath = tuple(cast(list[str], parts))
            if what == "set":
                changes.append(SetValue(path, rest[0]))
            elif what == "append":
                changes.append(AppendValues(path, tuple(cast(list[object], rest[0]))))
            else:
                changes.append(DeleteKey(path))
        return ContextUpdate(tuple(changes))


def _listed(update: ContextUpdate) -> list[list[object]]:
    listed: list[list[object]] = []
    for change in update.changes:
        path = list(change.path)
        match change:
            case SetValue(value=value):
                listed.append(["set", path, value])
            case AppendValues(values=values):
                listed.append(["append", path, list(values)])
            case DeleteKey():
                listed.append(["delete", path])
    return listed


def tree_of(row: Row) -> Mapping[str, JSONValue]:
    """The body of a row, parsed."""
    return cast(Mapping[str, JSONValue], from_json(row.body))


def live_parts(tree: Mapping[str, JSONValue]) -> tuple[LivePart, ...]:
    """What of a frame was not saved, as its row's body says."""
    parts = cast(list[list[str]], tree.get("live") or [])
    return tuple(LivePart(*part) for part in parts)


def status_of_row(outcome: FrameOutcome) -> str:
    """What the row of a frame that ended so says in its ``status``."""
    match outcome:
        case Success():
            return "success"
        case Failure():
            return "failure"
        case Paused():
            return "paused"
        case Aborted():
            return "aborted"
        case BackgroundLaunched():
            return "launched"


def inside_of(children: Sequence[StepOutcome]) -> JSONValue:
    """Where the frames inside a frame stand below it, in their order.

    ``[n, "/body"]`` when they are numbered from 0 and otherwise alike, else each one's own text.
    """
    ends = [one for one in children if not isinstance(one, Chunk)]
    first = ends[0].segments if ends else ()
    for number, one in enumerate(ends):
        if one.index != number or one.segments != first:
            return [_below(one) for one in ends]
    return [len(ends), "/".join(("", *map(str, first)))]


def paths_inside(code: JSONValue) -> Sequence[str]:
    """The paths that `inside_of` wrote, relative to their parent's."""
    listed = cast(list[object], code or [])
    if len(listed) == 2 and isinstance(listed[0], int):
        return [f"[{number}]{listed[1]}" for number in range(listed[0])]
    return cast(list[str], listed)


def _below(outcome: FrameOutcome) -> str:
    inside = () if outcome.index is None else (index_segment(outcome.index),)
    return "/".join(map(str, (*inside, *outcome.segments)))


def _told(error: BaseException) -> str:
    if isinstance(error, RecordedError):
        return error.told
    told = caught_inline(traceback.format_exception, error)
    # Looked at as a whole: a cut may take off what a key is known by.
    return "" if isinstance(told, Raised) else withheld("".join(told))[-MAX_TRACEBACK:]


def withheld(text: str) -> str:
    """``text``, unless a secret stands in it: what the engine writes itself holds none either."""
    found = looks_like(text)
    return text if found is None else f"(withheld: it holds what looks like {found})"


def _json(told: Mapping[str, object]) -> bytes:
    """JSON of texts, whatever they hold: of halves of characters something readable is kept."""
    return to_json({key: whole(one) if isinstance(one, str) else one for key, one in told.items()})


_OWN = {
    name: cls
    for name, cls in vars(errors).items()
    if isinstance(cls, type) and issubclass(cls, FlujoError)
}


def _error_of(told: _Error) -> BaseException:
    """An engine error as its own class, any other as what was recorded of it."""
    own = _OWN.get(told["type"]) if told["own"] else None
    if own is None:
        return RecordedError(told["type"], told["message"], told["traceback"])
    error = own.__new__(own, told["message"])
    error.args = (told["message"],)
    return error
