"""The packages, the files every project has, and what the tree may not carry."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, place, setup_cfg
from tools.link_tree import package_dirs

TEXT = (".cfg", ".ini", ".ipynb", ".js", ".css", ".json", ".md", ".py", ".toml", ".txt", ".yml", "")
# Folders that belong to a person or a machine, and where packages are fetched from.
MACHINE = re.compile(
    r"/home/\w|/Users/\w|/root/|/work/\w|[A-Z]:\\+Users"
    r"|\bpypi\.|pythonhosted|--(extra-)?index-url|--find-links|file://"
)


def test_setup_cfg_lists_the_folders_that_are_packages() -> None:
    listed = setup_cfg()["options"]["packages"].split()
    found = [
        ".".join((package, *init.parent.relative_to(folder).parts))
        for package, folder in package_dirs(ROOT / "setup.cfg").items()
        for init in folder.rglob("__init__.py")
    ]
    assert listed == sorted(found)


def test_there_is_what_a_stranger_looks_for() -> None:
    names = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "flujo_nb/py.typed")
    assert [name for name in names if not (ROOT / name).is_file()] == []


def test_the_changelog_begins_with_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = next(line for line in changelog.splitlines() if line.startswith("## "))
    assert project["version"] in newest


def test_links_in_the_pages_lead_somewhere() -> None:
    lost = [
        f"{place(page)}: {target}"
        for page in files(ROOT, ".md")
        for target in re.findall(r"]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert lost == []


def test_no_path_of_a_machine_and_no_host_of_packages() -> None:
    found = [
        f"{place(path)}:{number}: {line.strip()[:80]}"
        for path in files(ROOT, *TEXT)
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=place)
def test_notebooks_are_stored_without_outputs(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    ran = [
        "".join(cell["source"])[:60]
        for cell in cells
        if cell["cell_type"] == "code" and (cell["outputs"] or cell["execution_count"] is not None)
    ]
    assert ran == []
