"""Secrets are never among the bytes: a reference stands for them, or the value is refused."""

from __future__ import annotations

import base64
import json
import random
import re
import string
import time
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from flujo_nb.engine.errors import SecretNeeded, ValueNotSaved
from flujo_nb.engine.store.codec import Codec, Encoded
from flujo_nb.engine.store.secrets import SIGNS, SecretBook, looks_like, secrets_of
from flujo_nb.engine.store.type_table import TypeTable
from tests.engine.coding import plain_codec, read, told

KEY = b"k" * 32


def letters(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(random.Random(count).choices(alphabet, k=count))


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


UPPER = string.ascii_uppercase + "234567"
KEYS = [
    "sk-" + letters(48),
    "sk-proj-" + letters(30) + "-_" + letters(50),
    "sk-ant-api03-" + letters(93),
    "sk-or-v1-" + letters(64, "0123456789abcdef"),
    "sk_live_" + letters(24),
    "rk_test_" + letters(24),
    "AKIA" + letters(16, UPPER),
    "ASIA" + letters(16, UPPER),
    "ghp_" + letters(36),
    "gho_" + letters(36),
    "ghs_" + letters(36),
    "github_pat_" + letters(22) + "_" + letters(59),
    "glpat-" + letters(20),
    "xoxb-123456789012-" + letters(24),
    "xoxp-" + letters(40),
    "AIza" + letters(35),
    "hf_" + letters(34),
    "-----BEGIN RSA PRIVATE KEY-----\n" + letters(64),
    "-----BEGIN OPENSSH PRIVATE KEY-----\n" + letters(64),
    ".".join((token('{"alg":"HS256"}'), token('{"sub":"1234567890"}'), letters(43))),
]
HARMLESS = [
    "sk-",
    "a task-oriented description-of-work in risk-averse desk-bound words",
    "sk-learn-based",
    "https://example.com/sk-1/hf_model/eyJust",
    "xoxo from all of us at the beach",
    "AKIA is short",
    "-----BEGIN CERTIFICATE-----\n" + letters(64),
    "-----BEGIN PUBLIC KEY-----\n" + letters(64),
    "NaN and Infinity",
    letters(500, "0123456789abcdef"),
]


CUT = [
    "github_pat_" + letters(20) + "...",
    "'github_pat_" + letters(14) + "..." + letters(24) + "'",
    "ghp_" + letters(27) + "…",
    "hf_" + letters(28) + "…",
    "AIza" + letters(27) + "…",
    "eyJ" + letters(41) + "...",
    "eyJ" + letters(20) + ".eyJ" + letters(9) + "...",
    "eyJ" + letters(20) + ".eyJ...",
    "eyJ" + letters(20) + ".eyJ" + letters(20) + "....",
    "eyJ" + letters(20) + ".eyJ" + letters(20) + "." + letters(5) + "…",
]
"""As pandas, polars and pydantic show the beginning of a long text."""


@pytest.mark.parametrize("text", CUT)
def test_the_beginning_of_a_secret_is_known_where_it_was_cut(text: str) -> None:
    assert looks_like(f"0    {text}\nName: x") is not None
    assert any(sign in text for sign in SIGNS)
    assert looks_like(text.replace("...", " ").replace("…", " ")) is None


class Account(BaseModel):
    name: str
    api_key: SecretStr
    raw: SecretBytes | None = None


def holds(encoded: Encoded, secret: str) -> bool:
    return any(secret.encode() in part for part in (encoded.body, *encoded.blobs.values()))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "placed",
    [
        lambda key: key,
        lambda key: f"the key is {key!r}, keep it",
        lambda key: ["a", f"line\n{key}\n"],
        lambda key: {"a": {"b": (1, key)}},
        lambda key: {key: 1},
        lambda key: {(key,): [object()]},
        lambda key: {"a": object(), "b": {key: object()}},
        lambda key: key.encode(),
        lambda key: {"text": "x" * 70_000 + " " + key},
    ],
)
def test_a_text_that_looks_like_a_key_is_refused_without_telling_it(key: str, placed: Any) -> None:
    with pytest.raises(ValueNotSaved) as refused:
        plain_codec().encode(placed(key))
    assert key not in str(refused.value)
    assert key not in repr(refused.value.__dict__)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_has_one_of_the_signs(key: str) -> None:
    assert any(sign in key for sign in SIGNS)
    assert looks_like(key) is not None


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_are_saved(text: str) -> None:
    assert read(plain_codec(), plain_codec().encode([text, {"a": text}])) == [text, {"a": text}]


@pytest.mark.parametrize(
    "part", ["sk-a-", "eyJ.", "eyJaaaaaaaaaaaa.", "-----BEGIN A", "xoxb-", "\\w"]
)
def test_looking_for_keys_takes_linear_time(part: str) -> None:
    def cost(count: int) -> float:
        text = part * count
        start = time.perf_counter()
        looks_like(text)
        return time.perf_counter() - start

    cost(1000)
    assert cost(200_000) < 100 * max(min(cost(20_000) for _ in range(3)), 0.0005)


def coded(*secrets: str, key: bytes = KEY) -> Codec:
    return Codec(TypeTable(), SecretBook(key, lambda: secrets))


def test_a_secret_is_written_as_a_reference_and_supplied_again() -> None:
    value = [Account(name="a", api_key=SecretStr("hunter2"), raw=SecretBytes(b"raw-secret"))]
    encoded = coded().encode(value)
    assert not holds(encoded, "hunter2") and not holds(encoded, "raw-secret")
    assert not holds(encoded, "**")
    assert json.loads(encoded.body)[0]["v"]["api_key"]["name"] == "api_key"
    assert told(read(coded("other", "raw-secret", "hunter2"), encoded)) == told(value)


def test_a_secret_that_is_not_at_hand_is_asked_for_by_name() -> None:
    encoded = coded().encode({"login": {"password": SecretStr("hunter2")}})
    with pytest.raises(SecretNeeded, match="'password'"):
        read(coded("hunter3"), encoded)
    with pytest.raises(SecretNeeded, match="'password'"):
        read(plain_codec(), encoded)


def test_a_secret_is_found_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_PASSWORD", "hunter2")
    encoded = coded().encode(SecretStr("hunter2"))
    assert read(coded(), encoded) == SecretStr("hunter2")


def test_digests_of_secrets_differ_from_store_to_store() -> None:
    one, other = (coded(key=key).encode(SecretStr("hunter2")) for key in (KEY, b"o" * 32))
    assert one.body != other.body
    with pytest.raises(SecretNeeded):
        read(coded("hunter2"), other)


def test_without_a_book_a_secret_is_refused() -> None:
    with pytest.raises(ValueNotSaved) as refused:
        plain_codec().encode(Account(name="a", api_key=SecretStr("hunter2")))
    assert refused.value.where == "output.api_key"
    assert "hunter2" not in str(refused.value)


def test_other_secrets_of_pydantic_are_refused() -> None:
    with pytest.raises(ValueNotSaved):
        coded().encode(Secret[int](5))


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_key_has_16_to_64_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="16 to 64"):
        SecretBook(b"k" * size)


def test_resources_offer_their_texts() -> None:
    held = {"key": SecretStr("a"), "raw": SecretBytes(b"b"), "name": "c", "port": 5}
    assert list(secrets_of(held)) == ["a", "b", "c"]
    assert list(secrets_of(SimpleNamespace(**held))) == ["a", "b", "c"]
    assert list(secrets_of(None)) == []


def test_twenty_planted_secrets_are_in_no_bytes() -> None:
    assert len(KEYS) == 20
    value = {
        f"account {i}": Account(name="a", api_key=SecretStr(key)) for i, key in enumerate(KEYS)
    }
    encoded = coded().encode(value)
    for key in KEYS:
        assert not holds(encoded, key)
        assert not re.search(re.escape(key[4:14]).encode(), encoded.body)
    assert told(read(coded(*KEYS), encoded)) == told(value)
