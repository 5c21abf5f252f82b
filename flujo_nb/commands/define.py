"""``%%flujo step`` and ``%%flujo pipeline``: a cell that defines something, and runs it."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

from IPython.core.error import UsageError

import flujo_nb
from flujo_nb.cell_body import run_body
from flujo_nb.command_line import Parsed
from flujo_nb.display import View, text_view
from flujo_nb.engine.errors import ConfigurationError, FlujoError
from flujo_nb.engine.steps import AnyStep, Node, Step, is_node, name_of, steps_of
from flujo_nb.errors import unknown
from flujo_nb.front import Front
from flujo_nb.step_names import StepNames
from flujo_nb.targets import Registered, is_agent, no_step, nodes_in

from .command import HOW, NO_RUN, START, Command, only_word, options_of, request_of

_NAME = re.compile(r"[\w.-]+")
_DATA = re.compile(r"\{\{\s*data\b")


async def define_step(front: Front, parsed: Parsed, body: str) -> View:
    """Run the body, make a step of the last function in it, register and run that."""
    __tracebackhide__ = True
    given = name_in(parsed)
    done = await run_body(front.shell, body)
    function = _last_defined(done.tree)
    value = front.variable(function) if function is not None else done.value
    node = _step_of(value, given, function)
    return await registered_and_run(front, parsed, "step", node, given or node.name, body)


async def define_pipeline(front: Front, parsed: Parsed, body: str) -> View:
    """Run the body, whose last expression is the pipeline; register it if named, and run it."""
    __tracebackhide__ = True
    given = name_in(parsed)
    names = StepNames(front.shell.user_ns, front.session.steps)
    try:
        done = await run_body(front.shell, body, names)
    except ConfigurationError as error:
        raise UsageError(str(error)) from error
    except NameError as error:
        raise _unknown(front, error.name or "?") from error
    except TypeError as error:
        agents = _agents_in(front, body)
        if ">>" in str(error) and agents:
            raise UsageError(no_step(agents[0])) from error
        raise
    if is_agent(done.value):
        raise UsageError(no_step((_agents_in(front, body) or ["agent"])[-1]))
    if not is_node(done.value):
        found = type(done.value).__name__
        raise UsageError(
            "the last line of %%flujo pipeline is a pipeline, like `collect >> classify`; "
            f"found {found}"
        )
    return await registered_and_run(front, parsed, "pipeline", done.value, given, body)


def _unknown(front: Front, name: str) -> UsageError:
    if name in flujo_nb.__all__:
        return UsageError(f"{name} is not imported: from flujo_nb import {name}")
    return unknown("step", name, [*front.session.steps, *nodes_in(front.shell.user_ns)])


def _agents_in(front: Front, body: str) -> list[str]:
    """The names in a body that mean an agent."""
    words = re.findall(r"[^\W\d]\w*", body)
    return [word for word in words if is_agent(front.shell.user_ns.get(word))]


def name_in(parsed: Parsed) -> str | None:
    """The name on the command line, if any; `UsageError` for one that could not be run."""
    name = only_word(parsed)
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(f"a name is made of letters, digits, _ . and -; found {name}")
    return name


async def registered_and_run(
    front: Front,
    parsed: Parsed,
    command: str,
    node: Node,
    name: str | None,
    body: str,
    *,
    is_live: bool = False,
) -> View:
    """Register ``node``, which the cell of ``command`` made, under ``name``, if any, and run it.

    ``is_live`` has the cell show how the run stands, as ``--live`` does.
    """
    shown = name or name_of(node)
    request = request_of(front, parsed, command, shown)
    if name is not None:
        registered = Registered(name, node, body, command, _defining(parsed))
        front.session.targets.register(registered)
    if "--no-run" in parsed.flags:
        start = " -i EXPR" if front.session.head is None and _takes_input(node) else ""
        following = f"%flujo run {shown}{start}"
        return text_view(f"registered {shown}\n  next  {following}")
    return await front.run(node, shown, request, options_of(front, parsed, shown, is_live=is_live))


def _defining(parsed: Parsed) -> str:
    """What a command line says of what is registered, and not of its run."""
    of_run = {one.key for one in (*START, *HOW)}
    options = (f"{name} {value}" for name, value in parsed.values.items() if name not in of_run)
    return " ".join((*parsed.words, *options))


def _takes_input(node: Node) -> bool:
    first = next(iter(steps_of(node)))
    if isinstance(first.input, str):
        return _DATA.search(first.input) is not None
    return first.input is None and (first.shape is None or first.shape.data is not None)


def _last_defined(tree: ast.Module) -> str | None:
    """The name of the last function that the body defines, if it defines any."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [one.name for one in tree.body if isinstance(one, functions)]
    return names[-1] if names else None


def _step_of(value: object, name: str | None, function: str | None) -> AnyStep:
    try:
        if isinstance(value, Step):
            return replace(value, name=name) if name is not None else value
        if function is not None and callable(value):
            return Step.from_callable(value, name=name)
    except FlujoError as error:
        raise UsageError(str(error)) from error
    raise UsageError(
        "the body of %%flujo step defines a function (`def collect(): …`), or ends with a Step; "
        f"found {'nothing' if value is None else type(value).__name__}"
    )


DEFINE = (
    Command(
        name="step",
        summary="define a step and run it on HEAD",
        usage="%%flujo step [NAME] [-i EXPR] [--from FRAME] [--on-head] [--no-run] "
        "[--budget LIMITS] [--no-cache] [--live]",
        example=(
            "%%flujo step -i 'to be or not to be'\n"
            "def words(text: str) -> list[str]:\n    return text.split()"
        ),
        handler=define_step,
        options=(*START, NO_RUN, *HOW),
        has_body=True,
        word="name",
        after=(),
    ),
    Command(
        name="pipeline",
        summary="join steps and run them on HEAD",
        usage="%%flujo pipeline [NAME] [-i EXPR] [--from FRAME] [--on-head] [--no-run] "
        "[--budget LIMITS] [--no-cache] [--live]",
        example=(
            "%%flujo pipeline counted -i 'to be or not to be'\n"
            "from flujo_nb import step\n\n"
            "@step\ndef count(words: list[str]) -> int:\n    return len(words)\n\n"
            "words >> count"
        ),
        handler=define_pipeline,
        options=(*START, NO_RUN, *HOW),
        has_body=True,
        word="name",
        after=("step",),
    ),
)
