"""A session that is full of one text: it stands wherever data, names and code can put one."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import pathlib
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pandas as pd
from pydantic import BaseModel, Field, SecretStr, create_model
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from flujo_nb import (
    Metered,
    PipelineAbortSignal,
    PluginOutcome,
    Step,
    StepConfig,
    Usage,
    ValidationResult,
)
from tests.notebook import Notebook

FILLING = (
    "%flujo session --context Ctx --init first --resources odd",
    "%%flujo step --no-run\nnamed",
    "%%flujo step plain --no-run\nplain",
    "%%flujo step careless --no-run\ndef careless(x):\n    raise Broken(told)",
    "await flujo.run(named, input=text)",  # f0
    "await flujo.run(parted)",  # f1: a pipeline
    "await flujo.run(branch)",  # f2
    "await flujo.run(branches)",  # f3
    "await flujo.run(noting)",  # f4
    "await flujo.run(unkeyed, input=odd)",  # f5
    "await flujo.run(agent, input=text)",  # f6
    "await flujo.run(checked)",  # f7: failed, as those up to f11
    "await flujo.run(validated)",  # f8
    "await flujo.run(stopped)",  # f9: aborted
    "await flujo.run(broken)",  # f10
    "await flujo.run(halfway)",  # f11: behind a step that finished
    "await flujo.run(behind)\nawait flujo._front.session.tasks.drain()\nflujo.head",  # f12
    "await flujo.run(asking)",  # f13: paused
    "for one in values: await flujo.run(plain, input=one)\nflujo.head",  # from f14 on
)
"""The cells that fill a session; what they show is looked at too."""


def fill(notebook: Notebook, text: str, name: str | None = None) -> None:
    """Put what `FILLING` uses into the user's variables; ``name`` as for `names_full_of`."""
    names = names_full_of(text, name)
    notebook.shell.user_ns.update(names)
    notebook.session.run_id = str(names["name"])


def names_full_of(text: str, name: str | None = None) -> dict[str, object]:
    """The variables that `FILLING` uses.

    ``name`` is what steps, fields, classes and branches are called where that is not ``text``.
    """
    called = name_of_step(text) if name is None else name
    made = _Made(text, called)
    return {"text": text, "name": called, **made.values(), **dict(made.steps())}


def without_placeholders(text: str) -> str:
    """A text that means itself in a template."""
    return re.sub(r"\{(?=\{)", "{ ", text)


def name_of_step(text: str) -> str:
    """A text that is one name, where ``>>`` joins names and ``[`` ``]`` cut a part out."""
    return re.sub(r">(?=>)", "> ", f"{text}.").lstrip()


def name_of_class(text: str) -> str:
    """A text that can be the name of a class."""
    return text.replace("\0", "").encode(errors="replace").decode()


class _Made:
    """Values, classes and steps with a text in them, and of a name."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.told = without_placeholders(text)
        label = name_of_class(name)
        self.field = f"a {label}"
        fields: dict[str, Any] = {
            self.field: (str, ""),
            "key": (dict[str, str], {}),
            "hidden": (SecretStr, SecretStr(text)),
        }
        self.context = create_model(label, **fields)
        self.broken = type(label, (Exception,), {})
        self.answer = _answer(text, name)

        class Odd:
            def __repr__(self) -> str:
                return text

        Odd.__name__ = Odd.__qualname__ = label
        self.odd = Odd()
        self.pair: type = dataclasses.make_dataclass(label, ["left", "right"])

    def values(self) -> dict[str, object]:
        """Classes, and values of many kinds."""
        text, written = self.text, name_of_class(self.text)  # Arrow has no halves of characters
        kind = enum.Enum(name_of_class(self.name), {"MEMBER": text})
        values = [
            text,
            " ".join([text] * 3),
            text.encode(errors="surrogatepass"),
            [text, (text,), {text}],
            {text: text, "key": [text]},
            deque([text]),
            pathlib.PurePosixPath(text),
            ValueError(text),
            self.odd,
            self.pair(text, self.odd),
            self.context(**{self.field: text}),
            kind.MEMBER,  # type: ignore[attr-defined]
            pd.DataFrame({written: [1], "b": [written]}),
            pd.Series([written], name=written),
            text[::-1],
            pd.DataFrame({written: [2], "b": ["other"], "c": [written]}),
            pd.Series(["other"], name=written),
        ]
        return {
            "Ctx": self.context,
            "first": {"key": {}},
            "Broken": self.broken,
            "Answer": self.answer,
            "model": FunctionModel(self._reply, stream_function=self._write),
            "odd": self.odd,
            "values": values,
            "told": self.told,
            "field": self.field,
        }

    def steps(self) -> Iterator[tuple[str, object]]:
        """Steps of many kinds, some of which fail, stop or ask."""
        name, same = self.name, self._step(lambda x: x)
        yield "named", self._step(self._grow)
        yield "edited", self._step(lambda x: [x])
        yield "plain", self._step(lambda x: x, "plain")
        yield "parted", self._step(lambda x: x) >> self._step(lambda x: x, f"{name} 2")
        yield "branch", Step.branch_on(name, lambda x: name, {name: same})
        yield "branches", Step.parallel(name, {name: same, "b": self._step(lambda x: x, "b")})
        yield "noting", self._step(self._noted)
        yield "unkeyed", Step.cached(self._step(lambda x: 1))
        yield (
            "agent",
            Step(name=name, agent=Agent(FunctionModel(self._reply), system_prompt=self.text)),
        )
        yield "checked", self._step(lambda x: x, plugins=[(_Plugin(self.text), 0)])
        validators = [_Validator(self.text)]
        yield "validated", self._step(lambda x: x, validators=validators, validation="strict")
        yield "stopped", self._step(self._stop)
        yield "broken", self._step(self._raise)
        yield "halfway", self._step(lambda x: x) >> self._step(self._raise, "broken")
        in_background = StepConfig(execution_mode="background")
        yield "behind", self._step(self._fail_later, config=in_background)
        yield "asking", Step.human_in_the_loop(name, f"{self.told} {{{{ data }}}}", self.answer)

    def _step(self, function: Callable[..., object], name: str | None = None, **more: Any) -> Any:
        if not hasattr(function, "__self__"):
            function.__doc__ = self.text
        return Step(name=self.name if name is None else name, agent=function, **more)

    def _grow(self, x: object, context: Any) -> object:
        setattr(context, self.field, self.text)
        context.key[self.text] = self.text
        return {self.text: x}

    def _noted(self, x: object) -> object:
        return Metered(self.text, Usage(tokens=3), {self.text: self.text, "why": self.text})

    def _reply(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart(self.text)])

    async def _write(self, messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        size = len(self.text) // 7 + 1
        for at in range(0, len(self.text), size):
            yield self.text[at : at + size]

    def _raise(self, x: object) -> object:
        error = self.broken(self.text)
        error.add_note(self.text)
        raise error from ValueError(self.text)

    def _stop(self, x: object) -> object:
        raise PipelineAbortSignal(self.text)

    async def _fail_later(self, x: object) -> object:
        await asyncio.sleep(0)
        return self._raise(x)


def _answer(text: str, name: str) -> type[BaseModel]:
    told = Field(default="", description=text, examples=[text])
    label = name_of_class(name)
    fields: dict[str, Any] = {f"a {label}": (str, told)}
    return create_model(label, **fields)


@dataclasses.dataclass
class _Plugin:
    text: str

    async def validate(self, data: object) -> PluginOutcome:
        return PluginOutcome(success=False, feedback=self.text)


@dataclasses.dataclass
class _Validator:
    text: str

    async def validate(self, data: object, **rest: object) -> ValidationResult:
        text = self.text
        return ValidationResult(is_valid=False, feedback=text, validator_name=text)
