"""No text becomes markup, wherever it stands and whatever shows it: all payloads.

Each stands in all places of a session. Cards and tables of frames show each, every other command a
fifth of them, and all of a sample.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands_table import AFTER_A_RESTART, SHARES, all_shown
from tests.durable import opener
from tests.looked_at import (
    ALL,
    PAYLOADS,
    SAMPLE,
    Trees,
    assert_looked_at,
    assert_means_nothing,
    trees_of,
)
from tests.shown import shown_by

PARTS = 10
FILES = [
    one
    for one in PAYLOADS
    if one.isprintable() and "/" not in one and len(one.encode()) < 200 and one.strip() == one
]


@pytest.mark.parametrize("part", range(PARTS))
def test_no_text_becomes_markup(part: int) -> None:
    for number, text in enumerate(ALL[part::PARTS]):
        assert_means_nothing(text, share=number % SHARES)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_text_of_a_sample_becomes_markup_in_what_any_command_shows(part: int) -> None:
    for text in SAMPLE[part::PARTS]:
        assert_means_nothing(text)


def test_no_text_of_a_stored_session_and_no_name_of_a_file_becomes_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(text: str, folder: Path) -> list[Trees]:
        folder.mkdir(parents=True)
        open_ = opener(folder, monkeypatch)
        with open_(f"{text}.ipynb") as notebook:
            told = list(all_shown(notebook, text, share=0))
        with open_(f"{text}.ipynb") as notebook:
            told = [shown_by(notebook, cell) for cell in AFTER_A_RESTART]
        for one in told:
            assert_looked_at(one)
        return [trees_of(one.bundles) for one in told]

    expected = shown("harmless", tmp_path / "harmless")
    assert len(FILES) > 100
    for number, text in enumerate(FILES[::20]):
        assert shown(text, tmp_path / str(number) / text) == expected, text
