"""What one frame's step is, as the journal records it: a digest, and lines that tell it to humans.

Only what was declared counts, so that an option which a later version adds changes no digest. The
steps inside a container count by name and order, because each has a frame and a definition of its
own; only a cached step counts whole, as it does in its key. Nothing counts that another process
cannot know.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import MISSING, dataclass, field
from enum import Enum
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import NamedTuple, TypeAlias, cast

from pydantic import BaseModel

from .code_facts import facts_of, library_of
from .definition_parts import Defined
from .digests import Definition, definition_of_parts
from .step_kinds import UNDEFINING, CacheStep
from .steps import AnyStep, Node, Pipeline, is_node, name_of
from .user_code import Raised, caught_inline
from .values import exactly_equal, shown

MAX_LINES = 1_000
"""How many lines a definition is told in."""

MAX_WIDTH = 200
"""The characters of a line; what is longer goes on in the next."""

Mask: TypeAlias = Callable[[str], str]
"""Takes what must not be shown out of a text."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_OWN = __name__.partition(".")[0]
_MARKS = frozenset(
    {tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING}
)


def _unmasked(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class StepDefinition:
    """What the step of a frame is.

    ``digest`` (16 bytes) is the same in every process for steps that are declared alike.
    """

    digest: bytes
    definition: Definition = field(repr=False, compare=False)
    mask: Mask = field(repr=False, compare=False)

    @property
    def lines(self) -> tuple[str, ...]:
        """What the digest covers, one fact a line, made anew each time.

        Code stands as its source says now, without comments and docstrings.
        """
        told = [*_told_all(self.definition.facts)]
        told += [f"not tracked: {one}" for one in self.definition.untracked]
        masked = "\n".join(self.mask(_ADDRESS.sub("", text)) for text in told)
        rows = masked.encode("utf-8", "backslashreplace").decode().split("\n")
        lines = [line for row in rows for line in _cut(row)]
        rest = len(lines) - MAX_LINES
        return (*lines[:MAX_LINES], *([f"… {rest} more lines"] if rest > 0 else []))


class DefinitionTable(NamedTuple):
    """The lines of several definitions by digest, and a name for all of them together.

    ``digests`` are those of the nodes, in their order.
    """

    name: str
    lines: Mapping[str, Sequence[str]]
    digests: tuple[bytes, ...]


class StepDefinitions:
    """Definitions of the steps of a run, taken once a step and again when something changed.

    ``mask`` takes what must not be shown out of the lines. ``noted`` holds what journals made of
    tables, by their names: the body of a row, and blobs.
    """

    def __init__(self, mask: Mask = _unmasked) -> None:
        self.noted: dict[str, tuple[bytes, Mapping[bytes, bytes]]] = {}
        self._mask = mask
        self._taken: dict[Node, StepDefinition] = {}
        self._tables: dict[tuple[bytes, ...], DefinitionTable] = {}

    def table_of(self, nodes: Sequence[Node]) -> DefinitionTable:
        """What all of ``nodes`` are, to be looked up by digest; made once for each combination."""
        taken = [self.of(node) for node in nodes]
        digests = tuple(one.digest for one in taken)
        if digests not in self._tables:
            name = blake2b(b"".join(digests), digest_size=16).hexdigest()
            lines = {one.digest.hex(): list(one.lines) for one in taken}
            self._tables[digests] = DefinitionTable(name, lines, digests)
        return self._tables[digests]

    def of(self, node: Node) -> StepDefinition:
        """What ``node`` is now. Raises what its agent raises when asked for its definition."""
        taken = self._taken.get(node)
        if taken is not None and taken.definition.holds():
            return taken
        definition = definition_of_parts(
            _declared("", node, () if isinstance(node, CacheStep) else None), with_state=False
        )
        digest = bytes.fromhex(definition.digest)[:16]
        self._taken[node] = taken = StepDefinition(digest, definition, self._mask)
        return taken


_Around: TypeAlias = tuple[Node, ...] | None
"""The nodes around what is described whole; ``None`` where steps inside count by name."""


def _declared(label: str, node: Node, around: _Around) -> Iterator[tuple[str, object]]:
    kind = type(node)
    yield f"{label}kind", kind.__qualname__ if _is_own(kind) else kind
    inside = None if around is None else (*around, node)
    for name, value in _options_of(node):
        if name == "agent":  # as it is called: an adapted one knows its definition
            value = _agent_of(cast(AnyStep, node).work)
        yield from _option(f"{label}{name}", value, inside)


def _agent_of(work: Callable[..., object] | None) -> object:
    knows = isinstance(work, MethodType) and isinstance(work.__self__, Defined)
    return cast(MethodType, work).__self__ if knows else work


def _option(label: str, value: object, around: _Around) -> Iterator[tuple[str, object]]:
    """What an option is made of; values that are no options of the engine's stay as they are."""
    own = _is_own(type(value))
    if is_node(value):
        yield from _inside(label, value, around)
    elif own and isinstance(value, Enum):
        yield label, value.name
    elif own and (isinstance(value, BaseModel) or dataclasses.is_dataclass(value)):
        given = {f".{name}": one for name, one in _options_of(value)}
        yield from _items(label, type(value).__qualname__, given, around)
    elif isinstance(value, Mapping):
        entries = {f"[{key!r}]": one for key, one in value.items()}
        yield from _items(label, dict, entries, around)
    elif type(value) in (list, tuple):
        numbered = enumerate(cast(Sequence[object], value))
        yield from _items(label, list, {f"[{n}]": one for n, one in numbered}, around)
    elif isinstance(value, Set):
        yield label, frozenset(value)
    else:
        yield label, value


def _items(
    label: str, empty: object, items: Mapping[str, object], around: _Around
) -> Iterator[tuple[str, object]]:
    if not items:
        yield label, empty
    for key, item in items.items():
        yield from _option(f"{label}{key}", item, around)


def _inside(label: str, node: Node, around: _Around) -> Iterator[tuple[str, object]]:
    if around is not None and node not in around:
        yield from _declared(f"{label}.", node, around)
    elif isinstance(node, Pipeline):
        yield from ((f"{label}[{n}]", one.name) for n, one in enumerate(node.steps))
    else:
        yield label, name_of(node)


def _options_of(value: object) -> Iterator[tuple[str, object]]:
    """The fields of a step or an option that are not at their defaults."""
    if isinstance(value, BaseModel):
        for name, one in type(value).model_fields.items():
            held: object = getattr(value, name)
            if one.is_required() or not exactly_equal(held, one.get_default()):
                yield name, held
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            if each.init and each.metadata != UNDEFINING:
                held, factory = getattr(value, each.name), each.default_factory
                default: object = each.default if factory is MISSING else factory()
                if not exactly_equal(held, default):
                    yield each.name, held


def _is_own(kind: type) -> bool:
    """Whether the engine declares ``kind``; its version is no part of what a step is."""
    return kind.__module__.partition(".")[0] == _OWN


def _told_all(facts: Sequence[tuple[str, object]]) -> Iterator[str]:
    labels = [*(label for label, _ in facts), ""]
    for (label, value), following in zip(facts, labels[1:], strict=True):
        is_opened = following.startswith(f"{label}[") and isinstance(value, type)
        if isinstance(value, FunctionType | type) and not label:
            yield _body(value)
        elif value is not None and not is_opened and not _stands_by_itself(label, value):
            yield _fact(label, value)


def _stands_by_itself(label: str, value: object) -> bool:
    """Whether ``value`` is described elsewhere under the name that it has here."""
    if not isinstance(value, FunctionType | type) or label.rpartition(".")[2] != value.__name__:
        return False
    return library_of(value) is None or value.__module__ == "builtins"


def _fact(label: str, value: object) -> str:
    match value:
        case FunctionType() | type():
            told = f"{'class' if isinstance(value, type) else 'function'} {_placed(value)}"
        case Enum():
            told = f"{type(value).__qualname__}.{value.name}"
        case ModuleType():
            told = f"module {library_of(value) or value.__name__}"
        case BuiltinFunctionType():
            told = value.__qualname__
        case bytes():
            told = f"bytes, {len(value)} long"
        case frozenset():
            told = f"{{{', '.join(sorted(map(shown, value)))}}}"
        case str() if "\n" in value or len(value) > MAX_WIDTH:
            return f"{label} =\n{textwrap.indent(value, '    ', lambda line: True)}"
        case _:
            told = shown(value, MAX_WIDTH)
    return f"{label} = {told}"


def _placed(value: FunctionType | type) -> str:
    library, name = library_of(value), value.__qualname__
    if library is None or value.__module__ == "builtins":
        return name
    return f"{value.__module__}.{name} ({library})"


def _body(value: FunctionType | type) -> str:
    """A function or class of the user's own; of a class what it declares, its methods follow."""
    if isinstance(value, type):
        bases = ", ".join(_placed(base) for base in value.__bases__)
        hints = [f"{name}: {_hint(one)}" for name, one in inspect.get_annotations(value).items()]
        rows = [f"class {value.__qualname__}({bases})", *hints]
    else:
        rows = [f"function {value.__qualname__}{_signature(value)}", *_source_of(value)]
        rows.append(f"code of {value.__name__}: {facts_of(value.__code__).digest[:8].hex()}")
    return "\n    ".join(rows)


def _hint(hint: object) -> str:
    return hint if isinstance(hint, str) else inspect.formatannotation(hint)


def _signature(function: FunctionType) -> str:
    """The parameters and what they are annotated with; defaults are facts of their own."""
    told = caught_inline(inspect.signature, function)
    if isinstance(told, Raised):
        return "(…)"
    bare = [one.replace(default=one.empty) for one in told.parameters.values()]
    text = str(told.replace(parameters=bare))
    for hint in (told.return_annotation, *(one.annotation for one in bare)):
        text = text.replace(repr(hint), hint) if isinstance(hint, str) else text
    return text


def _source_of(function: FunctionType) -> Sequence[str]:
    """The lines of a function's source that do something; none where no source can be had."""
    try:
        source = inspect.getsource(function.__code__)
    except (OSError, TypeError, SyntaxError, IndexError, tokenize.TokenError):
        return []
    name = "lambda" if function.__name__ == "<lambda>" else function.__name__
    return _doing(textwrap.dedent(source).rstrip()) if name in source else []


def _doing(source: str) -> Sequence[str]:
    """The lines of ``source`` without comments, docstrings and what is empty."""
    rows = source.split("\n")
    kept: set[int] = set()
    statement: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(f"{source}\n").readline):
            row, column = token.start
            if token.type == tokenize.COMMENT:
                rows[row - 1] = rows[row - 1][:column].rstrip()
            elif token.type == tokenize.NEWLINE:
                if any(one.type != tokenize.STRING for one in statement):
                    kept |= {n for one in statement for n in range(one.start[0], one.end[0] + 1)}
                statement = []
            elif token.type not in _MARKS:
                statement.append(token)
    except (SyntaxError, tokenize.TokenError):  # a lambda that is a part of a larger statement
        return rows
    return [rows[number - 1] for number in sorted(kept)]


def _cut(row: str) -> Iterator[str]:
    return (row[start : start + MAX_WIDTH] for start in range(0, len(row) or 1, MAX_WIDTH))
