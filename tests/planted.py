"""Twenty secrets of the forms that are known, and looking for them in whatever was written."""

from __future__ import annotations

import base64
import random
import re
import string
from collections.abc import Iterator, Sequence
from functools import cache
from urllib.parse import quote

_LETTERS = string.ascii_letters + string.digits
_RANDOM = random.Random(5)


def _body(length: int, letters: str = _LETTERS) -> str:
    return "".join(_RANDOM.choice(letters) for _ in range(length))


_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
SECRETS = (
    f"sk-{_body(48)}",
    f"sk-proj-{_body(48)}",
    f"sk-ant-api03-{_body(64)}",
    f"sk-or-v1-{_body(64)}",
    f"sk_live_{_body(24)}",
    f"rk_test_{_body(24)}",
    f"AKIA{_body(16, _BASE32)}",
    f"ASIA{_body(16, _BASE32)}",
    f"ghp_{_body(36)}",
    f"gho_{_body(36)}",
    f"ghs_{_body(36)}",
    f"github_pat_{_body(22)}_{_body(59)}",
    f"glpat-{_body(20)}",
    f"xoxb-{_body(12)}-{_body(24)}",
    f"xoxp-{_body(24)}",
    f"AIza{_body(35)}",
    f"hf_{_body(34)}",
    f"eyJ{_body(33)}.eyJ{_body(60)}.{_body(43)}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{_body(64)}\n{_body(64)}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{_body(64)}\n{_body(64)}",
)
_PIECE, _STEP = 10, 4
"""How many characters of a secret in a row are looked for, and how far from each other these are.

So 13 in a row are found wherever they stand in it.
"""


def found_in(data: str | bytes, secret: str) -> str | None:
    """What stands around a piece of ``secret`` in ``data``, in any of its forms."""
    text = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    for form in _forms_of(secret):
        if form in text:
            at = text.index(form)
            return ascii(text[max(at - 80, 0) : at + 40])
    return None


@cache
def _forms_of(secret: str) -> Sequence[bytes]:
    return sorted({form for piece in _pieces(secret) for form in _forms(piece)})


def _pieces(secret: str) -> Iterator[str]:
    """The pieces of what is random in a secret; how a web token begins is not."""
    random_part = secret.partition(".")[2] or secret
    for body in re.findall(rf"[A-Za-z0-9]{{{_PIECE},}}", random_part):
        last = len(body) - _PIECE
        yield from (body[at : at + _PIECE] for at in {*range(0, last, _STEP), last})


def _forms(piece: str) -> Iterator[bytes]:
    plain = piece.encode()
    yield plain
    yield piece.encode("utf-16-le")
    yield piece.encode("utf-16-be")
    yield plain.hex().encode()
    yield quote(piece).encode()
    yield "".join(f"%{byte:02X}" for byte in plain).encode()
    yield "".join(f"\\u{byte:04x}" for byte in plain).encode()
    for shift in range(3):  # in base64 it depends on where a piece begins
        code = base64.b64encode(bytes(shift) + plain)
        yield code[(0, 2, 3)[shift] : len(code) - 4]
