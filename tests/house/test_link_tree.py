"""The tree that the checkers read has the shape of an installation, and follows the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.link_tree import lay_out, package_dirs


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, Path]:
    for name in ("front/commands/run.py", "motor/core.py", "motor/__pycache__/core.pyc"):
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    setup_cfg = tmp_path / "checkout" / "setup.cfg"
    setup_cfg.write_text("[options]\npackage_dir =\n    nb = front\n    nb.engine = motor\n")
    return package_dirs(setup_cfg)


def names(tree: Path) -> list[str]:
    found = [tree / name for name in ("nb/commands/run.py", "nb/engine/core.py")]
    return [path.read_text(encoding="utf-8") for path in found]


def test_packages_lie_inside_one_another(packages: dict[str, Path], tmp_path: Path) -> None:
    lay_out(packages, tmp_path / "tree")
    assert names(tmp_path / "tree") == ["front/commands/run.py", "motor/core.py"]
    assert not (tmp_path / "tree/nb/engine/__pycache__").exists()


def test_what_is_gone_goes_and_sources_stay(packages: dict[str, Path], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    lay_out(packages, tree)
    (packages["nb.engine"] / "core.py").rename(packages["nb.engine"] / "heart.py")
    lay_out(packages, tree)
    assert [path.name for path in (tree / "nb/engine").iterdir()] == ["heart.py"]
    lay_out({"nb": packages["nb"]}, tree)
    assert [path.name for path in (tree / "nb").iterdir()] == ["commands"]
    assert (packages["nb.engine"] / "heart.py").is_file()


def test_copies_where_links_are_refused(
    packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for text in ("first", "second"):
        (packages["nb.engine"] / "core.py").write_text(text, encoding="utf-8")
        lay_out(packages, tmp_path / "tree")
        assert names(tmp_path / "tree") == ["front/commands/run.py", text]
