"""Run as a cell in the kernel of ``test_interrupts_more``: steps to interrupt, and what to ask."""

import asyncio
import json
import os
import signal
import threading
import time

from IPython import get_ipython

from flujo_nb import Metered, Step, Usage, UsageEstimate, UsageLimits, magics, step  # noqa: F401
from flujo_nb.engine.store.sqlite import SqliteStore

ran, cleaned, waits_s, cleans_s = [], [], [30], [30]
writes = {"count": 0, "slow": 0}


def session():
    return magics._extensions[id(get_ipython())].front.session


def reserved():
    return str(session().quota.reserved)


def facts():
    now = session()
    print(
        json.dumps(
            {
                "head": now.head and now.head.id,
                "frames": [[one.id, one.name, one.status.value] for one in now.entries],
                "is_free": now.quota.reserved == Usage(),
                "spent": now.quota.spent.tokens,
                "ran": ran,
                "cleaned": cleaned,
            }
        )
    )


async def quiet():
    """Wait for the threads of steps, which nothing can stop."""
    left = [one for one in threading.enumerate() if "flujo blocks" in one.name]
    for one in left:
        await asyncio.to_thread(one.join)


def slow(plain):
    async def write(self, *given):
        writes["count"] += 1
        if writes["count"] == writes["slow"]:
            print("writing", flush=True)
            await asyncio.sleep(0.5)  # as while another process holds the lock
        return await plain(self, *given)

    return write


SqliteStore.append, SqliteStore.answer = slow(SqliteStore.append), slow(SqliteStore.answer)


@step
def begin(x):
    return x


@step
def paid(x):
    ran.append("paid")
    return Metered(x, Usage.of(tokens=10))


@step
async def waits(x):
    print("begun", flush=True)
    await asyncio.sleep(waits_s[0])
    ran.append("waits")
    return x


@step
async def pressed(after):
    """Ends in a moment; ``after`` that many seconds somebody presses the button."""
    threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)).start()
    await asyncio.sleep(0.05)


@step
async def cleans(x):
    print("begun", flush=True)
    try:
        await asyncio.sleep(30)
    finally:
        print("cleaning", flush=True)
        await asyncio.sleep(cleans_s[0])
        cleaned.append(x)


@step
def spins(x):
    print("begun", flush=True)
    while True:
        pass


@step
async def streams(x):
    try:
        for number in range(1000):
            yield f"{number} "
            if number == 3:
                print("begun", flush=True)
            await asyncio.sleep(waits_s[0] / 1000)
    finally:
        await asyncio.sleep(0.05)
        cleaned.append("stream")


@step(estimate=UsageEstimate(tokens=100, cost_usd=0.5))
async def costly(x):
    print("begun", reserved(), flush=True)
    await asyncio.sleep(waits_s[0])
    return Metered(x, Usage.of(tokens=20))


class Asked:
    async def run(self, data, *, meter):
        meter.used = Usage.of(tokens=7)
        print("begun", reserved(), flush=True)
        await asyncio.sleep(waits_s[0])
        return data


asked = Step.from_callable(Asked(), name="asked", estimate=UsageEstimate(tokens=100))
ask = Step.human_in_the_loop("ask", "Go?")


@step
def blocks(x):
    time.sleep(0.3)
    ran.append(x)
    return x


@step
async def lingers(x):
    if x == 49:
        print("begun", flush=True)
    await asyncio.sleep(waits_s[0] if x > 20 else 0)
    ran.append(x)
    return x


either = Step.branch_on("either", lambda x: x % 10 == 9 and x != 49, {True: blocks, False: lingers})
several = Step.map_over("several", lingers, max_concurrency=50)
fan = Step.map_over("fan", either, max_concurrency=50)
