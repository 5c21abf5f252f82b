"""Every dependency has its reason written down and its version in the lock."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = [
    Requirement(line)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for line in group
]
LOCK = {
    (pin := Requirement(line)).name: pin.specifier
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
}


def closure(wanted: list[Requirement]) -> set[str]:
    """The names of the packages that these need, here, and all that those need."""
    names: set[str] = set()
    todo = [(requirement.name, "") for requirement in wanted]
    todo += [(requirement.name, extra) for requirement in wanted for extra in requirement.extras]
    seen: set[tuple[str, str]] = set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        names.add(canonicalize_name(name))
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(needed.name, ""), *((needed.name, each) for each in needed.extras)]
    return names


def test_the_lock_is_exact() -> None:
    assert [name for name, pin in LOCK.items() if not re.fullmatch(r"==[\w.]+", str(pin))] == []
    assert list(LOCK) == sorted(canonicalize_name(name) for name in LOCK)


def test_the_lock_is_complete() -> None:
    assert closure(DECLARED) - set(LOCK) == set()


def test_the_lock_keeps_what_is_asked_for() -> None:
    outside = [
        str(wanted)
        for wanted in DECLARED
        if not any(wanted.specifier.contains(pin.version) for pin in LOCK[wanted.name])
    ]
    assert outside == []


def test_every_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^- `([\w.-]+)`: ", page, re.MULTILINE))
    assert explained == {requirement.name for requirement in DECLARED}
