"""``%flujo export json``: the frames as JSON, as its schema says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.durable import opener
from tests.notebook import Notebook
from tests.notebook_shapes import CONTEXT, COUNT, WORDS

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT / "docs/session-export.schema.json").read_text(encoding="utf-8"))
TOKEN = "ghp_" + "a1" * 18
MAP = (
    "%%flujo pipeline sizes -i ['a', 'be']\nfrom flujo_nb import Step\n"
    "Step.map_over('each', Step.from_callable(len, name='size'))"
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def document(notebook: Notebook, frame: str = "") -> dict[str, Any]:
    """The parsed export, which is as the schema says."""
    notebook.view(f"%flujo export json frames.json {frame} --force")
    text = Path("frames.json").read_bytes()
    assert text.isascii() and text.endswith(b"\n")
    made: dict[str, Any] = json.loads(text)
    jsonschema.validate(made, SCHEMA)
    return made


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_an_empty_session(notebook: Notebook) -> None:
    made = document(notebook)
    assert made["frames"] == []
    assert made["session"]["head"] is None


def test_every_commands_frame_is_there(notebook: Notebook) -> None:
    notebook.value(WORDS)
    notebook.value(COUNT)
    notebook.run("%%flujo step boom\ndef boom(n):\n    raise ValueError('no')")
    made = document(notebook)
    assert made["session"]["run_id"] == notebook.session.run_id
    assert (made["session"]["head"], made["session"]["steps"]) == ("f1", ["words", "count", "boom"])
    first, second, third = made["frames"]
    assert (first["id"], first["name"], first["status"]) == ("f0", "words", "completed")
    assert (first["origin"], first["parent"], first["attempts"]) == ("-i", None, 1)
    assert first["command"]["target"] == "words"
    assert first["command"]["cells"] == [{"command": "step", "cell_id": None, "execution": 1}]
    assert [one["name"] for one in first["command"]["definitions"]] == ["words"]
    assert first["output"]["value"] == ["to", "be", "or", "not", "to", "be"]
    assert first["output"]["preview"].startswith("list of 6: ['to', ")
    assert (second["parent"], second["origin"]) == ("f0", "f0.output")
    assert (second["input"]["value"], second["output"]["value"]) == (first["output"]["value"], 6)
    assert (third["status"], third["output"]) == ("failed", None)
    assert third["feedback"] == "ValueError: no"


def test_a_stale_frame_says_why(notebook: Notebook) -> None:
    notebook.value(WORDS)
    notebook.value(COUNT)
    notebook.value(WORDS.replace("split()", "upper()").replace("-i", "--no-run -i"))
    assert [one["stale"] for one in document(notebook)["frames"]] == [
        "words was edited",
        "f0 is stale: words was edited",
    ]


def test_a_frame_with_all_that_is_inside(notebook: Notebook) -> None:
    notebook.value(WORDS)
    notebook.value(MAP)
    made = document(notebook, "f1")
    whole, *inside = made["frames"]
    assert whole["inside"] == ["f1/each/[0]/size", "f1/each/[1]/size"]
    assert [one["id"] for one in inside] == whole["inside"]
    assert [one["output"]["value"] for one in inside] == [1, 2]
    assert [one["command"] for one in inside] == [None] * 2
    [alone] = document(notebook, "f1/each/[1]/size")["frames"]
    assert alone["output"]["value"] == 2
    assert "there is no frame 'f9'" in str(notebook.error("%flujo export json a.json f9"))
    assert not Path("a.json").exists()


def test_the_context_before_and_after(notebook: Notebook) -> None:
    notebook.value(CONTEXT)
    notebook.value("%flujo session --context Desk --init {'limit':2}")
    notebook.value(
        "%%flujo step add -i 1\ndef add(n, context):\n    context.seen += n\n    return n"
    )
    made = document(notebook)
    [frame] = made["frames"]
    assert made["session"]["context"]["value"] == {"seen": 0, "limit": 2, "last": None}
    assert frame["context"]["value"]["seen"] == 0
    assert frame["context_after"]["value"]["seen"] == 1


@pytest.mark.parametrize(
    ("made", "value"),
    [
        ("{'a': (1, [2.5, None, True])}", {"a": [1, [2.5, None, True]]}),
        ("datetime.date(2026, 1, 2)", "2026-01-02"),
        ("pathlib.PurePosixPath('a')", "a"),
        ("Ticket(text='a')", {"text": "a", "tags": []}),
        ("Point(1, 'hidden')", {"x": 1, "y": "«withheld»"}),
        ("Keys(key='hunter2', own='hunter2')", {"key": "«withheld»", "own": "«withheld»"}),
        ("'é\\ud800'", "é\ud800"),
    ],
)
def test_values_that_json_has_a_form_for(notebook: Notebook, made: str, value: object) -> None:
    fill(notebook)
    notebook.value(f"await flujo.run(give, input={made})")
    [frame] = document(notebook)["frames"]
    assert frame["output"]["value"] == value
    assert "hunter2" not in Path("frames.json").read_text("ascii")


@pytest.mark.parametrize(
    "made",
    ["{1: 2}", "{1, 2}", "b'a'", "object()", "float('nan')", "[len]", "10**6000", "cycle"],
)
def test_of_other_values_there_is_a_preview(notebook: Notebook, made: str) -> None:
    fill(notebook)
    notebook.value(f"await flujo.run(give, input={made})")
    [frame] = document(notebook)["frames"]
    assert frame["output"].keys() == {"preview"}


def fill(notebook: Notebook) -> None:
    notebook.value(CONTEXT)
    notebook.value(
        "import datetime, pathlib\nfrom dataclasses import dataclass, field\n"
        "from pydantic import SecretStr\n"
        "@dataclass\nclass Point:\n    x: int\n    y: str = field(repr=False)\n"
        "class Keys(BaseModel):\n    key: SecretStr\n    own: str = Field(repr=False)\n"
        "cycle = []\ncycle.append(cycle)\n"
        "def give(data): return data"
    )


def test_secrets_are_withheld_wherever_they_stand(notebook: Notebook) -> None:
    notebook.value(
        f"%%flujo step give -i [{{'{TOKEN}': 'use {TOKEN} now'}}]\ndef give(x): return x"
    )
    notebook.run(f"%%flujo step boom\ndef boom(x):\n    raise ValueError('{TOKEN}')")
    first, *_ = document(notebook)["frames"]
    [told] = first["output"]["value"]
    assert list(told.values()) == ["use «withheld: looks like a GitHub token» now"]
    assert "ghp_" not in Path("frames.json").read_text("ascii")


def test_what_is_live_only_and_gone_after_a_restart_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ = opener(tmp_path, monkeypatch)
    with open_() as notebook:
        notebook.value(WORDS)
        notebook.value(MAP)
        notebook.value("%%flujo step client -i 1\ndef client(n): return object()")
        live = document(notebook)["frames"][2]
        assert live["live_only"] and live["output"].keys() == {"preview"}
    with open_() as notebook:
        words, sizes, client = document(notebook)["frames"]
    assert words["output"]["value"] == ["to", "be", "or", "not", "to", "be"]
    assert words["command"]["cells"][0]["execution"] is None
    assert words["digest"] and words["input_digest"]
    assert sizes["inside"] == ["f1/each/[0]/size", "f1/each/[1]/size"]
    assert client["absent"].startswith("live only: ") and client["output"] is None
