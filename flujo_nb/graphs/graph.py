"""What a step or pipeline is made of, as a tree of boxes: for text, pictures and mermaid.

It is bounded: of long sequences, many branches and deep nesting it tells how much is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import TypeAlias

from flujo_nb.engine.outcomes import Chunk, FrameOutcome, RunStatus, status_of
from flujo_nb.engine.path import Segment, SegmentKind, branch_segment, step_segment
from flujo_nb.engine.step_kinds import (
    CacheStep,
    ConditionalStep,
    DynamicParallelRouterStep,
    HumanInTheLoopStep,
    ImportStep,
    LoopStep,
    MapStep,
    ParallelStep,
)
from flujo_nb.engine.steps import AgentStep, AnyStep, Node, Pipeline, name_of
from flujo_nb.widgets.previews import clipped

NAME = 40
"""How many characters of a name are shown."""

_IN_A_ROW = 10
_FIRST, _LAST = 6, 3
_BRANCHES = 6
_DEEPEST = 6
_BOXES = 80
_OUTCOMES = 10_000
_CHILDREN = 200

Place: TypeAlias = tuple[str, ...]
"""Where a step stands: the parts of its frames' paths, without the numbers of iterations."""


class Form(Enum):
    """How what is inside a box hangs together."""

    STEP = "step"
    MORE = "more"
    BODY = "body"
    LOOP = "loop"
    FORK = "fork"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class Branch:
    """Boxes in a row. ``label`` says when they run, where there is something to say."""

    label: str
    boxes: Sequence[Box]


@dataclass(frozen=True, slots=True)
class Box:
    """A step. ``kind`` says in a few words what it does with what is inside."""

    name: str
    kind: str = ""
    form: Form = Form.STEP
    status: RunStatus | None = None
    branches: Sequence[Branch] = ()
    asks: bool = False

    @property
    def told(self) -> str:
        """What stands below the name: the kind, and how it ended the last time."""
        return " · ".join(filter(None, (self.kind, self.status and self.status.value)))


@dataclass(frozen=True, slots=True)
class Graph:
    """The boxes of a step or pipeline, one after the other."""

    name: str
    boxes: Sequence[Box]


NO_STATUSES: Mapping[Place, RunStatus] = {}


def graph_of(node: Node, statuses: Mapping[Place, RunStatus] = NO_STATUSES) -> Graph:
    """What ``node`` is made of; ``statuses`` are those of its steps, as `statuses_in` has them."""
    deepest = _DEEPEST
    while True:
        try:
            boxes = _Builder(statuses, deepest).boxes((), node, 0)
        except _TooMany:
            deepest -= 1
        else:
            return Graph(_one_line(name_of(node), 2 * NAME), boxes)


def statuses_in(outcome: FrameOutcome, node: Node) -> Mapping[Place, RunStatus]:
    """How each step inside an outcome of ``node`` ended the last time.

    Of several items or iterations the one counts that did not succeed; of very many, the last are
    looked at. Raises `ValueNotRead`.
    """
    found: dict[Place, RunStatus] = {}
    for place, status in islice(_ends(outcome, _place_of(node.own_segments)), _OUTCOMES):
        if found.get(place) in (None, RunStatus.COMPLETED):
            found[place] = status
    return found


def _ends(outcome: FrameOutcome, place: Place) -> Iterator[tuple[Place, RunStatus]]:
    yield place, status_of(outcome)
    every = outcome.children
    some = every if len(every) <= _CHILDREN else [*every[:_FIRST], *every[-_CHILDREN:]]
    for child in some:
        if not isinstance(child, Chunk):
            yield from _ends(child, (*place, *_place_of(child.segments)))


def _place_of(segments: Sequence[Segment]) -> Place:
    return tuple(str(one) for one in segments if one.kind is not SegmentKind.INDEX)


class _TooMany(Exception):
    """There are more boxes than fit in a picture."""


class _Builder:
    """Makes boxes, and opens them down to ``deepest``."""

    def __init__(self, statuses: Mapping[Place, RunStatus], deepest: int) -> None:
        self._statuses = statuses
        self._deepest = deepest
        self._count = 0

    def boxes(self, place: Place, node: Node, deep: int) -> list[Box]:
        """The boxes of what stands at ``place``: of a pipeline one for each step."""
        if not isinstance(node, Pipeline):
            return [self._box((*place, *_place_of(node.own_segments)), node, deep)]
        places: list[Place] = []
        names: dict[str, int] = {}
        for one in node.steps:
            earlier = names.get(one.name, 0)
            names[one.name] = earlier + 1
            places.append((*place, str(step_segment(one.name, earlier))))
        every = list(zip(places, node.steps, strict=True))
        if len(every) <= _IN_A_ROW:
            return [self._box(at, one, deep) for at, one in every]
        rest = len(every) - _FIRST - _LAST
        first = [self._box(at, one, deep) for at, one in every[:_FIRST]]
        last = [self._box(at, one, deep) for at, one in every[-_LAST:]]
        return [*first, Box(f"… {rest:,} more steps", form=Form.MORE), *last]

    def _box(self, place: Place, step: AnyStep, deep: int, depth: int = 1) -> Box:
        """The box of a step; ``depth`` counts the fallbacks that led to it."""
        self._count += 1
        if self._count > _BOXES:
            raise _TooMany
        name, status = _one_line(step.name), self._statuses.get(place)
        form, kind = _form_of(step), _kind_of(step)
        asks = isinstance(step, HumanInTheLoopStep)
        if form is Form.STEP:
            return Box(name, kind, form, status, asks=asks)
        if deep >= self._deepest:
            inside = len(step.inner)
            return Box(
                name, f"… {inside:,} {'part' if inside == 1 else 'parts'} inside", status=status
            )
        branches = self._branches(place, step, deep + 1, depth)
        if isinstance(step, CacheStep) and not branches[0].boxes[0].branches:
            return Box(name, kind, Form.STEP, status)  # it has the name of the step inside
        return Box(name, kind, form, status, branches)

    def _branches(self, place: Place, step: AnyStep, deep: int, depth: int) -> list[Branch]:
        match step:
            case LoopStep():
                return [Branch("", self.boxes(place, step.loop_body_pipeline, deep))]
            case MapStep():
                return [Branch("", self.boxes(place, step.pipeline_to_run, deep))]
            case ImportStep():
                return [Branch("", self.boxes((*place, "import"), step.pipeline, deep))]
            case CacheStep():
                return [Branch("", [self._box((*place, "cached"), step.wrapped_step, deep)])]
            case ConditionalStep():
                lanes = [
                    (_label(key), str(branch_segment(key)), one)
                    for key, one in step.branches.items()
                ]
                default = step.default_branch_pipeline
                if default is not None:
                    lanes.append(("otherwise", ":default", default))
                return self._lanes(place, lanes, deep)
            case ParallelStep() | DynamicParallelRouterStep():
                lanes = [
                    (_label(key), str(branch_segment(key)), one)
                    for key, one in step.branches.items()
                ]
                return self._lanes(place, lanes, deep)
        fallback = step.fallback_step
        if fallback is None:
            return []
        inside = self._box((*place, f"fallback[{depth}]"), fallback, deep, depth + 1)
        return [Branch("if it fails", [inside])]

    def _lanes(
        self, place: Place, lanes: Sequence[tuple[str, str, Node]], deep: int
    ) -> list[Branch]:
        most = _BRANCHES if len(lanes) <= _BRANCHES else _BRANCHES - 1
        found = [
            Branch(label, self.boxes((*place, segment), node, deep))
            for label, segment, node in lanes[:most]
        ]
        if len(lanes) > most:
            more = Box(f"… {len(lanes) - most:,} more", form=Form.MORE)
            found.append(Branch("", [more]))
        return found


def _label(key: object) -> str:
    return _one_line(key if isinstance(key, str) else repr(key))


def _one_line(text: str, limit: int = NAME) -> str:
    return clipped(" ".join(text.split()), limit)


def _form_of(step: AnyStep) -> Form:
    match step:
        case LoopStep():
            return Form.LOOP
        case MapStep() | ImportStep() | CacheStep():
            return Form.BODY
        case ParallelStep() | DynamicParallelRouterStep() | ConditionalStep():
            return Form.FORK
    return Form.STEP if step.fallback_step is None else Form.FALLBACK


def _kind_of(step: AnyStep) -> str:
    match step:
        case LoopStep():
            return f"loop, at most {step.max_loops:,} times"
        case MapStep(iterable_input=None):
            return "for each item"
        case MapStep():
            return f"for each of {_one_line(str(step.iterable_input))}"
        case ParallelStep():
            return "in parallel"
        case DynamicParallelRouterStep():
            return f"some of {len(step.branches):,}, by {_one_line(step.router.name)}"
        case ConditionalStep():
            return f"one of {len(step.inner):,}"
        case CacheStep():
            return "cached"
        case ImportStep():
            return "pipeline"
        case HumanInTheLoopStep():
            return "asks a human"
    if step.in_background:
        return "in the background"
    if step.validation is not None:
        return "checks"
    return "agent" if isinstance(step, AgentStep) else ""


# Text


_Row: TypeAlias = tuple[str, str]


def tree_text(graph: Graph) -> str:
    """The boxes as lines: what is inside stands below and behind, what it is at the end."""
    if len(graph.boxes) == 1:
        rows = [(graph.boxes[0].name, graph.boxes[0].told), *_inside(graph.boxes[0], "")]
    else:
        rows = [(graph.name, ""), *_rows(graph.boxes, "")]
    width = max((len(left) for left, right in rows if right), default=0)
    return "\n".join(f"{left:<{width}}   {right}".rstrip() for left, right in rows)


def _rows(boxes: Sequence[Box], before: str) -> Iterator[_Row]:
    for number, box in enumerate(boxes, 1):
        mark, further = _MARKS[number == len(boxes)]
        yield f"{before}{mark}{box.name}", box.told
        yield from _inside(box, before + further)


def _inside(box: Box, before: str) -> Iterator[_Row]:
    for number, branch in enumerate(box.branches, 1):
        mark, further = _MARKS[number == len(box.branches)]
        only = branch.boxes[0]
        if not branch.label and box.form is not Form.FORK:
            yield from _rows(branch.boxes, before)
        elif len(branch.boxes) == 1:
            label = f"{branch.label}: " if branch.label else ""
            yield f"{before}{mark}{label}{only.name}", only.told
            yield from _inside(only, before + further)
        else:
            yield f"{before}{mark}{branch.label}:", ""
            yield from _rows(branch.boxes, before + further)


_MARKS = {False: ("├─ ", "│  "), True: ("└─ ", "   ")}
