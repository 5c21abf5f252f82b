"""The Python in the pages that tell how to write some: it runs, and does what they say."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import cast

import pytest

from flujo_nb.cli import main
from flujo_nb.engine.store.owners import this_process
from flujo_nb.engine.store.sqlite import SqliteStore
from tests.house.tree import ROOT
from tests.runs import row


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


def test_the_run_that_survives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    [code] = blocks("docs/durable-runs.md")
    main = cast(Callable[[], Coroutine[None, None, None]], run(code)["main"])
    asyncio.run(main())
    assert capsys.readouterr().out.splitlines() == [
        "paused ['ask']",
        "completed ['draft', 'publish']",
        "True ['draft', 'publish']",
        "ABOUT SPRING ['draft', 'publish', 'publish']",
    ]


def test_the_program_that_reads_an_exported_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    async def keep() -> None:
        store = SqliteStore(tmp_path / "flujo.db")
        lease = await store.create("night-7", b"{}", this_process())
        await store.append(
            lease,
            [
                row(1, "draft", b'{"e":{"type":"Boom","message":"no"}}', status="failure"),
                row(2, "draft", b'{"o":"text"}', tokens=12),
                row(3, "draft", b'{"o":true}', kind="decision", status=None, tokens=3),
            ],
            {},
        )
        await store.rest(lease, "completed", (), {})
        await store.aclose()

    asyncio.run(keep())
    words = ["runs", "export", "night-7", "--store", "flujo.db", "--output", "night-7.json"]
    assert main(words) == 0
    capsys.readouterr()
    (code,) = blocks("docs/runs.md")
    assert "flujo" not in code
    run(code)
    assert capsys.readouterr().out == "draft success text\n15 tokens\n"


def test_every_member_of_an_export_is_described() -> None:
    schema = json.loads((ROOT / "docs/run-export.schema.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs/runs.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", page))))
    members = schema["properties"]
    described = {
        *members,
        *members["run"]["properties"],
        *members["answers"]["items"]["properties"],
        *members["entries"]["items"]["properties"],
    }
    assert [name for name in sorted(described) if name not in words] == []
