"""Secrets: how they are known, what is written in their place, and how they are found again.

A store never holds one, nor a mask in its place. `pydantic.SecretStr` and ``SecretBytes`` are
written as a name and a keyed digest; a plain text that looks like a key is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping

from pydantic import SecretBytes, SecretStr

SHORTEST = 16
"""No secret that is known by its form has fewer characters."""

_START = r"(?<![A-Za-z0-9])"
_CUT = r"(?:\.\.\.|…)"
_WORD = r"[\w-]"


def _of_length(letters: str, length: int) -> str:
    """So many letters; or fewer, where pandas, polars or pydantic have cut them off."""
    return rf"(?:{letters}{{{length}}}|{letters}{{12,{length}}}{_CUT})"


_TOKEN = (
    rf"(?<![\w-])eyJ{_WORD}{{10,8000}}(?:{_CUT}|\.eyJ(?:{_WORD}{{0,8000}}{_CUT}|"
    rf"{_WORD}{{10,8000}}\.(?:{_WORD}{{10}}|{_WORD}{{0,9}}{_CUT})))"
)
_FORMS = {
    "a private key": r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----",
    "an API key, sk-…": r"(?<![\w-])sk-(?:[A-Za-z0-9]{1,60}[-_]{1,2}){0,8}[A-Za-z0-9]{16}",
    "a Stripe key": _START + r"[rs]k_(?:test|live|prod)_[A-Za-z0-9]{10}",
    "an AWS key id": _START + r"A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}(?![A-Za-z0-9])",
    "a GitHub token": _START
    + rf"(?:gh[pousr]_{_of_length('[A-Za-z0-9]', 36)}|github_pat_{_of_length('[A-Za-z0-9_]', 36)})",
    "a GitLab token": _START + r"glpat-[\w-]{20}",
    "a Slack token": _START + r"xox[abeoprs]-[A-Za-z0-9-]{10}",
    "a Google key": _START + "AIza" + _of_length(_WORD, 35),
    "a Hugging Face token": _START + "hf_" + _of_length("[A-Za-z0-9]", 34),
    "a JSON web token": _TOKEN,
}
# The forms follow the rules of gitleaks, as far as they stand on a prefix. Each is searched in
# linear time: it begins where a word does, and what it repeats is bounded.
_PATTERNS = {what: re.compile(form, re.ASCII) for what, form in _FORMS.items()}

SIGNS = (
    *("PRIVATE KEY-", "PRIVATE KEY ", "sk-", "k_live_", "k_test_", "k_prod_", "AKIA", "ASIA"),
    *("ABIA", "ACCA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
    *("xox", "AIza", "hf_", "eyJ"),
)
"""One of these is in every text that `looks_like` knows, and in its JSON."""


def looks_like(text: str) -> str | None:
    """What kind of secret stands in ``text``, if one does that is known by its form."""
    for what, pattern in _PATTERNS.items():
        if pattern.search(text):
            return what
    return None


class SecretBook:
    """Turns secrets into digests, and digests into those secrets that this process has.

    ``key`` (16 to 64 random bytes, kept with the store) makes the digests differ from store to
    store. They do not protect a short password from somebody who has the store: its key is there.
    ``sources`` gives the secrets that are at hand besides the values of environment variables.
    """

    def __init__(self, key: bytes, sources: Callable[[], Iterable[str]] = tuple) -> None:
        if not 16 <= len(key) <= 64:
            raise ValueError(f"a key has 16 to 64 bytes; found {len(key)}")
        self._key = key
        self._sources = sources

    def digest(self, secret: str | bytes) -> str:
        """The keyed digest of ``secret``, in hexadecimal digits."""
        data = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, digest_size=16, key=self._key, person=b"secret").hexdigest()

    def find(self, digest: str) -> str | None:
        """The secret of that digest among the sources and the environment."""
        for secret in (*self._sources(), *os.environ.values()):
            if self.digest(secret) == digest:
                return secret
        return None


def secrets_of(resources: object) -> Iterable[str]:
    """The texts that the attributes of ``resources``, or the values of a mapping, hold."""
    values = resources if isinstance(resources, Mapping) else getattr(resources, "__dict__", {})
    for value in values.values():
        if isinstance(value, SecretStr):
            yield value.get_secret_value()
        elif isinstance(value, SecretBytes):
            yield value.get_secret_value().decode("utf-8", "replace")
        elif isinstance(value, str):
            yield value
