"""The Python in the pages that tell how to write some: it runs, and does what they say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import cast

import pytest

from tests.house.tree import ROOT


def blocks(page: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run(code: str) -> dict[str, object]:
    namespace: dict[str, object] = {}
    compiled = compile(code, "page", "exec", dont_inherit=True)
    exec(compiled, namespace)  # noqa: S102  # a page of ours
    return namespace


def test_the_pipeline_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = blocks("README.md")
    main = cast(Callable[[], Coroutine[None, None, None]], run(code)["main"])
    asyncio.run(main())
    paused, done = capsys.readouterr().out.splitlines()
    assert paused.startswith("paused [('ask', 'Publish {")
    assert done == "published 2"


def test_the_agent_of_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    run(blocks("README.md")[1])
    assert capsys.readouterr().out.startswith("A haiku. ")


def test_the_pipeline_that_came_from_flujo(capsys: pytest.CaptureFixture[str]) -> None:
    _, imports, pipeline, *_ = blocks("docs/migrating.md")
    run(imports + pipeline)
    assert capsys.readouterr().out == "answered (urgent) 1\n"


def test_the_hook_that_came_from_flujo(capsys: pytest.CaptureFixture[str]) -> None:
    run(blocks("docs/migrating.md")[3])
    assert capsys.readouterr().out == "['divide']\n"


def test_the_policy_that_came_from_flujo(capsys: pytest.CaptureFixture[str]) -> None:
    *_, policy, _ = blocks("docs/migrating.md")
    run(policy)
    assert capsys.readouterr().out == "42 True\n"


def test_the_stand_ins(capsys: pytest.CaptureFixture[str]) -> None:
    run(blocks("docs/migrating.md")[-1])
    assert capsys.readouterr().out == "a draft ['write']\n"
