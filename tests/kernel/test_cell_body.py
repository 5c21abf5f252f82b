"""The body of a cell magic behaves as a cell does, and raises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.harness import Kernel

TOY = (Path(__file__).parent / "toy.py").read_text()


@pytest.fixture(scope="module", autouse=True)
def toy(kernel: Kernel) -> None:
    kernel.check(TOY)


def test_the_body_is_a_cell(kernel: Kernel) -> None:
    cell = kernel.check(
        "%%toy body\n"
        "import inspect\n"
        "%matplotlib inline\n"
        "!echo from the shell\n"
        "out = !echo assigned\n"
        "await asyncio.sleep(0)\n"
        "def f():\n"
        "    return 1\n"
        "r = %toy echo nested\n"
        "out[0], r, inspect.getsource(f)"
    )
    assert cell.result == repr(("assigned", "nested", "def f():\n    return 1\n"))
    assert "from the shell" in cell.stdout
    assert kernel.check("f() + 1").result == "2"


def test_nothing_of_the_body_is_displayed_twice(kernel: Kernel) -> None:
    kernel.check(
        "fired = []\n"
        "def before(info): fired.append('pre')\n"
        "def after(result): fired.append('post')\n"
        "shell.events.register('pre_run_cell', before)\n"
        "shell.events.register('post_run_cell', after)"
    )
    kernel.check("fired.clear()")
    cell = kernel.check("%%toy body\n'value'")
    assert [out["output_type"] for out in cell.outputs] == ["execute_result"]
    number = cell.outputs[0]["execution_count"]
    assert kernel.check(f"print(fired, Out[{number}])").stdout == (
        "['post', 'pre', 'post', 'pre'] value\n"
    )
    following = kernel.check("'next'")
    assert following.outputs[0]["execution_count"] == cell.outputs[0]["execution_count"] + 2
    kernel.check("shell.events.unregister('pre_run_cell', before)")
    kernel.check("shell.events.unregister('post_run_cell', after)")


HEADS = [
    "%%toy body\n",
    "# one\n\n#| two\n%%toy body\n",
    "\n\n%%toy body\n",
    "%%toy body\n\n    \n",
    "%%time\n%%toy body\n",
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("await_", ["", "await asyncio.sleep(0)\n"])
def test_an_error_of_the_body_has_the_line_of_the_cell(
    kernel: Kernel, head: str, await_: str
) -> None:
    code = f"{head}{await_}def fails():\n    return 1 / 0\n\nfails()\nprint('not reached')"
    cell = kernel.run(code)
    assert cell.error is not None and cell.error.name == "ZeroDivisionError"
    number = code.split("\n").index("fails()") + 1
    assert f"line {number}\n" in cell.error.text
    assert f"----> {number} fails()" in cell.error.text
    assert f"----> {number - 2}     return 1 / 0" in cell.error.text
    assert "flujo_nb" not in cell.error.text and "user_code.py" not in cell.error.text
    assert "not reached" not in cell.stdout


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("line", ["def f(:", "return 1", "1 1", "  x = 1", "[%toy echo 1]"])
def test_a_body_that_does_not_compile_is_not_run(kernel: Kernel, head: str, line: str) -> None:
    kernel.check("ran = False")
    code = f"{head}ran = True\n\n{line}"
    cell = kernel.run(code)
    assert cell.error is not None
    last = cell.error.text.splitlines()[-1]
    assert last.startswith(("SyntaxError: ", "IndentationError: "))
    assert f"line {code.count(chr(10)) + 1}" in cell.error.text
    assert "guarded" not in cell.error.text and "run_bridged" not in cell.error.text
    assert kernel.check("ran").result == "False"


def test_the_body_may_import_from_the_future(kernel: Kernel) -> None:
    kernel.check("%%toy body\nfrom __future__ import annotations\ndef f(x: unknown): pass")
    assert kernel.check("f.__annotations__").result == "{'x': 'unknown'}"


def test_the_body_may_be_run_where_there_is_no_cell(kernel: Kernel) -> None:
    kernel.check("async def f():\n    return await run_body(shell, 'x = 20\\nx + 1')")
    cell = kernel.check("body = await asyncio.create_task(f())\nprint(body.value, body.tree.body)")
    assert cell.stdout.startswith("21 [<ast.Assign")


def test_names_may_stand_before_the_variables(kernel: Kernel) -> None:
    cell = kernel.check(
        "from collections import ChainMap\n"
        "x, names = 1, {'x': 10}\n"
        "body = await run_body(shell, 'y = x + 1\\ny', ChainMap(names, shell.user_ns))\n"
        "print(body.value, names)"
    )
    assert cell.stdout == "11 {'x': 10, 'y': 11}\n"


def test_the_cell_of_a_command_is_known(kernel: Kernel) -> None:
    kernel.check("from flujo_nb.cell_body import current_cell")
    cell = kernel.check("%%toy body\ncurrent_cell(shell).text")
    assert cell.result == repr("%%toy body\ncurrent_cell(shell).text")
    cell = kernel.check("def f():\n    %toy echo 1\nprint(current_cell(shell).text[:5])")
    assert cell.stdout == "def f\n"
    assert kernel.check("current_cell(shell).id", cell_id="a1").result == "'a1'"


def test_a_cell_magic_that_is_called_as_a_function(kernel: Kernel) -> None:
    code = "x = 1\nget_ipython().run_cell_magic('toy', 'body', 'y = 2\\n1/0')"
    cell = kernel.run(code)
    assert cell.error is not None
    assert "line 2\n      1 x = 1\n----> 2 get_ipython()" in cell.error.text.replace("(await ", "")
    assert "line 2\n      1 y = 2\n----> 2 1/0" in cell.error.text
