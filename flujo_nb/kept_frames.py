"""Outcomes of frames that others go on from: copies for records, and what a fork keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from flujo_nb.engine.outcomes import (
    BackgroundLaunched,
    Chunk,
    Failure,
    FrameOutcome,
    StepOutcome,
    Success,
)
from flujo_nb.engine.path import FramePath
from flujo_nb.engine.step_history_tracker import path_of
from flujo_nb.engine.values import ATOMS

from .border import Copier


def kept(outcome: FrameOutcome, copier: Copier) -> FrameOutcome:
    """``outcome`` with copies of its outputs, its children's too: what a record holds."""
    if isinstance(outcome, Success) and not outcome.children and type(outcome.output) in ATOMS:
        return outcome  # there is nothing in it to copy
    children = [one if isinstance(one, Chunk) else kept(one, copier) for one in outcome.children]
    if isinstance(outcome, Success):
        output = copier.copied(outcome.output).value
        return replace(outcome, output=output, children=children)
    return replace(outcome, children=children)


def kept_before(
    outcome: FrameOutcome, above: FramePath, at: FramePath
) -> Iterable[tuple[FramePath, FrameOutcome]]:
    """The frames inside ``outcome`` that ended before the one at ``at`` began, with their paths.

    In a sequence or a loop those are the ones before it; branches beside it do not hang on it.
    """
    path = path_of(outcome, above)
    own = path.segments
    in_turn = outcome.step is not None and outcome.step.folds
    for child in outcome.children:
        if isinstance(child, Chunk):
            continue
        below = path_of(child, path)
        if at.segments[: len(below.segments)] == below.segments and below.segments != own:
            if below != at:
                yield from kept_before(child, path, at)
            if in_turn:
                return
        elif isinstance(child, Success | Failure):
            yield below, child
            yield from _all_below(child, path)


def _all_below(outcome: FrameOutcome, above: FramePath) -> Iterable[tuple[FramePath, FrameOutcome]]:
    path = path_of(outcome, above)
    for child in outcome.children:
        if isinstance(child, Success | Failure):
            yield path_of(child, path), child
            yield from _all_below(child, path)


def moved(path: FramePath, source: FramePath, target: FramePath) -> FramePath:
    """``path``, which begins with ``source``, below ``target``."""
    return FramePath((*target.segments, *path.segments[len(source.segments) :]))


def left_work(outcome: StepOutcome) -> bool:
    """Whether a frame left something in the background, itself or inside."""
    if isinstance(outcome, Chunk):
        return False
    return isinstance(outcome, BackgroundLaunched) or any(map(left_work, outcome.children))
