"""How the definition of a step reads, and what of it is not shown."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from flujo_nb.engine.step_config import ValidationResult
from flujo_nb.engine.step_definitions import MAX_LINES, MAX_WIDTH, StepDefinitions
from flujo_nb.engine.step_kinds import LoopStep
from flujo_nb.engine.steps import Node, Step
from tests.engine.cells import cell


class Limit:
    def __init__(self, most: object) -> None:
        self.most = most

    def validate(self, output: Any) -> ValidationResult:
        return ValidationResult(is_valid=output <= self.most)


class Answer(BaseModel):
    yes: bool


def work(data: object) -> object:
    return data


def lines_of(node: Node) -> tuple[str, ...]:
    return StepDefinitions().of(node).lines


def step_of(function: Callable[..., object] = work, **options: Any) -> Step[Any, Any]:
    return Step.from_callable(function, **{"name": "work", **options})


PROMPT = "You are kind."
LETTER = "Dear\n\n  all"


def draft(text: str, *more: Answer, tone: str = "warm") -> list[str]:
    """Not told."""
    # nor is this
    parts = [text, PROMPT, LETTER]  # nor this

    return [*parts, "# told"]


def test_a_step_of_a_function_reads_so() -> None:
    node = Step.from_callable(draft, input="Hello {{ data }}\n\nBye", max_retries=2)
    lines = lines_of(node)
    parts = lines.index("LETTER =")
    assert lines[:7] == (
        "kind = 'Step'",
        "name = 'draft'",
        "agent = function draft",
        "config.max_retries = 2",
        "input =",
        "    Hello {{ data }}",
        "    ",
    )
    assert lines[8] == "function draft(text: str, *more: Answer, tone: str) -> list[str]"
    assert lines[9:12] == (
        '    def draft(text: str, *more: Answer, tone: str = "warm") -> list[str]:',
        "        parts = [text, PROMPT, LETTER]",
        '        return [*parts, "# told"]',
    )
    assert lines[12].startswith("    code of draft: ")
    assert lines[parts : parts + 5] == (
        *("LETTER =", "    Dear", "    ", "      all"),
        "PROMPT = 'You are kind.'",
    )
    assert "agent(tone) = 'warm'" in lines


def test_a_model_reads_so_without_its_source() -> None:
    source = "class M(BaseModel):\n  n: int = Field(3, gt=0)\n  def m(self): return 1\n"
    lines = lines_of(step_of(cell(f"{source}def work(x): return M")["work"]))
    assert any(line.startswith("class M(pydantic.main.BaseModel") for line in lines)
    assert "    n: int" in lines
    assert "M.n[1][0] = 3" in lines
    assert any(line.startswith("function M.m(self)") for line in lines)


def test_a_cell_reads_with_its_source_when_the_kernel_keeps_it() -> None:
    source = "def work(x):\n    return x\n"
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, "<cell 1>", "exec"), names)  # noqa: S102  # as a kernel does
    assert "        return x" not in lines_of(step_of(names["work"]))
    linecache.cache["<cell 1>"] = (len(source), None, source.splitlines(True), "<cell 1>")
    assert "        return x" in lines_of(step_of(names["work"]))
    linecache.cache["<cell 1>"] = (3, None, ["y\n"], "<cell 1>")  # another cell by now
    assert "    y" not in lines_of(step_of(names["work"]))


def test_a_lambda_in_the_middle_of_a_statement_is_told_as_it_stands() -> None:
    conditions: Mapping[str, Callable[..., object]] = {
        "done": lambda output: output > 3,
    }
    body = step_of()
    node = LoopStep[Any, Any](
        name="it", loop_body_pipeline=body, exit_condition_callable=conditions["done"]
    )
    lines = lines_of(node)
    assert '    "done": lambda output: output > 3,' in lines


def test_lines_are_bounded_in_number_and_width_and_hold_everything_of_a_text() -> None:
    long = "x" * (MAX_WIDTH * 2) + "end"
    lines = lines_of(step_of(input=long))
    assert max(map(len, lines)) == MAX_WIDTH
    assert long in "".join(line.strip() for line in lines)
    many = lines_of(step_of(input="\n".join("abc" for _ in range(MAX_LINES + 10))))
    assert len(many) == MAX_LINES + 1
    assert many[-1].endswith("more lines")


def test_lines_can_always_be_written_as_utf_8_and_hold_no_address() -> None:
    names = cell("def work(x): return TEXT, MORE")
    names |= {"TEXT": "a\nb\ud800", "MORE": "<Client at 0x7f00aa>"}
    lines = lines_of(step_of(names["work"]))
    assert "    b\\ud800" in lines
    assert "MORE = '<Client>'" in lines
    assert "\n".join(lines).encode()


def test_secrets_are_not_told_and_do_not_count() -> None:
    steps = [step_of(validators=[Limit(SecretStr(text))]) for text in ("first one", "second one")]
    assert len({StepDefinitions().of(one).digest for one in steps}) == 1
    assert "first one" not in "\n".join(lines_of(steps[0]))


def test_what_must_not_be_shown_is_masked_wherever_it_stands() -> None:
    key = "sk-" + "7" * 300
    names = cell("def work(x): return KEY, BYTES")
    names |= {"KEY": key, "BYTES": b"sk-77"}
    node = step_of(names["work"], input=f"key: {key}", meta={key: key})
    masked = StepDefinitions(lambda text: text.replace(key, "…")).of(node)
    assert "777" not in "\n".join(masked.lines)
    assert "KEY =\n    …" in "\n".join(masked.lines)
    assert "BYTES = bytes, 5 long" in masked.lines
    assert masked.digest == StepDefinitions().of(node).digest


def test_names_of_libraries_sets_and_members_read_so() -> None:
    source = "NAMES = frozenset({'b', 'a'})\nclass C(enum.Enum):\n  RED = 'r'\nRED = C.RED\n"
    names = cell(f"{source}size = len\ndef work(x): return NAMES, RED, size, json.dumps, dumps")
    names["dumps"] = names["json"].dumps
    lines = lines_of(step_of(names["work"]))
    version = ".".join(map(str, sys.version_info[:2]))
    assert {
        "NAMES = {'a', 'b'}",
        "RED = C.RED",
        "size = len",
        f"json = module json {version}",
        f"dumps = function json.dumps (json {version})",
    } <= {*lines}


def test_what_cannot_be_read_is_left_out() -> None:
    names = cell("def help(x): return x\ndef work(x): return help(x)")
    names["help"].__signature__ = "none"  # which `inspect` refuses
    assert "function help(…)" in lines_of(step_of(names["work"]))
    conditions = [(
        lambda output: output > 3)]  # fmt: skip
    node = LoopStep[Any, Any](
        name="it", loop_body_pipeline=step_of(), exit_condition_callable=conditions[0]
    )
    assert any("lambda output: output > 3)]" in line for line in lines_of(node))
