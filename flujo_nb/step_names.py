"""The names that a pipeline's cell can use: the user's variables, and registered steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

from flujo_nb.engine.steps import is_node

from .targets import Registered


class StepNames(MutableMapping[str, object]):
    """A namespace in which a registered name means the step, not the function it was made of.

    A variable that holds a step or pipeline itself wins. Assignments reach the user's namespace.
    """

    def __init__(
        self, variables: MutableMapping[str, object], steps: Mapping[str, Registered]
    ) -> None:
        self._variables = variables
        self._steps = steps

    def __getitem__(self, name: str) -> object:
        variable = self._variables.get(name)
        if name in self._steps and not is_node(variable):
            return self._steps[name].node
        return self._variables[name]

    def __setitem__(self, name: str, value: object) -> None:
        self._variables[name] = value

    def __delitem__(self, name: str) -> None:
        del self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self._steps, **self._variables})

    def __len__(self) -> int:
        return len({**self._steps, **self._variables})
