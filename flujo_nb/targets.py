"""What commands may run: registered steps and pipelines, and variables that hold one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from IPython.core.error import UsageError

from flujo_nb.engine.errors import ConfigurationError
from flujo_nb.engine.step_config import Agent
from flujo_nb.engine.steps import AnyPipeline, Node, Pipeline, Step, is_node
from flujo_nb.engine.user_code import Raised, caught_inline

from .errors import unknown


@dataclass(frozen=True, slots=True)
class Registered:
    """A step or pipeline under the name that commands know it by, with the cell text it is from."""

    name: str
    node: Node
    source: str


class Targets:
    """The registered steps and pipelines of a kernel; all its sessions share them.

    ``names`` are the user's variables.
    """

    def __init__(self, names: Mapping[str, object] | None = None) -> None:
        self.steps: dict[str, Registered] = {}
        self._names = {} if names is None else names

    def register(self, name: str, node: Node, source: str) -> Registered:
        """Keep ``node`` under ``name``; an earlier one of that name is replaced."""
        registered = self.steps[name] = Registered(name, node, source)
        return registered

    def resolve(self, target: str, namespace: Mapping[str, object]) -> Node:
        """What ``target`` (names joined with ``>>``) stands for.

        A name is a registered step or pipeline, or a variable in ``namespace`` that holds one.
        Raises `UsageError` for a name that is neither.
        """
        nodes = [self._named(name.strip(), namespace) for name in target.split(">>")]
        try:
            joined: AnyPipeline = Pipeline.of(*nodes)
        except ConfigurationError as error:
            raise UsageError(str(error)) from error
        return nodes[0] if len(nodes) == 1 else joined

    def node_of(self, target: str | None) -> Node | None:
        """What ``target`` stands for, if all its names stand for something here."""
        if target is None or self.missing(target, self._names):
            return None
        node = caught_inline(self.resolve, target, self._names)
        return None if isinstance(node, Raised) else node

    def missing(self, target: str, namespace: Mapping[str, object]) -> Sequence[str]:
        """The names in ``target`` that stand for nothing yet, each once."""
        names = dict.fromkeys(name.strip() for name in target.split(">>"))
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
