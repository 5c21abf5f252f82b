"""Decodes trees that nobody encoded, and fails when that runs, imports or opens anything.

A program of its own, since an audit hook cannot be removed. It prints how many trees were refused
and how many were read.
"""

from __future__ import annotations

import sys
from typing import Any

from flujo_nb.engine.errors import ValueNotRead
from flujo_nb.engine.store.codec import Codec
from flujo_nb.engine.store.codec_forms import READERS
from flujo_nb.engine.store.type_table import TypeTable

NAMES = [
    *("os.system", "builtins.eval", "subprocess.Popen", "antigravity", "this.s", "os.path.join"),
    *("sys.modules", "flujo_nb.engine.store.codec.Encoded", "threading.Thread", "", ".", "a..b"),
]
LEAVES: list[Any] = [
    *(None, 1, -1, 1e400, "x", "", [], {}, [1, 2, 3], {"a": 1}, ["os", "system"], {"$": "x"}),
]
TAGS = [
    *(*READERS, "blob", "bytes", "bytearray", "model", "dataclass", "enum", "flag", "namedtuple"),
    *("secret", "codec", "data", "object", "reduce", "__class__"),
]
QUIET = {"object.__getattr__", "object.__setattr__", "sys._getframe", "builtins.id"}


def tree(tag: str, name: str, leaf: object) -> dict[str, object]:
    """One with all the parts that a tag may look for."""
    names = dict.fromkeys(("type", "of", "kind", "name", "digest"), name)
    parts = dict.fromkeys(("v", "fields", "set", "extra", "private"), leaf)
    return {"$": tag, "schema": "00", "about": {}, **names, **parts}


def trees() -> list[Any]:
    """All that are tried."""
    found: list[Any] = [{"$": tag, "v": leaf} for tag in TAGS for leaf in LEAVES]
    found += [tree(tag, name, leaf) for tag in TAGS for name in NAMES for leaf in LEAVES]
    found += [{"$": "blob", "blob": name, "size": 3} for name in [*NAMES, "00"]]
    found += [{"$": leaf} for leaf in LEAVES]
    found += [{"$": "ZoneInfo", "v": f"{up}etc/passwd"} for up in ("../../", "/", "a/../")]
    found += [{"$": "Pattern", "v": ["(" * 50, 128]}, {"$": "Pattern", "v": ["a", 128]}]
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    return [*found, deep]


def blob(digest: bytes) -> bytes:
    """Bytes of strangers, for every digest."""
    return b'{"' if digest == b"\0" else b'[[{"$":"model","type":"os.system"}]]'


def main() -> None:
    """Decode them all."""
    seen: list[object] = []
    watching = False

    def hook(event: str, args: tuple[object, ...]) -> None:
        if watching and event not in QUIET:
            seen.append((event, args))

    codec = Codec(TypeTable())
    codec.decode({"$": "ZoneInfo", "v": "Europe/Berlin"}, blob)  # looks which zones there are
    tried = trees()
    before = set(sys.modules)
    refused = 0
    sys.addaudithook(hook)
    for one in tried:
        watching = True
        try:
            codec.decode(one, blob)
        except ValueNotRead:
            refused += 1
        finally:
            watching = False
    assert not seen, seen[:5]
    assert set(sys.modules) == before, set(sys.modules) - before
    print(refused, len(tried) - refused)


if __name__ == "__main__":
    main()
