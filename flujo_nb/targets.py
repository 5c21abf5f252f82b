"""What commands may run: registered steps and pipelines, and variables that hold one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import TypeAlias
from weakref import WeakKeyDictionary

from IPython.core.error import UsageError

from flujo_nb.engine.code_facts import facts_of
from flujo_nb.engine.errors import ConfigurationError
from flujo_nb.engine.outcome_codec import withheld
from flujo_nb.engine.signatures import underlying
from flujo_nb.engine.step_config import Agent
from flujo_nb.engine.step_definitions import StepDefinitions
from flujo_nb.engine.steps import AnyPipeline, Node, Pipeline, Step, is_node, name_of
from flujo_nb.engine.user_code import Raised, caught_inline

from .errors import unknown

Definitions: TypeAlias = tuple[tuple[str, str], ...]
"""The names and digests of the steps in a node, itself last; none when they cannot be taken."""

SLICE = re.compile(r"(?P<whole>.+)\[(?P<until>:?)(?P<name>[^\[\]]+)\]")


@dataclass(frozen=True, slots=True)
class Registered:
    """A step or pipeline under the name that commands know it by.

    ``command`` and ``line`` are the word and the rest of the line that made it (``step``,
    ``agent``); ``source`` is the text of the cell below them.
    """

    name: str
    node: Node
    source: str
    command: str = "step"
    line: str = ""


class Targets:
    """The registered steps and pipelines of a kernel; all its sessions share them.

    ``names`` are the user's variables.
    """

    def __init__(self, names: Mapping[str, object] | None = None) -> None:
        self.steps: dict[str, Registered] = {}
        self.definitions = StepDefinitions(withheld)
        self.names = {} if names is None else names
        self._replaced: WeakKeyDictionary[Node, str] = WeakKeyDictionary()
        self._told: set[tuple[str, str]] = set()

    def register(self, registered: Registered) -> None:
        """Keep a step or pipeline under its name; an earlier one of that name is replaced."""
        earlier = self.steps.get(registered.name)
        if earlier is not None and earlier.node is not registered.node:
            self._replaced[earlier.node] = registered.name
        self.steps[registered.name] = registered

    def definitions_in(self, node: Node) -> Definitions:
        """What the steps in ``node`` are."""
        return self._definitions_of(all_nodes(node))

    def definitions_now(self, target: str | None) -> Definitions:
        """What the steps in ``target`` would be if all its cells were run again.

        A pipeline may hold a step whose cell was edited since: that counts as it is now.
        """
        node = self.node_of(target)
        if node is None:
            return ()
        every = all_nodes(node)
        for number, one in enumerate(every):
            newer = self.steps.get(self._replaced.get(one, ""))
            if newer is not None and one is not node:
                every[number] = newer.node
        return self._definitions_of(every)

    def new_writes(self, node: Node) -> Sequence[str]:
        """What to say of variables outside that steps in ``node`` assign; of each once."""
        found: list[str] = []
        for one in all_nodes(node):
            work = None if isinstance(one, Pipeline) else one.work
            code = None if work is None else underlying(work)
            names = facts_of(code.__code__).rebound if isinstance(code, FunctionType) else ()
            for name in sorted(names):
                told = (name_of(one), name)
                if told not in self._told:
                    self._told.add(told)
                    found.append(f"{told[0]} writes `{name}`: that is not part of the frame")
        return found

    def _definitions_of(self, nodes: Sequence[Node]) -> Definitions:
        taken = [caught_inline(self.definitions.of, one) for one in nodes]
        told = [
            (name_of(node), one.digest.hex())
            for node, one in zip(nodes, taken, strict=True)
            if not isinstance(one, Raised)
        ]
        return tuple(told) if len(told) == len(nodes) else ()

    def resolve(self, target: str, namespace: Mapping[str, object]) -> Node:
        """What ``target`` (names joined with ``>>``) stands for.

        A name is a registered step or pipeline, or a variable in ``namespace`` that holds one.
        ``a >> b >> c[:b]`` stands for its steps up to ``b``, and ``[b]`` for that step only.
        Raises `UsageError` for a name that is neither.
        """
        part = SLICE.fullmatch(target)
        whole = target if part is None else part["whole"]
        nodes = [self._named(name.strip(), namespace) for name in whole.split(">>")]
        try:
            joined: AnyPipeline = Pipeline.of(*nodes)
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
        if part is not None:
            return _slice_of(joined, part["name"], is_until=bool(part["until"]))
        return nodes[0] if len(nodes) == 1 else joined

    def node_of(self, target: str | None) -> Node | None:
        """What ``target`` stands for, if all its names stand for something here."""
        if target is None or self.missing(target, self.names):
            return None
        node = caught_inline(self.resolve, target, self.names)
        return None if isinstance(node, Raised) else node

    def missing(self, target: str, namespace: Mapping[str, object]) -> Sequence[str]:
        """The names in ``target`` that stand for nothing yet, each once."""
        part = SLICE.fullmatch(target)
        whole = target if part is None else part["whole"]
        names = dict.fromkeys(name.strip() for name in whole.split(">>"))
        return [one for one in names if one not in self.steps and not is_node(namespace.get(one))]

    def _named(self, name: str, namespace: Mapping[str, object]) -> Node:
        if name in self.steps:
            return self.steps[name].node
        variable = namespace.get(name)
        if is_node(variable):
            return variable
        if not name:
            raise UsageError("expected NAME or NAME >> NAME")
        if is_agent(variable):
            raise UsageError(no_step(name))
        raise unknown("step", name, [*self.steps, *nodes_in(namespace)])


def _slice_of(whole: AnyPipeline, name: str, *, is_until: bool) -> Node:
    """The steps of ``whole`` up to the one called ``name``, or that one only."""
    names = [one.name for one in whole.steps]
    if name not in names:
        raise unknown(f"step in {name_of(whole)} called", name, names)
    number = names.index(name)
    return Pipeline(whole.steps[: number + 1]) if is_until else whole.steps[number]


def all_nodes(node: Node) -> list[Node]:
    """``node`` and all that stands inside it, each once, itself last."""
    found: dict[Node, None] = {}
    left = list(node.inner)
    while left:
        one = left.pop()
        if one not in found and one is not node:
            found[one] = None
            left.extend(one.inner)
    return [*found, node]


def is_stand_in(node: Node) -> bool:
    """Whether ``node`` stands for one whose program is not at hand: there is nothing in it to run.

    A frame that was read back has such a step.
    """
    return any(type(one) is Step and one.work is None for one in all_nodes(node))


def is_agent(value: object) -> bool:
    """Whether ``value`` is an agent that no step has been made of."""
    return isinstance(value, Agent) and not isinstance(value, type) and not is_node(value)


def no_step(name: str) -> str:
    """What to do with an agent called ``name`` where a step is wanted."""
    return f"{name!r} is an agent, not a step: use Step(name={name!r}, agent={name})"


def nodes_in(namespace: Mapping[str, object]) -> list[str]:
    """The variables that hold a step or a pipeline."""
    return [
        name for name, value in namespace.items() if not name.startswith("_") and is_node(value)
    ]
