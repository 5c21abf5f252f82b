"""What the front must do on every pair of ipykernel and IPython, as a function of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.kernel.harness import Kernel
from tests.kernel.places import PLACES, REFUSED, STEPS, check_place, check_refused

SOON = 1.0
LOAD = "%load_ext flujo_nb"
OF_KERNELSPEC = ("--IPKernelApp.extra_extensions=flujo_nb",)

Scenario = Callable[[Kernel], None]

_STATE = (
    "ip = get_ipython()\n"
    "sorted(set(dir(__import__('builtins')))), len(ip.input_transformers_post), "
    "len(ip.input_transformers_cleanup), len(ip.Completer.custom_matchers), "
    "[type(one).__name__ for one in ip.configurables if type(one).__name__ == 'Flujo'], "
    "sorted(m for kind in ip.magics_manager.magics.values() for m in kind), "
    "sorted((name, len(calls)) for name, calls in ip.events.callbacks.items()), "
    "'flujo' in ip.user_ns, 'Flujo' in ip.config"
)


def prepared(kernel: Kernel) -> Kernel:
    """The kernel with the extension and the steps of the scenarios."""
    kernel.check(LOAD)
    kernel.check(STEPS)
    return kernel


def load_twice(kernel: Kernel) -> None:
    kernel.check(LOAD)
    kernel.check("named = flujo")
    kernel.check(LOAD)
    assert kernel.check("named is flujo").result == "True"
    assert "%%flujo step" in str(kernel.check("%flujo").result)


def first_use_in_the_cell_that_loads(kernel: Kernel) -> None:
    cell = kernel.check(f"{LOAD}\n{STEPS}\nr = %flujo run inc -i 1\nprint('got', r.output)")
    assert "inc of 1\ngot 2" in cell.stdout
    cell = kernel.check("%%flujo step\ndef double(x):\n    return 2 * x")
    assert "← f0.output" in str(cell.result) and "output  4" in str(cell.result)


def loaded_by_the_kernelspec(kernel: Kernel) -> None:
    assert "%%flujo step" in str(kernel.check("%flujo").result)
    cell = kernel.check("%%flujo step -i 1\ndef own(x):\n    return x + 1")
    assert "output  2" in str(cell.result)
    assert "awaited" in str(kernel.check("%flujo doctor").result)


def unload(kernel: Kernel) -> None:
    before = kernel.check(_STATE).result
    prepared(kernel)
    for code in ("%flujo run inc -i 1", "%%time\n%flujo run inc -i 1", "%flujo frames"):
        kernel.check(code)
    assert kernel.complete("%flujo ru") == ["run"]
    kernel.check("%unload_ext flujo_nb")
    assert kernel.check(_STATE).result == before
    assert kernel.leftovers() == []
    gone = kernel.run("%flujo")
    assert "not found" in gone.stderr + (gone.error.text if gone.error else "")
    assert kernel.run("flujo").error is not None
    assert kernel.complete("%flujo ru") != ["run"]


def run(kernel: Kernel) -> None:
    cell = kernel.check("%%flujo step -i 2\ndef double(x):\n    return 2 * x")
    assert "double   ← -i" in str(cell.result) and "output  4" in str(cell.result)
    number = cell.outputs[0]["execution_count"]
    assert [out["output_type"] for out in cell.outputs] == ["execute_result"]
    assert kernel.check("_.output").result == "4"
    assert kernel.check(f"Out[{number}].output").result == "4"
    shown = kernel.check("%flujo run inc")
    assert ".output" in str(shown.result).splitlines()[0] and "output  5" in str(shown.result)
    assert kernel.check("%flujo run inc;").result is None
    assert kernel.check("x = %flujo run inc -i 1\nx.output").result == "2"


def fail(kernel: Kernel) -> None:
    kernel.check("%flujo run inc -i 1")
    head = kernel.check("flujo.head.id").result
    for code in ("%flujo run boom", "def f():\n    %flujo run boom\nf()"):
        cell = kernel.run(code)
        assert cell.status == "error" and cell.error is not None
        assert len(cell.error.text.splitlines()) <= 8
        assert "boom failed at" in cell.error.text and "ValueError: no 2" in cell.error.text
        assert kernel.check("flujo.head.id").result == head
    assert "UsageError" in kernel.run("%flujo runn").stderr


def interrupt(kernel: Kernel, code: str) -> None:
    cell = kernel.start(code)
    kernel.wait_for(cell, "started")
    took = kernel.interrupted(cell)
    assert cell.status == "error" and cell.error is not None
    assert "interrupted" in cell.error.text
    assert took <= SOON
    assert kernel.is_alive() and kernel.leftovers() == []
    assert "output  2" in str(kernel.check("%flujo run inc -i 1").result)


def without_autoawait(kernel: Kernel, runner: str) -> None:
    kernel.check(f"%autoawait {runner}")
    try:
        assert kernel.check("x = %flujo run inc -i 1\nx.output").result == "2"
        cell = kernel.check("%%flujo step -i 1\nasync def own(x):\n    return x + 1")
        assert "output  2" in str(cell.result)
        assert "%autoawait" in str(kernel.check("%flujo doctor").result)
    finally:
        kernel.check("%autoawait asyncio")
    in_one_cell = kernel.check(f"%autoawait {runner}\n%flujo run inc -i 1\n%autoawait asyncio")
    assert in_one_cell.stdout == "inc of 1\n"


def complete(kernel: Kernel) -> None:
    assert kernel.complete("%flujo ru") == ["run"]
    assert "step" in kernel.complete("%%flujo ste")
    assert kernel.complete("x = %flujo run boo") == ["boom"]
    assert kernel.complete("for _ in [1]:\n    %flujo run inc --fr") == ["--from"]


IN_ONE_KERNEL: dict[str, Scenario] = {
    "run": run,
    "fail": fail,
    "complete": complete,
    **{f"place: {name}": partial(check_place, place=place) for name, place in PLACES.items()},
    **{f"refuse: {name}": partial(check_refused, code=code) for name, code in REFUSED.items()},
    "autoawait: off": partial(without_autoawait, runner="off"),
    "autoawait: sync": partial(without_autoawait, runner="sync"),
    "interrupt: an await": partial(interrupt, code="%flujo run waits -i 1"),
    "interrupt: a Python loop": partial(interrupt, code="%flujo run spins -i 1"),
    "interrupt: an await over the bridge": partial(
        interrupt, code="def f():\n    %flujo run waits -i 1\nf()"
    ),
    "interrupt: a loop over the bridge": partial(
        interrupt, code="def f():\n    %flujo run spins -i 1\nf()"
    ),
}
IN_ITS_OWN_KERNEL: dict[str, tuple[Scenario, tuple[str, ...]]] = {
    "load: twice": (load_twice, ()),
    "load: first use in the same cell": (first_use_in_the_cell_that_loads, ()),
    "load: by the kernelspec": (loaded_by_the_kernelspec, OF_KERNELSPEC),
    "unload": (unload, ()),
}
