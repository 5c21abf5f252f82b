"""``%flujo`` in a real kernel, as a front end sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.kernel.harness import Cell, Kernel

STEPS = """
import asyncio, time

async def waits(x):
    print("started", flush=True)
    await asyncio.sleep(30)

def spins(x):
    print("started", flush=True)
    while True:
        pass

async def one(x):
    return 1
"""
LIMIT_S = 0.5

INTERRUPTED = {
    "an await": "%flujo run waits",
    "a sync step": "%flujo run spins",
    "a child of gather": "await asyncio.gather(flujo.run('one'), flujo.run('waits'))",
    "a sync child of gather": "await asyncio.gather(flujo.run('one'), flujo.run('spins'))",
    "an await over the bridge": "%%time\n%flujo run waits",
    "a sync step over the bridge": "def call():\n    %flujo run spins\ncall()",
    "run_sync": "flujo.run_sync('waits')",
    "the body of a cell": "%%flujo step\nprint('started', flush=True)\nwhile True: pass",
    "an await in the body of a cell": (
        "%%flujo step\nprint('started', flush=True)\nawait asyncio.sleep(30)"
    ),
}


@pytest.fixture(scope="module")
def loaded(kernel: Kernel) -> Kernel:
    """A kernel with the extension, and three steps registered."""
    kernel.check("%load_ext flujo_nb")
    kernel.check(STEPS)
    for name in ("waits", "spins", "one"):
        kernel.check(f"flujo_nb_step = __import__('flujo_nb').step\n{name} = flujo_nb_step({name})")
    return kernel


@pytest.fixture
def session(fresh_kernel: Kernel) -> Iterator[Kernel]:
    """A kernel of its own with the extension just loaded."""
    fresh_kernel.check("%load_ext flujo_nb")
    yield fresh_kernel
    fresh_kernel.check("%unload_ext flujo_nb")


def first_line(cell: Cell) -> str:
    assert cell.result is not None
    return cell.result.splitlines()[0]


@pytest.mark.parametrize("code", INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interrupt_ends_the_cell_and_leaves_nothing_running(loaded: Kernel, code: str) -> None:
    running = loaded.start(code)
    loaded.wait_for(running, "started")
    took = loaded.interrupted(running)
    assert running.status == "error"
    assert took <= LIMIT_S
    assert loaded.leftovers() == []
    assert loaded.check("%flujo run one -i 0").result is not None


def test_an_interrupted_frame_is_recorded_and_head_stays(session: Kernel) -> None:
    session.check("%%flujo step\ndef begin():\n    return 3")
    running = session.start(
        "%%flujo step\nimport asyncio\nasync def waits(x):\n"
        "    print('started', flush=True)\n    await asyncio.sleep(30)"
    )
    session.wait_for(running, "started")
    session.interrupted(running)
    assert running.error is not None
    assert "waits at c[2]/waits" in running.error.text
    assert "kept: f1 (interrupted); HEAD is still f0 begin" in running.error.text
    shown = session.check(
        "flujo.head.id, flujo.frames['f1'].status, flujo.frames['f1'].parent, flujo.head.output"
    )
    assert shown.result == "('f0', 'interrupted', 'f0', 3)"


def test_a_cell_run_twice_gets_the_same_input_and_says_so(session: Kernel) -> None:
    begin = "%%flujo step\ndef begin():\n    return 1"
    grow = "%%flujo step\ndef grow(x):\n    return x + 1"
    session.check(begin, cell_id="A")
    first = session.check(grow, cell_id="B")
    again = session.check(grow, cell_id="B")
    edited = session.check(grow.replace("+ 1", "+ 10"), cell_id="B")
    other = session.check("%flujo run grow", cell_id="C")
    assert first_line(first).split("   ")[1] == "← f0.output"
    assert first_line(again).split("   ")[1] == "← f0.output"
    assert "note" in str(again.result)
    assert "ran again from f0" in str(again.result)
    assert "output  11" in str(edited.result)
    assert first_line(other).split("   ")[1] == "← f3.output"
    assert "output  21" in str(other.result)


def test_a_loop_in_a_cell_is_no_cell_that_runs_again(session: Kernel) -> None:
    session.check("%%flujo step\ndef begin():\n    return 1", cell_id="A")
    session.check("%%flujo step --no-run\ndef grow(x):\n    return x + 1", cell_id="B")
    session.check("for _ in range(3):\n    %flujo run grow", cell_id="C")
    assert session.check("flujo.head.output").result == "4"
    session.check("for _ in range(3):\n    %flujo run grow", cell_id="C")
    assert session.check("flujo.head.output").result == "4"


def test_a_failing_step_is_a_short_red_cell_and_changes_nothing(session: Kernel) -> None:
    session.check("%%flujo step\ndef begin():\n    return {'a': 1}")
    failed = session.run("%%flujo step\n# a comment\ndef boom(rows):\n    return rows['missing']")
    assert failed.status == "error"
    assert failed.error is not None
    assert len(failed.error.text.splitlines()) <= 12
    assert "c[2]/boom" in failed.error.text
    assert "Cell In[3], line 4, in boom" in failed.error.text
    assert "return rows['missing']" in failed.error.text
    assert session.check("flujo.head.id, flujo.head.output").result == "('f0', {'a': 1})"
    after = session.check("%%flujo step\ndef fine(rows):\n    return len(rows)")
    assert first_line(after).split("   ")[1] == "← f0.output (boom failed after it)"


def test_a_full_traceback_can_be_had(session: Kernel) -> None:
    session.check("%config Flujo.short_errors = False")
    failed = session.run("%%flujo step\ndef boom():\n    return {}['missing']")
    assert failed.error is not None
    assert "Traceback (most recent call last)" in failed.error.text
    assert "KeyError" in failed.error.text


def test_own_asyncio_objects_work_inside_steps(session: Kernel) -> None:
    session.check(
        "import asyncio\nqueue = asyncio.Queue()\n"
        "async def feed():\n    await asyncio.sleep(0.05)\n    await queue.put('fed')\n"
        "feeding = asyncio.create_task(feed())"
    )
    got = session.check("%%flujo step -i queue\nasync def take(q):\n    return await q.get()")
    assert "output  'fed'" in str(got.result)
    assert "input shared, not copied: Queue" in str(got.result)


def test_output_lands_in_the_cell_that_made_it(session: Kernel) -> None:
    for code in (
        "%%flujo step\ndef says():\n    print('hello from the step')",
        "%%capture\n%flujo run says",
        "%%time\n%flujo run says",
    ):
        cell = session.check(code)
        expected = 0 if code.startswith("%%capture") else 1
        assert cell.stdout.count("hello from the step") == expected


def test_loading_twice_is_harmless_and_unloading_leaves_nothing(fresh_kernel: Kernel) -> None:
    state = (
        "ip = get_ipython()\n"
        "sorted(set(dir(__import__('builtins')))), len(ip.input_transformers_post), "
        "len(ip.input_transformers_cleanup), len(ip.Completer.custom_matchers), "
        "[type(one).__name__ for one in ip.configurables if type(one).__name__ == 'Flujo'], "
        "sorted(m for kind in ip.magics_manager.magics.values() for m in kind), "
        "sorted((name, len(calls)) for name, calls in ip.events.callbacks.items()), "
        "'flujo' in ip.user_ns"
    )
    before = fresh_kernel.check(state).result
    fresh_kernel.check("%load_ext flujo_nb")
    fresh_kernel.check("%load_ext flujo_nb")
    fresh_kernel.check("%reload_ext flujo_nb")
    fresh_kernel.check("%%flujo step\ndef one():\n    return 1")
    fresh_kernel.check("%unload_ext flujo_nb")
    assert fresh_kernel.check(state).result == before


def test_a_name_that_is_taken_stays_the_users(fresh_kernel: Kernel) -> None:
    fresh_kernel.check("flujo = 'mine'")
    fresh_kernel.check("%load_ext flujo_nb")
    assert fresh_kernel.check("flujo").result == "'mine'"
    fresh_kernel.check("%unload_ext flujo_nb")
    assert fresh_kernel.check("flujo").result == "'mine'"


def test_loading_is_light(fresh_kernel: Kernel) -> None:
    heavy = "{'nbformat', 'nbclient', 'nbconvert', 'ipywidgets', 'matplotlib', 'pandas', 'numpy'}"
    fresh_kernel.check("import sys; before = set(sys.modules)")
    fresh_kernel.check("%load_ext flujo_nb")
    fresh_kernel.check("%%flujo step\ndef one():\n    return 1")
    loaded = fresh_kernel.check(f"sorted({heavy} & (set(sys.modules) - before))")
    assert loaded.result == "[]"


def test_completion_in_a_kernel(session: Kernel) -> None:
    session.check("%%flujo step\ndef collect():\n    return 1")
    assert session.complete("%flujo ru") == ["run"]
    assert session.complete("x = %flujo run col") == ["collect"]
    assert session.complete("%flujo show ") == ["f0"]
    assert session.complete("for _ in [1]:\n    %flujo run collect --fr") == ["--from"]


@pytest.mark.parametrize(
    "call",
    ["await flujo.run('seed', input=[99])", "flujo.run_sync('seed', input=[99])"],
    ids=["awaited", "bridge"],
)
def test_a_run_inside_a_step_leaves_head_alone(session: Kernel, call: str) -> None:
    session.check("%%flujo step seed -i [3, 1]\ndef seed(x):\n    return sorted(x)", cell_id="A")
    outer = f"%%flujo step\nasync def outer(x):\n    {call}\n    return [*x, 0]"
    first = session.check(outer, cell_id="B")
    again = session.check(outer, cell_id="B")
    for cell in (first, again):
        assert first_line(cell).split("   ")[1] == "← f0.output"
        assert "output  list of 3: [1, 3, 0]" in str(cell.result)
    assert "ran again from f0" in str(again.result)
    assert session.check("flujo.head.name").result == "'outer'"


def test_a_second_press_stops_tasks_of_a_steps_own_that_block(session: Kernel) -> None:
    running = session.start(
        "%%flujo step\nimport asyncio\nasync def both():\n    async def spin():\n"
        "        print('started', flush=True)\n        while True:\n            sum(range(1000))\n"
        "    await asyncio.gather(spin(), spin())"
    )
    session.wait_for(running, "started")
    session.interrupt()
    time.sleep(0.3)
    assert session.interrupted(running) <= 2
    assert running.status == "error"
    assert session.check("flujo.frames['f0'].status").result == "'interrupted'"


def test_a_cell_that_does_not_compile_is_told_in_a_few_lines(session: Kernel) -> None:
    failed = session.run("%%flujo step\n# first\ndef f(x:\n    return x")
    assert failed.error is not None
    lines = failed.error.text.splitlines()
    assert lines[0] == "Cell In[2], line 3"
    assert lines[-1].startswith("SyntaxError: ")
    assert len(lines) <= 5
    assert session.check("len(flujo.frames), len(flujo.steps)").result == "(0, 0)"


def test_a_setting_that_does_not_fit_does_not_keep_the_extension_from_loading(
    fresh_kernel: Kernel,
) -> None:
    fresh_kernel.check(
        "from traitlets.config import Config\n"
        "get_ipython().config.merge(Config({'Flujo': {'after_failure': 'never'}}))"
    )
    loading = fresh_kernel.check("%load_ext flujo_nb")
    assert "the defaults of Flujo are in force" in loading.stderr
    assert fresh_kernel.check("%flujo").result is not None
    fresh_kernel.check("%unload_ext flujo_nb")
    assert fresh_kernel.check("'Flujo' in get_ipython().config").result == "False"
