"""Secrets in data: no card, table, error or mimetype shows one that is known by its form."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel, SecretStr

from flujo_nb.errors import RunAborted, StepFailed
from flujo_nb.widgets.previews import clipped, preview, short, veiled
from tests.notebook import Notebook

BODY = "aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA2bC4"
PLANTED = (
    f"sk-proj-{BODY}",
    f"ghp_{BODY}",
    f"AKIA{'ABCDEFGH' * 2}",
    f"hf_{BODY}",
    f"eyJ{BODY}.eyJ{BODY}.{BODY}",
)
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n{BODY}"


class Ctx(BaseModel):
    key: str = ""
    password: SecretStr = SecretStr("hunter2")


def shown(notebook: Notebook, line: str) -> str:
    """All forms of what a line displays."""
    bundle = notebook.view(line)._repr_mimebundle_()
    return json.dumps(bundle, ensure_ascii=False)


@pytest.mark.parametrize("secret", [*PLANTED, PEM])
@pytest.mark.parametrize(
    "value",
    [
        lambda secret: secret,
        lambda secret: f"the key is {secret}, and more",
        lambda secret: "x" * 80 + f" {secret}",
        lambda secret: secret.encode(),
        lambda secret: [{"key": (secret,)}],
        lambda secret: {secret: 1},
        lambda secret: Ctx(key=secret),
        lambda secret: ValueError(secret),
    ],
)
def test_no_form_of_a_value_shows_a_secret(secret: str, value: object) -> None:
    assert callable(value)
    made = value(secret)
    for text in (short(made), short(made, 40), str(preview(made)), clipped(repr(made), 300)):
        assert BODY[:12] not in text and "ABCDEFGHABCD" not in text


@pytest.mark.parametrize("secret", PLANTED)
def test_what_stands_beside_a_secret_is_shown(secret: str) -> None:
    told = veiled(f"refused: {secret} is no key\nof mine")
    assert told.startswith("refused: «withheld: looks like ")
    assert told.endswith("» is no key\nof mine")
    assert veiled("nothing sk- in here: AKIA") == "nothing sk- in here: AKIA"


@pytest.mark.parametrize("secret", PLANTED)
def test_nothing_that_a_session_shows_has_a_secret_in_it(notebook: Notebook, secret: str) -> None:
    notebook.shell.user_ns["Ctx"] = Ctx
    notebook.run(f"%flujo session --context Ctx --init {{'key': '{secret}'}}")
    cell = f"%%flujo step keep -i '{secret}'\ndef keep(x, context):\n"
    notebook.run(cell + "    context.key = x + ' ' + x\n    return [x]")
    notebook.run("from flujo_nb import Step\nwhich = lambda x, context: x[0]")
    branches = f"Step.branch_on('way', which, {{'{secret}': Step.from_callable(len, name='size')}})"
    notebook.run(f"way = {branches}")
    assert notebook.card("%flujo run way").output == 1
    lines = ["", "frames", "show f0", "show f1", "why f0", "why f1", "session", "session list"]
    run_id = notebook.session.run_id
    for line in (*lines, f"session list {run_id}" if notebook.session.keeper.is_stored else ""):
        text = shown(notebook, f"%flujo {line}")
        assert secret not in text and secret[:16] not in text
    inside = notebook.session.children(notebook.session.record("f1"))
    assert any(secret in child.id for child in inside)  # it stands in a path
    assert "withheld" in shown(notebook, "%flujo show f1")


@pytest.mark.parametrize("secret", PLANTED)
def test_no_error_has_a_secret_in_it(notebook: Notebook, secret: str) -> None:
    notebook.run("from flujo_nb import Step")
    notebook.run(f"%%flujo step boom -i '{secret}' --no-run\ndef boom(x):\n    raise OSError(x)")
    failed = notebook.error(f"%flujo run boom -i '{secret}'")
    assert isinstance(failed, StepFailed) and "OSError: «withheld" in str(failed)
    question = f"Step.human_in_the_loop('ask', message_for_user='Is it {secret}?')"
    notebook.run(f"ask = {question}")
    asked = notebook.error("%flujo run ask -i 1")
    assert isinstance(asked, RunAborted) and "asks: Is it «withheld" in str(asked)
    errors = [failed, asked]
    for line in (
        f"run boom -i '{secret}' + 1/0",
        f"run boom -i '{secret}'+1/0",
        f"run boom -i '{secret}",
        f"run '{secret}'",
        f"show {secret}",
        f"session --init '{secret}'",
        f"resume f0/{secret}",
    ):
        errors.append(notebook.error(f"%flujo {line}"))
    for error in errors:
        assert secret not in str(error) and secret[:16] not in str(error)
        rendered = getattr(error, "_render_traceback_", None)
        assert rendered is None or secret not in "\n".join(rendered())
    for line in ("", "frames", "show f0", "show f1"):
        assert secret not in shown(notebook, f"%flujo {line}")
