"""Loading, unloading, and what `%flujo` lines never evaluate."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flujo_nb import magics
from flujo_nb.api import SessionApi
from flujo_nb.commands import COMMANDS
from tests.notebook import Notebook


def put_in(notebook: Notebook) -> Sequence[object]:
    """All the places of a shell that an extension may put something into."""
    shell = notebook.shell
    return (
        set(shell.magics_manager.magics["line"]),
        set(shell.magics_manager.magics["cell"]),
        set(vars(shell.magics_manager.user_magics)),
        list(shell.input_transformers_cleanup),
        list(shell.input_transformers_post),
        list(shell.ast_transformers),
        list(shell.Completer.custom_matchers),
        list(shell.configurables),
        {name: list(found) for name, found in shell.events.callbacks.items()},
        set(shell.user_ns) - {"_", "__", "___", "_i", "_ii", "_iii", "_dh", "_oh"},
        set(shell.user_ns_hidden),
    )


def test_unloading_leaves_nothing(notebook: Notebook) -> None:
    shell = notebook.shell
    notebook.unload()
    without = put_in(notebook)
    notebook.load()
    assert put_in(notebook) != without
    notebook.unload()
    assert put_in(notebook) == without
    assert id(shell) not in magics._extensions


def test_unloading_twice_is_harmless(notebook: Notebook) -> None:
    magics.unload(notebook.shell)
    magics.unload(notebook.shell)


def test_loading_twice_is_harmless_and_keeps_the_session(notebook: Notebook) -> None:
    notebook.run("%%flujo step one\ndef one():\n    return 1")
    before, state = put_in(notebook), notebook.state()
    magics.load(notebook.shell)
    notebook.load()
    assert put_in(notebook) == before
    assert notebook.state() == state


def test_reloading_begins_a_new_session(notebook: Notebook) -> None:
    notebook.run("%%flujo step one\ndef one():\n    return 1")
    magics.unload(notebook.shell)
    magics.load(notebook.shell)
    assert notebook.session.entries == []
    assert isinstance(notebook.shell.user_ns["flujo"], SessionApi)


def test_the_name_flujo_is_taken_only_if_it_is_free(notebook: Notebook) -> None:
    magics.unload(notebook.shell)
    assert "flujo" not in notebook.shell.user_ns
    notebook.shell.user_ns["flujo"] = "mine"
    magics.load(notebook.shell)
    assert notebook.shell.user_ns["flujo"] == "mine"
    magics.unload(notebook.shell)
    assert notebook.shell.user_ns["flujo"] == "mine"


def test_a_name_that_was_given_away_since_is_left_alone(notebook: Notebook) -> None:
    notebook.run("flujo = 'mine'")
    magics.unload(notebook.shell)
    assert notebook.shell.user_ns["flujo"] == "mine"


def test_settings_are_listed_and_checked(notebook: Notebook) -> None:
    notebook.run("%config Flujo.after_failure = 'refuse'")
    assert notebook.front.settings.after_failure == "refuse"
    notebook.run("%config Flujo.after_failure = 'sometimes'")
    assert notebook.front.settings.after_failure == "refuse"


TRAPS = ("{spring()}", "$trap", "{trap}")
PLACES = ("{}", "a {}", "a --from {}", "a --on-head {}", "--context {}", "{} >> a", "a -{}")


@pytest.mark.parametrize("trap", TRAPS)
def test_nothing_on_a_line_is_expanded(notebook: Notebook, trap: str) -> None:
    sprung: list[str] = []
    notebook.shell.user_ns.update(spring=lambda: sprung.append("!"), trap="frames")
    notebook.run("%%flujo step a -i 1\ndef a(x):\n    return x")
    for name, command in COMMANDS.items():
        for place in PLACES:
            body = "\ndef f(x):\n    return x" if command.has_body else ""
            flag = " --no-run" if command.has_body else ""
            line = place.replace("{}", trap)
            notebook.run(f"{command.magic} {line}{flag}{body}")
        notebook.run(f"%flujo {trap}")
        notebook.run(f"%flujo help {trap} {name}")
    assert sprung == []
    assert "frames" not in notebook.session.steps
    assert "frames" not in {entry.record.name for entry in notebook.session.entries}


@pytest.mark.parametrize("option", ["-i", "--input"])
def test_an_expression_means_what_it_says(notebook: Notebook, option: str) -> None:
    notebook.shell.user_ns.update(rows=[[1, 2]], trap="frames")
    notebook.run("%%flujo step a --no-run\ndef a(x):\n    return x")
    expected = {
        "'a b'": "a b",
        "[1, 2]": [1, 2],
        "rows[0]": [1, 2],
        "-1": -1,
        "'{trap} $trap'": "{trap} $trap",
        "{'a': rows}": {"a": [[1, 2]]},
        "(1 if rows else 2)": 1,
    }
    for expression, value in expected.items():
        assert notebook.card(f"%flujo run a {option} {expression}").data == value


def test_an_input_is_evaluated_once(notebook: Notebook) -> None:
    seen: list[int] = []
    notebook.shell.user_ns["spring"] = lambda: seen.append(1)
    notebook.run("%%flujo step a --no-run\ndef a(x):\n    return x")
    notebook.run("%flujo run a -i spring()")
    assert len(seen) == 1


def test_an_input_is_not_evaluated_for_a_run_that_cannot_be(notebook: Notebook) -> None:
    seen: list[int] = []
    notebook.shell.user_ns["spring"] = lambda: seen.append(1)
    notebook.run("%%flujo step a --no-run\ndef a(x):\n    return x")
    for line in ("run b -i spring()", "run a -i spring() --from f9", "run a -i spring() --what"):
        notebook.error(f"%flujo {line}")
    assert seen == []


def test_naming_a_context_runs_no_code_of_the_users(notebook: Notebook) -> None:
    seen: list[int] = []
    notebook.shell.user_ns["seen"] = seen
    notebook.run(
        "class Trap:\n    @property\n    def ctx(self):\n        seen.append(1)\n"
        "        raise RuntimeError\ntrap = Trap()"
    )
    assert "RuntimeError" not in type(notebook.error("%flujo session --context trap.ctx")).__name__


def test_a_command_returns_its_view_wherever_it_stands(notebook: Notebook) -> None:
    notebook.run("%%flujo step a -i 1\ndef a(x):\n    return x")
    assert notebook.card("x = %flujo run a --on-head\nx").output == 1
    assert notebook.card("def f():\n    x = %flujo run a -i 5\n    return x\nf()").output == 5
    assert notebook.run("%flujo run a;").success
