"""Run as a cell in the kernels of the tests: a magic ``%toy`` on `Awaiting`, without a session."""

import asyncio
import time

from IPython import get_ipython
from IPython.display import display

from flujo_nb.awaiting import Awaiting, guarded, run_body, run_bridged  # noqa: F401 - for cells
from flujo_nb.engine.user_code import run_inline

shell = get_ipython()
ways = []
cleaned = []


def busy(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def sleepy(seconds):
    time.sleep(seconds)


def trivial():
    pass


def swallowing(seconds):
    try:
        busy(seconds)
    except KeyboardInterrupt:
        print("swallowed", flush=True)
    return "partial"


async def napping(seconds):
    print("begun", flush=True)
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.sleep(0.01)
        cleaned.append("nap")


async def working(function, seconds):
    print("begun", flush=True)
    try:
        return run_inline(function, seconds)
    finally:
        await asyncio.sleep(0.01)
        cleaned.append("work")


async def many():
    print("begun", flush=True)
    for _ in range(10**8):
        run_inline(trivial)


async def echo(words):
    await asyncio.sleep(0)
    print("printed", *words)
    display(" ".join(words))
    return " ".join(words)


async def handler(line, cell):
    ways.append(awaiting.last_way.kind)
    match line.split():
        case ["echo", *words]:
            return await echo(words)
        case ["nap"]:
            return await napping(30)
        case ["busy"]:
            return await working(busy, 30)
        case ["sleep", seconds]:
            return await working(sleepy, float(seconds))
        case ["gather"]:
            return await asyncio.gather(asyncio.sleep(30), working(busy, 30))
        case ["body"]:
            return (await run_body(shell, cell)).value
        case other:
            raise ValueError(other)


awaiting = Awaiting(shell, "toy", handler)
awaiting.install()
