"""Help: it lists every command, its usage lines are the options', and its examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from IPython.core.error import UsageError

from flujo_nb.commands import COMMANDS, FAMILIES
from flujo_nb.commands.help import example_title
from flujo_nb.display import View
from flujo_nb.engine.outcomes import RunStatus
from flujo_nb.errors import RunAborted
from tests.notebook import Notebook

OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


@pytest.fixture
def stored(notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notebook:
    """A notebook in a folder of its own, whose session is kept there, as one of a user's is."""
    monkeypatch.chdir(tmp_path)
    notebook.run(f"%config Flujo.store = {str(tmp_path / 'flujo.db')!r}")
    return notebook


async def pasted(notebook: Notebook, *names: str) -> None:
    """Run the examples that help shows of these commands, as they stand there."""
    for name in names:
        shown = repr((await notebook.ran(f"%flujo help {name}")).result)
        title = example_title(COMMANDS[name])
        example = shown.rpartition(f"\n{title}\n\n")[2]
        assert example and example != shown
        result = await notebook.ran(example)
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, RunAborted):
            assert error.record.status is RunStatus.PAUSED
            assert "pause" in COMMANDS[name].summary
        else:
            assert error is None, error
            assert isinstance(result.result, View)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_in_help_works_as_pasted(stored: Notebook, name: str) -> None:
    stored.during(lambda: pasted(stored, *COMMANDS[name].after, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_usage_line_has_the_options_of_its_command_and_no_others(name: str) -> None:
    command = COMMANDS[name]
    in_usage = set(OPTION.findall(command.usage))
    known = {one: option for option in command.options for one in option.names}
    assert in_usage <= known.keys()
    for option in command.options:
        (shown,) = in_usage.intersection(option.names)
        assert option.value is None or f"{shown} {option.value}" in command.usage


@pytest.mark.parametrize("name", COMMANDS)
def test_a_usage_line_and_an_example_call_the_command_as_it_is_typed(name: str) -> None:
    command = COMMANDS[name]
    called = re.compile(rf"%%?flujo \[?{name}\b")
    assert called.match(command.usage)
    lines = command.example.splitlines()
    assert name == "status" or any(called.match(line) for line in lines)
    assert command.has_body == lines[0].startswith(f"%%flujo {name}")


def test_every_command_belongs_to_one_family_and_is_in_the_overview(notebook: Notebook) -> None:
    every = [command.name for family in FAMILIES.values() for command in family]
    assert every == list(COMMANDS)
    shown = repr(notebook.view("%flujo help")).splitlines()
    assert shown[0] == "flujo-nb" and shown[-1] == "  next  %flujo help step"
    told = [(family, one) for family, commands in FAMILIES.items() for one in commands]
    for line, (family, command) in zip(shown[1:-1], told, strict=True):
        assert line.endswith(f"{command.magic}  {command.summary}") or (
            re.search(rf"{re.escape(command.magic)}\s+{re.escape(command.summary)}$", line)
        )
        assert line.startswith(family) == (FAMILIES[family][0] is command)


def test_the_magics_own_help_begins_with_what_a_newcomer_needs(
    notebook: Notebook, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook.run("%flujo?")
    shown = capsys.readouterr().out
    for number in range(1, 6):
        assert f"\n{number}. " in shown
    for command in COMMANDS.values():
        assert re.search(rf"{command.magic} +{re.escape(command.summary)}\n", shown)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_one_short_line(name: str) -> None:
    assert len(COMMANDS[name].summary) <= 76
    assert COMMANDS[name].summary[0].islower()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%flujo frmaes", "did you mean 'frames'?"),
        ("%flujo help frmaes", "did you mean 'frames'?"),
        ("%flujo run words --form f0", "did you mean --from?"),
        ("%%flujo step --no-rum\ndef f(): pass", "did you mean --no-run?"),
        ("%flujo run wrods", "did you mean 'words'?"),
        ("%%flujo pipeline\nwrods >> words", "did you mean 'words'?"),
        ("%flujo show f00", "did you mean 'f0'?"),
        ("%flujo show f1/wrods", "did you mean 'words'?"),
        ("%flujo session lst", "did you mean 'list'?"),
        ("%flujo cache claer", "did you mean 'clear'?"),
        ("%flujo load wrods", "did you mean 'words'?"),
        ("%flujo export htlm page.html", "did you mean 'html'?"),
    ],
)
def test_what_is_mistyped_is_told_with_what_may_be_meant(
    notebook: Notebook, cell: str, said: str
) -> None:
    notebook.during(lambda: pasted(notebook, "step", "pipeline"))
    error = notebook.error(cell)
    assert isinstance(error, UsageError)
    assert said in str(error)


def test_a_setting_that_is_mistyped_is_told_by_ipython(notebook: Notebook) -> None:
    with pytest.warns(UserWarning, match=r"`reus` not recognized.* Did you mean `reuse`\?"):
        notebook.run("%config Flujo.reus = 'same'")
