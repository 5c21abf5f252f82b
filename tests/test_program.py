"""A pipeline as a program: called, and from a command line."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import pytest
from pydantic import BaseModel

from flujo_nb import ConfigurationError, HumanInTheLoopStep, Step, StepInterrupted, step
from flujo_nb.program import Program, ProgramPaused, ProgramStopped


class Count(BaseModel):
    n: int = 0
    names: list[str] = []


class Kind(Enum):
    LOW = "low"


class Odd:
    pass


@step
def echo(data: object) -> object:
    return data


@step
def counted(data: int, context: Count) -> list[int]:
    context.n += data
    return [context.n, len(context.names)]


def test_it_gives_the_output() -> None:
    assert Program(echo).run("x") == "x"
    assert asyncio.run(Program(echo).run_async("x")) == "x"


def test_each_run_begins_with_the_first_values() -> None:
    program = Program(counted, context=Count, values={"n": 3})
    assert [program.run(1), program.run(1)] == [[4, 0], [4, 0]]
    assert program.run(1, context={"n": 5}) == [6, 0]
    assert program.run(1, context=Count(names=["a"])) == [1, 1]


def test_resources_reach_the_steps() -> None:
    @step
    def asked(data: int, resources: dict[str, int]) -> int:
        return resources["n"] + data

    assert Program(asked).run(1, resources={"n": 2}) == 3


def test_a_step_that_fails_is_named_with_its_reason() -> None:
    @step
    def broken(data: object) -> object:
        raise ValueError("no")

    with pytest.raises(ProgramStopped, match=r"^broken failed: ValueError: no$") as caught:
        Program(echo >> Step.map_over("each", broken)).run([1])
    assert not caught.value.result.success


def test_a_question_is_raised() -> None:
    ask = HumanInTheLoopStep(name="ask", message_for_user="{{ data }}?")
    with pytest.raises(ProgramPaused, match=r"^x\?$") as caught:
        Program(echo >> ask).run("x")
    assert [str(one.path) for one in caught.value.result.paused] == ["ask"]


def test_in_a_running_loop_it_says_what_to_await() -> None:
    async def inside() -> None:
        Program(echo).run("x")

    with pytest.raises(ConfigurationError, match="run_async"):
        asyncio.run(inside())


@pytest.mark.parametrize(
    ("kind", "text", "given"),
    [
        (object, "to be", "to be"),
        (object, '"to be"', "to be"),
        (object, "5", 5),
        (object, "null", None),
        (object, "NaN", "NaN"),
        (object, '{"a": [1.5]}', {"a": [1.5]}),
        (str, "5", "5"),
        (str, '"5"', "5"),
        (str, "null", "null"),
        (int, "5", 5),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (Mapping[str, int], '{"a": 1}', {"a": 1}),
        (Count, '{"n": 2}', Count(n=2)),
        (Kind, '"low"', Kind.LOW),
        (Kind, "low", Kind.LOW),
        (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
        (tuple[int, int], "[1, 2]", (1, 2)),
        (Count | str, "to be", "to be"),
    ],
)  # fmt: skip
def test_the_input_is_what_the_first_step_takes(
    kind: type, text: str, given: object, capsys: pytest.CaptureFixture[str]
) -> None:
    got: list[object] = []

    def take(data: object) -> None:
        got.append(data)

    take.__annotations__["data"] = kind
    assert Program(Step.from_callable(take)).main(["--input", text]) == 0
    assert got == [given] and type(got[0]) is type(given)
    assert capsys.readouterr().out == "null\n"


def test_a_class_that_pydantic_does_not_know_gets_what_json_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @step
    def take(data: Odd) -> None:
        pass

    assert Program(take).main(["--input", "[1]"]) == 1
    assert "takes Odd, and its input is list" in capsys.readouterr().err


def test_an_input_that_does_not_fit_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert Program(counted).main(["--input", "x"]) == 1

    @step
    def take(data: Count) -> None:
        pass

    capsys.readouterr()
    assert Program(take).main(["--input", '{"n": "x"}']) == 2
    assert capsys.readouterr().err.startswith("the input: n: Input should be a valid integer")


def test_without_an_input_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert Program(echo).main([]) == 0
    assert capsys.readouterr().out == "null\n"


def test_the_input_may_be_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.json"
    file.write_text('["é"]', "utf-8")
    assert Program(echo).main(["--input-file", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == ["é"]
    assert Program(echo).main(["--input-file", str(tmp_path / "gone")]) == 2
    assert "the input: " in capsys.readouterr().err
    with pytest.raises(SystemExit):
        Program(echo).main(["--input-file", "a", "--input", "b"])


@pytest.mark.parametrize(
    ("output", "printed"),
    [
        ("to be", '"to be"\n'),
        ({"a": {1: (2,)}}, '{\n  "a": {\n    "1": [\n      2\n    ]\n  }\n}\n'),
        (Count(n=1), '{\n  "n": 1,\n  "names": []\n}\n'),
        (datetime.date(2026, 1, 2), '"2026-01-02"\n'),
        (len, "<built-in function len>\n"),
    ],
)  # fmt: skip
def test_the_output_is_printed_as_json_where_it_can_be(
    output: object, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Program(Step.from_callable(lambda data: output, name="give")).main([]) == 0
    assert capsys.readouterr().out == printed


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    @step
    def broken(data: object) -> object:
        raise ValueError("no")

    @step
    def interrupted(data: object) -> object:
        raise KeyboardInterrupt

    ask = HumanInTheLoopStep(name="ask", message_for_user="Really?")
    codes = [Program(one).main(["--input", "x"]) for one in (echo, broken, ask, interrupted)]
    assert codes == [0, 1, 3, 130]
    shown = capsys.readouterr()
    assert shown.out == '"x"\n'
    assert shown.err == "broken failed: ValueError: no\nReally?\ninterrupted\n"
    with pytest.raises(StepInterrupted):
        Program(interrupted).run("x")
