"""Every place of a cell that a call of ``%flujo`` can stand in, and what comes of it there."""

from __future__ import annotations

from dataclasses import dataclass

from tests.kernel.harness import Kernel

STEPS = """
import asyncio, contextlib
from flujo_nb import step

shell = get_ipython()

@step
async def inc(x: int) -> int:
    await asyncio.sleep(0)
    print("inc of", x)
    return x + 1

@step
def boom(x: int) -> int:
    raise ValueError(f"no {x}")

@step
async def waits(x: int) -> int:
    print("started", flush=True)
    await asyncio.sleep(30)

@step
def spins(x: int) -> int:
    print("started", flush=True)
    while True:
        pass
"""
_CALL = "get_ipython().run_line_magic('flujo', 'run inc -i 1')"


@dataclass(frozen=True)
class Place:
    """A cell with one call, which runs ``inc`` on 1; how it is run, and what hides its output."""

    code: str
    way: str
    captures: bool = False

    def with_step(self, name: str) -> str:
        """The same cell, which runs another step."""
        return self.code.replace("run inc", f"run {name}").replace("'inc'", f"'{name}'")


AWAITED = {
    "top": "%flujo run inc -i 1",
    "behind a statement": "x = 1\n%flujo run inc -i 1",
    "semicolon": "%flujo run inc -i 1;",
    "assignment": "r = %flujo run inc -i 1",
    "assignment to an attribute": "class C: pass\nC.r = %flujo run inc -i 1",
    "assignment with a type": "r: object = %flujo run inc -i 1",
    "cell magic": "%%flujo step -i 1\nasync def own(x: int) -> int:\n    return x + 1",
    "cell magic below comments": "# one\n#| two\n%%flujo step -i 1\ndef own(x):\n    return x + 1",
    "in the body of a cell magic": "%%flujo step --no-run\n%flujo run inc -i 1\ndef own(x): ...",
    "for": "for n in range(1):\n    %flujo run inc -i 1",
    "while": "while True:\n    %flujo run inc -i 1\n    break",
    "if": "if True:\n    %flujo run inc -i 1",
    "else": "if False:\n    pass\nelse:\n    %flujo run inc -i 1",
    "try": "try:\n    %flujo run inc -i 1\nexcept OSError:\n    pass",
    "except": "try:\n    1 / 0\nexcept ArithmeticError:\n    %flujo run inc -i 1",
    "finally": "try:\n    pass\nfinally:\n    %flujo run inc -i 1",
    "with": "with contextlib.nullcontext():\n    %flujo run inc -i 1",
    "async with": "async with contextlib.nullcontext():\n    %flujo run inc -i 1",
    "match": "match 1:\n    case 1:\n        %flujo run inc -i 1",
    "async def": "async def f():\n    %flujo run inc -i 1\nawait f()",
    "async def in def": (
        "def f():\n    async def g():\n        %flujo run inc -i 1\n    return g()\nawait f()"
    ),
    "async generator": (
        "async def f():\n    %flujo run inc -i 1\n    yield\nasync for _ in f():\n    pass"
    ),
    "a task": "async def f():\n    %flujo run inc -i 1\nawait asyncio.create_task(f())",
    "argument": f"print({_CALL}.output)",
    "await flujo.run": "await flujo.run('inc', input=1)",
    "comprehension, await flujo.run": "[await flujo.run('inc', input=n) for n in [1]]",
    "a task of flujo.run": "await asyncio.create_task(flujo.run('inc', input=1))",
    "gather of flujo.run": "await asyncio.gather(flujo.run('inc', input=1))",
}
BRIDGED = {
    "def": "def f():\n    %flujo run inc -i 1\nf()",
    "def in async def": (
        "async def f():\n    def g():\n        %flujo run inc -i 1\n    g()\nawait f()"
    ),
    "generator": "def f():\n    %flujo run inc -i 1\n    yield\nlist(f())",
    "method": "class C:\n    def f(self):\n        %flujo run inc -i 1\nC().f()",
    "class body": "class C:\n    %flujo run inc -i 1",
    "lambda": f"(lambda: {_CALL})()",
    "comprehension": f"[{_CALL} for _ in 'a']",
    "generator expression": f"list({_CALL} for _ in 'a')",
    "%time": "%time %flujo run inc -i 1",
    "%timeit": "%timeit -n1 -r1 %flujo run inc -i 1",
    "%prun": f"%prun -q {_CALL}",
    "%%time": "%%time\n%flujo run inc -i 1",
    "%%time of the cell magic": "%%time\n%%flujo step -i 1\ndef own(x):\n    return x + 1",
    "%%timeit": "%%timeit -n1 -r1\n%flujo run inc -i 1",
    "%%prun": "%%prun -q\n%flujo run inc -i 1",
    "%%capture": "%%capture captured\n%flujo run inc -i 1",
    "%run": "open('x.ipy', 'w').write('%flujo run inc -i 1\\n')\n%run -i x.ipy",
    "run_cell in a task": (
        "async def f():\n    shell.run_cell('%flujo run inc -i 1')\nawait asyncio.create_task(f())"
    ),
    "a callback of the loop": (
        "done = asyncio.Event()\ndef f():\n    done.set()\n    %flujo run inc -i 1\n"
        "asyncio.get_running_loop().call_soon(f)\nawait done.wait()"
    ),
    "a thread": "def f():\n    %flujo run inc -i 1\nawait asyncio.to_thread(f)",
    "as a function": f"{_CALL.replace('flujo', 'flu' + chr(39) + ' + ' + chr(39) + 'jo')}",
    "in an awaited cell": "await asyncio.sleep(0)\n%time %flujo run inc -i 1",
    "behind %autoawait": "%autoawait asyncio\n%flujo run inc -i 1",
    "def, flujo.run_sync": "def f():\n    return flujo.run_sync('inc', input=1)\nf()",
    "lambda, flujo.run_sync": "(lambda: flujo.run_sync('inc', input=1))()",
    "comprehension, flujo.run_sync": "[flujo.run_sync('inc', input=n) for n in [1]]",
}
PLACES = {
    name: Place(code, way, "captured" in code)
    for way, places in (("awaited", AWAITED), ("bridge", BRIDGED))
    for name, code in places.items()
}
REFUSED = {
    "lambda": "f = lambda: %flujo run inc -i 1",
    "comprehension": "[%flujo run inc -i 1 for _ in 'a']",
    "argument": "print(%flujo run inc -i 1)",
    "return": "def f():\n    return %flujo run inc -i 1",
    "augmented assignment": "x = 1\nx += %flujo run inc -i 1",
    "behind a colon": "if True: %flujo run inc -i 1",
    "the body of a cell magic": "%%flujo step\nf = lambda: %flujo run inc -i 1",
}


def frames(kernel: Kernel) -> int:
    """How many frames the session has."""
    return int(str(kernel.check("len(flujo.frames)").result))


def check_place(kernel: Kernel, place: Place) -> None:
    """The call has run once, with the right value, and its output stands in the cell."""
    before = frames(kernel)
    cell = kernel.check(place.code)
    assert frames(kernel) == before + 1
    assert kernel.check("flujo.head.output").result == "2"
    if "run" in place.code:
        assert cell.stdout.count("inc of 1") == (0 if place.captures else 1)


def check_refused(kernel: Kernel, code: str) -> None:
    """The cell does not compile, nothing has run, and the error says what to write."""
    before = frames(kernel)
    cell = kernel.run(code)
    assert cell.status == "error" and cell.error is not None
    assert cell.error.text.splitlines()[-1].startswith("SyntaxError: %flujo stands on a line")
    assert "flujo.run_sync('STEP')" in cell.error.text
    assert frames(kernel) == before
