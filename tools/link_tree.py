"""Lays the packages out in a tree of links, as an installation has them.

`engine/` and `widgets/` are installed inside `flujo_nb`. Type checkers and import-linter read
folders and know nothing of that mapping: they are run on this tree instead of the checkout.
What is right already stays as it is, so two runs at a time do not disturb each other.
"""

from __future__ import annotations

import configparser
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def package_dirs(setup_cfg: Path) -> dict[str, Path]:
    """The folder of each package that `setup.cfg` maps."""
    parser = configparser.ConfigParser()
    parser.read(setup_cfg, encoding="utf-8")
    lines = parser["options"]["package_dir"].split("\n")
    pairs = [line.partition("=") for line in lines if line]
    return {package.strip(): setup_cfg.parent / folder.strip() for package, _, folder in pairs}


def wanted_links(packages: dict[str, Path], tree: Path) -> dict[Path, Path]:
    """Each link that the tree consists of, and what it leads to."""
    return {
        tree.joinpath(*package.split("."), entry.name): entry
        for package, folder in packages.items()
        for entry in folder.iterdir()
        if entry.name != "__pycache__"
    }


def lay_out(packages: dict[str, Path], tree: Path) -> None:
    """Bring the tree into line: every package a real folder, everything in it a link."""
    links = wanted_links(packages, tree)
    folders = {parent for link in links for parent in link.parents}
    for found in sorted(tree.rglob("*")):
        if found not in links and found not in folders:
            remove(found)
    for link, source in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        place(link, source)


def place(link: Path, source: Path) -> None:
    """Link to the source, or copy it where the system refuses links."""
    if link.is_symlink() and link.resolve() == source.resolve():
        return
    remove(link)
    try:
        link.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:
        if source.is_dir():
            shutil.copytree(source, link)
        else:
            shutil.copy2(source, link)


def remove(path: Path) -> None:
    """Remove a link, a file or a folder, if it is there; what a link leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    lay_out(package_dirs(ROOT / "setup.cfg"), Path(sys.argv[1]).resolve())
