"""A pipeline as a program of its own: called from Python, or from a command line.

Modules that ``%flujo export py`` writes end with one; nothing of a notebook is imported.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_json

from .engine.errors import ConfigurationError, FlujoError, StepInterrupted
from .engine.outcomes import RunStatus
from .engine.results import PipelineResult, StepResult
from .engine.runner import Flujo
from .engine.steps import Node, steps_of
from .exit_codes import FAILED, INTERRUPTED, MISUSED, PASSED

PAUSED = 3
"""The exit code of a program that waits for the answer to a question."""

_PLAIN = (bool, dict, float, int, list, str, type(None))


class ProgramStopped(FlujoError):
    """The run did not complete; ``result`` is what there is of it."""

    def __init__(self, message: str, result: PipelineResult) -> None:
        super().__init__(message)
        self.result = result


class ProgramPaused(ProgramStopped):
    """The run waits for the answer to the question that the message is."""


class Program:
    """``pipeline`` with the context that its runs begin with.

    ``context`` is the model of the context (default `PipelineContext`) and ``values`` its first
    values.
    """

    def __init__(
        self,
        pipeline: Node,
        *,
        context: type[BaseModel] | None = None,
        values: Mapping[str, object] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self._model = context
        self._values = dict(values or {})

    def run(
        self,
        data: object = None,
        *,
        context: Mapping[str, object] | BaseModel | None = None,
        resources: object = None,
    ) -> object:
        """As `run_async`, where no event loop runs; `ConfigurationError` inside one."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.run_async(data, context=context, resources=resources))
        raise ConfigurationError("an event loop is running here: `await run_async(…)` instead")

    async def run_async(
        self,
        data: object = None,
        *,
        context: Mapping[str, object] | BaseModel | None = None,
        resources: object = None,
    ) -> object:
        """The output of the pipeline for ``data``.

        ``context`` are values in place of the first ones; ``resources`` reach the steps that ask
        for them. Raises `ProgramPaused` at a question, `ProgramStopped` when a step fails, and
        what a run raises.
        """
        values = {**self._values, **dict(context or {})}
        runner = Flujo(
            self.pipeline,
            context_model=self._model,
            initial_context_data=values,
            resources=resources,
        )
        async with runner:
            result = await runner.run_async(data)
        if result.status is RunStatus.PAUSED:
            raise ProgramPaused("\n".join(one.message for one in result.paused), result)
        if not result.success:
            raise ProgramStopped(_why(result), result)
        return result.output

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """Run what a command line asks for and print the output; the exit code."""
        parsed = self._parser().parse_args(arguments)
        file: Path | None = parsed.input_file
        text: str | None = parsed.input
        try:
            data = self._input(file.read_text("utf-8") if file is not None else text)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"the input: {error}\n")
            return MISUSED
        try:
            output = self.run(data)
        except ProgramPaused as question:
            sys.stderr.write(f"{question}\n")
            return PAUSED
        except (KeyboardInterrupt, StepInterrupted):
            sys.stderr.write("interrupted\n")
            return INTERRUPTED
        except FlujoError as error:
            sys.stderr.write(f"{error}\n")
            return FAILED
        sys.stdout.write(f"{_printed(output)}\n")
        return PASSED

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(description="Run the pipeline and print its output.")
        given = parser.add_mutually_exclusive_group()
        given.add_argument("--input", metavar="DATA", help="the input: JSON, or else a text")
        given.add_argument(
            "--input-file", metavar="PATH", type=Path, help="a file that holds the input"
        )
        return parser

    def _input(self, text: str | None) -> object:
        """What ``text`` means to the first step. Raises ValueError when it cannot be that."""
        if text is None:
            return None
        first = next(iter(steps_of(self.pipeline)))
        wanted = None if first.shape is None else first.shape.input_type
        match wanted:
            case (kind,) if kind not in _PLAIN and kind.__module__ != "collections.abc":
                try:
                    return _validated(TypeAdapter(kind), text)
                except PydanticUserError:  # a class that pydantic knows nothing of
                    return _json_or_text(text)
            case (kind,) if kind is str:
                value = _json_or_text(text)
                return value if isinstance(value, str) else text
        return _json_or_text(text)


def _json_or_text(text: str) -> object:
    try:
        value: object = json.loads(text, parse_constant=_refused)
    except ValueError:
        return text
    return value


def _validated(wanted: TypeAdapter[object], text: str) -> object:
    """``text`` as an instance of a class that JSON does not have. Raises ValueError."""
    try:
        return (
            wanted.validate_python(text)
            if _json_or_text(text) is text
            else wanted.validate_json(text)
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def _printed(output: object) -> str:
    """The output as JSON; what JSON has no form for as text."""
    try:
        return to_json(output, indent=2, inf_nan_mode="constants").decode()
    except (PydanticSerializationError, ValueError):
        return str(output)


def _why(result: PipelineResult) -> str:
    """What the run ended with: the innermost step that did not succeed, and its reason."""
    failed: StepResult | None = None
    history = result.step_history
    while (found := next((one for one in reversed(history) if not one.success), None)) is not None:
        failed, history = found, found.step_history
    if failed is None:
        return f"the run {result.status.value}"
    return f"{failed.name} {result.status.value}: {failed.feedback or 'nothing is known of why'}"


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
