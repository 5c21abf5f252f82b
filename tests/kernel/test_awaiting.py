"""Where a call may stand, how it is run there, and where its output lands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel.harness import Kernel

TOY = (Path(__file__).parent / "toy.py").read_text()

PLACES = {
    "top": ("%toy echo 1", "awaited"),
    "top, after a statement": ("x = 1\n%toy echo 1", "awaited"),
    "assignment": ("r = %toy echo 1\nprint('got', r)", "awaited"),
    "cell magic": ("%%toy echo 1\nany text", "awaited"),
    "cell magic after comments": ("# a comment\n#| label: x\n\n%%toy echo 1\nany", "awaited"),
    "for": ("for i in range(1):\n    %toy echo 1", "awaited"),
    "if": ("if True:\n    %toy echo 1", "awaited"),
    "try": ("try:\n    %toy echo 1\nexcept ValueError:\n    pass", "awaited"),
    "finally": ("try:\n    pass\nfinally:\n    %toy echo 1", "awaited"),
    "with": ("import io\nwith io.StringIO():\n    %toy echo 1", "awaited"),
    "async def": ("async def f():\n    %toy echo 1\nawait f()", "awaited"),
    "async def in def": (
        "def f():\n    async def g():\n        %toy echo 1\n    return g()\nawait f()",
        "awaited",
    ),
    "a task of the user's": (
        "async def f():\n    %toy echo 1\nawait asyncio.create_task(f())",
        "awaited",
    ),
    "semicolon": ("%toy echo 1;", "awaited"),
    "def": ("def f():\n    %toy echo 1\nf()", "bridge"),
    "lambda": ("(lambda: get_ipython().run_line_magic('toy', 'echo 1'))()", "bridge"),
    "class body": ("class C:\n    %toy echo 1", "bridge"),
    "def in async def": (
        "async def f():\n    def g():\n        %toy echo 1\n    g()\nawait f()",
        "bridge",
    ),
    "comprehension": ("[get_ipython().run_line_magic('toy', 'echo 1') for _ in 'a']", "bridge"),
    "%time": ("%time get_ipython().run_line_magic('toy', 'echo 1')", "bridge"),
    "%%time": ("%%time\n%toy echo 1", "bridge"),
    "%%time of the cell magic": ("%%time\n%%toy echo 1\nbody", "bridge"),
    "%%timeit": ("%%timeit -n1 -r1\n%toy echo 1", "bridge"),
    "%%prun": ("%%prun -q\n%toy echo 1", "bridge"),
    "%%capture": ("%%capture captured\n%toy echo 1", "bridge"),
    "%run": ("open('x.ipy', 'w').write('%toy echo 1\\n')\n%run x.ipy", "bridge"),
    "in an awaited cell": ("await asyncio.sleep(0)\n%time %toy echo 1", "bridge"),
    "run_cell in a task": (
        "async def f():\n    shell.run_cell('%toy echo 1')\nawait asyncio.create_task(f())",
        "bridge",
    ),
    "as a function": ("get_ipython().run_line_magic('t' + 'oy', 'echo 1')", "bridge"),
}


@pytest.fixture(scope="module", autouse=True)
def toy(kernel: Kernel) -> None:
    kernel.check(TOY)


@pytest.mark.parametrize(("code", "way"), PLACES.values(), ids=PLACES)
def test_every_place_of_a_call(kernel: Kernel, code: str, way: str) -> None:
    kernel.check("ways.clear()")
    cell = kernel.check(code)
    assert kernel.check("print(ways)").stdout == f"['{way}']\n"
    assert ("printed 1" in cell.stdout) != ("capture" in code)


def test_rerun_is_bridged(kernel: Kernel) -> None:
    kernel.check("%toy echo again")
    kernel.check("ways.clear()")
    cell = kernel.check("%rerun -g again")
    assert "printed again" in cell.stdout
    assert kernel.check("print(ways)").stdout == "['bridge']\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("%toy echo 1", "the cell runs on the kernel's own loop"),
        ("def f():\n    %toy echo 1\nf()", "await is not allowed in `f`"),
        ("%%time\n%toy echo 1", "another command ran the call"),
    ],
)
def test_the_way_has_a_reason(kernel: Kernel, code: str, reason: str) -> None:
    kernel.check(code)
    assert reason in kernel.check("print(awaiting.last_way.reason)").stdout


@pytest.mark.parametrize("runner", ["off", "sync"])
def test_without_autoawait_calls_are_bridged(kernel: Kernel, runner: str) -> None:
    kernel.check(f"%autoawait {runner}")
    try:
        assert kernel.check("%toy echo 1").result == "'1'"
        assert kernel.check("awaiting.last_way.kind").result == "'bridge'"
        assert "%autoawait" in kernel.check("print(awaiting.last_way.reason)").stdout
        assert kernel.check("%%toy body\n%toy echo 2").result == "'2'"
    finally:
        kernel.check("%autoawait asyncio")


@pytest.mark.parametrize(
    "code", ["%toy echo a b", "get_ipython().run_line_magic('toy', 'echo a b')"]
)
def test_a_value_is_displayed_by_itself(kernel: Kernel, code: str) -> None:
    cell = kernel.check(code)
    assert cell.result == "'a b'"
    assert [out["output_type"] for out in cell.outputs].count("execute_result") == 1
    assert kernel.check("_").result == "'a b'"


@pytest.mark.parametrize(
    "call", ["%toy echo a;", "r = %toy echo a;", "%%toy body;\n1", "%%toy body\n1;"]
)
@pytest.mark.parametrize("autoawait", ["asyncio", "off"])
def test_a_trailing_semicolon_silences(kernel: Kernel, call: str, autoawait: str) -> None:
    kernel.check(f"%autoawait {autoawait}\nr = None")
    try:
        assert kernel.check(call).result is None
        assert kernel.check("r").result == ("'a'" if "r =" in call else None)
    finally:
        kernel.check("%autoawait asyncio")


def test_the_first_use_in_the_cell_that_installs(fresh_kernel: Kernel) -> None:
    cell = fresh_kernel.check(TOY + "\nr = %toy echo 1;\nprint(r, awaiting.last_way.kind)")
    assert "1 bridge" in cell.stdout


def test_output_lands_in_its_own_cell(kernel: Kernel) -> None:
    first = kernel.start(
        "async def later():\n"
        "    await asyncio.sleep(0.2)\n"
        "    %toy echo first\n"
        "task = asyncio.create_task(later())"
    )
    second = kernel.start("def f():\n    %toy echo bridged\nf()")
    third = kernel.start("%toy echo third\nawait asyncio.sleep(0.3)")
    for cell in (first, second, third):
        kernel.finish(cell)
    assert first.stdout == "printed first\n" and first.displays == ["'first'"]
    assert second.stdout == "printed bridged\n" and second.displays == ["'bridged'"]
    assert third.stdout == "printed third\n" and third.displays == ["'third'"]


def test_the_users_own_asyncio_objects_work(kernel: Kernel) -> None:
    kernel.check("inbox = asyncio.Queue()\nreceived = asyncio.Event()")
    kernel.check(
        "async def take():\n"
        "    item = await inbox.get()\n"
        "    received.set()\n"
        "    return item\n"
        "taker = asyncio.create_task(take())"
    )
    kernel.check("%%toy body\nawait inbox.put('x')\nawait received.wait()")
    assert kernel.check("await taker").result == "'x'"


def test_install_and_uninstall_leave_nothing(kernel: Kernel) -> None:
    state = (
        "print([sorted(shell.magics_manager.magics[k]) for k in ('line', 'cell')],"
        " shell.input_transformers_post, shell.input_transformers_cleanup,"
        " {k: len(v) for k, v in shell.events.callbacks.items()},"
        " sorted(vars(shell.magics_manager.user_magics)))"
    )
    kernel.check("other = Awaiting(shell, 'other', handler)")
    before = kernel.check(state).stdout
    kernel.check("other.install(); other.install()")
    assert kernel.check(state).stdout.count("Awaiting._rewrite") == 2  # of toy and other
    assert kernel.check("%other echo 1").result == "'1'"
    kernel.check("other.uninstall(); other.uninstall()")
    assert kernel.check(state).stdout == before
    cell = kernel.run("%other echo 1")
    assert "not found" in cell.stderr


def test_a_shell_without_a_kernel(tmp_path: Path) -> None:
    cells = ["%toy echo 1", "%%capture\n%toy echo 1", "def f():\n    %toy echo 1\nf()"]
    program = (
        "from traitlets.config import Config\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "config = Config({'HistoryManager': {'enabled': False}})\n"
        f"shell = InteractiveShell.instance(config=config, ipython_dir={str(tmp_path)!r})\n"
        f"shell.run_cell({TOY!r}).raise_error()\n"
        f"for cell in {cells!r}: shell.run_cell(cell).raise_error()\n"
        "print(shell.user_ns['ways'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1:] == ["['awaited', 'awaited', 'bridge']"], done.stderr
