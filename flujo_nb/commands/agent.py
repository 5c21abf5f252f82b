"""``%%flujo agent`` and ``%%flujo hitl``: a cell whose text is a prompt, or a question."""

from __future__ import annotations

from IPython.core.error import UsageError

from flujo_nb.agent_cells import agent_step, question_step
from flujo_nb.command_line import Option, Parsed
from flujo_nb.display import View
from flujo_nb.front import Front

from .command import BUDGET, NO_CACHE, NO_RUN, START, Command
from .define import name_in, registered_and_run

_AGENT = (
    "%%flujo agent NAME --model MODEL [--out TYPE] [--retries N] [-i EXPR] [--from FRAME] "
    "[--on-head] [--no-run] [--budget LIMITS] [--no-cache]"
)
_HITL = "%%flujo hitl NAME [--schema TYPE] [-i EXPR] [--from FRAME] [--on-head] [--no-run]"
_DIGITS = 3


async def define_agent(front: Front, parsed: Parsed, body: str) -> View:
    """Make a step of an agent whose prompt is the body; register it, and run it with its text."""
    name, prompt = _named(parsed, _AGENT), _text(body, "agent", "prompt")
    model = parsed.values.get("--model")
    if model is None:
        raise UsageError(f"which model? --model test answers offline; usage: {_AGENT}")
    retries = _retries(parsed.values.get("--retries"))
    output = parsed.values.get("--out", "str")
    node = agent_step(front, name, model, prompt, output, retries)
    return await registered_and_run(front, parsed, "agent", node, name, body, is_live=True)


async def define_question(front: Front, parsed: Parsed, body: str) -> View:
    """Make a step that asks a human what the body says; register it, and run it: it pauses."""
    name, message = _named(parsed, _HITL), _text(body, "hitl", "question")
    node = question_step(front, name, message, parsed.values.get("--schema"))
    return await registered_and_run(front, parsed, "hitl", node, name, body)


def _named(parsed: Parsed, usage: str) -> str:
    name = name_in(parsed)
    if name is None:
        raise UsageError(f"which name? usage: {usage}")
    return name


def _text(body: str, command: str, what: str) -> str:
    text = body.strip()
    if not text:
        raise UsageError(f"the body of %%flujo {command} is the {what}; found nothing")
    return text


def _retries(given: str | None) -> int | None:
    if given is None:
        return None
    if not given.isdecimal() or len(given) > _DIGITS:
        raise UsageError(f"--retries takes a number, 0 or more, of up to 3 digits; found {given}")
    return int(given)


AGENT = (
    Command(
        name="agent",
        summary="ask a model, and run that on HEAD; the text appears as it is written",
        usage=_AGENT,
        example=(
            "%%flujo agent summary --model test -i 'to be or not to be'\n"
            "Sum up in one sentence: {{ data }}"
        ),
        handler=define_agent,
        options=(
            Option(
                ("--model",), "test (offline), as openai:gpt-5, or a variable with a model", "MODEL"
            ),
            Option(("--out",), "what it gives: a class of yours, int, list[NAME] …", "TYPE"),
            Option(("--retries",), "how many attempts follow one that failed (1)", "N"),
            *START,
            NO_RUN,
            BUDGET,
            NO_CACHE,
        ),
        has_body=True,
        word="name",
        after=(),
    ),
    Command(
        name="hitl",
        summary="ask a human: the run pauses until %flujo resume gives the answer",
        usage=_HITL,
        example="%%flujo hitl approve --schema bool -i 'the draft'\nPublish {{ data }}?",
        handler=define_question,
        options=(
            Option(("--schema",), "what the answer is: a class of yours, bool, int …", "TYPE"),
            *START,
            NO_RUN,
        ),
        has_body=True,
        word="name",
        after=(),
    ),
)
