"""The command ``flujo-nb``: what it prints, what it leaves, and how it says no."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from flujo_nb.cli import (
    FAILED,
    INTERRUPTED,
    MISUSED,
    PASSED,
    ended_text,
    main,
    page_maker,
    started_text,
)
from flujo_nb.execute import CellEnd, CellEnded, CellStarted, FrameLine

WORDS = "%%flujo step -i 'to be'\ndef words(text: str) -> list[str]:\n    return text.split()"
FETCHED = re.compile(
    r"""<(?:script|link|img|iframe|source)[^>]*\b(?:src|href)\s*=\s*["']?(?:https?:)?//"""
    r"""|@import\s|url\(\s*["']?(?:https?:)?//|\bimport\(""",
    re.IGNORECASE,
)


def frame(name: str, origin: str, frame_id: str = "f0") -> FrameLine:
    return FrameLine(
        id=frame_id,
        name=name,
        status="completed",
        origin=origin,
        run_id="session_1",
        duration_s=0.012,
    )


def saved(path: Path, *sources: str) -> Path:
    nbformat.write(new_notebook(cells=[new_code_cell(one) for one in sources]), path)
    return path


def test_a_cell_is_a_line_with_its_frames_below() -> None:
    frames = [frame("words", "-i"), frame("count", "f0.output", "f1")]
    text = started_text(CellStarted(3, 12, "%%flujo step")) + ended_text(
        CellEnded(CellEnd.OK, 0.4, frames)
    )
    assert text.splitlines() == [
        "    3/12  %%flujo step                                       400 ms  ok",
        "          f0 words                 completed     12 ms  ← -i",
        "          f1 count                 completed     12 ms  ← f0.output",
    ]


def test_a_long_line_is_cut_and_control_characters_are_dropped() -> None:
    text = started_text(CellStarted(1, 1, "x = '\x1b[31m" + "y" * 80))
    assert "\x1b" not in text
    assert text.endswith("y…")
    assert len(text) == len(started_text(CellStarted(1, 1, "x")))


def test_the_error_is_shown_only_when_the_cell_may_not_fail() -> None:
    failed = ended_text(CellEnded(CellEnd.FAILED, 1, error=("Boom in a", "", "  kept: f3")))
    assert failed.splitlines() == [
        "    1.0 s  failed",
        "",
        "          Boom in a",
        "",
        "            kept: f3",
    ]
    allowed = ended_text(CellEnded(CellEnd.ALLOWED, 1, error=("Boom in a",)))
    assert allowed == "    1.0 s  failed, as its tag allows"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("", "is not a notebook"),
        ("[1]", "is not a notebook"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "is not a notebook"),
    ],
)
def test_what_is_no_notebook_is_refused_before_anything_runs(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.ipynb"
    if content is not None:
        path.write_text(content)
    assert main(["run", str(path)]) == MISUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"flujo-nb: {path}")
    assert said in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{n}", "--html"], "--html needs --output DIR"),
        (["{n}", "--output", "{d}"], "would overwrite"),
        (["{n}", "{d}/other/a.ipynb", "--output", "{d}/out"], "two notebooks are called a.ipynb"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"n": saved(tmp_path / "a.ipynb", "1"), "d": tmp_path}
    assert main(["run", *(one.format(**names) for one in arguments)]) == MISUSED
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "1.5"])
def test_a_timeout_is_a_whole_number_of_seconds(
    seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["run", "a.ipynb", "--timeout", seconds])
    assert exit_.value.code == MISUSED
    assert "a whole number of seconds" in capsys.readouterr().err.replace("\n", " ") or (
        seconds.startswith("-")
    )


def test_a_missing_nbconvert_is_said_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    path = saved(tmp_path / "a.ipynb", "1")
    assert main(["run", str(path), "--output", str(tmp_path / "out"), "--html"]) == MISUSED
    assert capsys.readouterr() == (
        "",
        "flujo-nb: --html needs nbconvert: pip install 'flujo-nb[html]'\n",
    )


def test_a_page_fetches_nothing_even_with_formulas_and_widgets() -> None:
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "m"}, "text/plain": "Slider"}
    cells = [
        new_code_cell("1", outputs=[new_output("display_data", widget)]),
        nbformat.v4.new_markdown_cell("$a^2$"),
    ]
    state = {"state": {"m": {"model_name": "M", "model_module": "x", "state": {}}}}
    notebook = new_notebook(
        cells=cells,
        metadata={"widgets": {"application/vnd.jupyter.widget-state+json": state}},
    )
    page = page_maker()(notebook, "A title")
    shown = {text: text in page for text in ("<title>A title</title>", "Slider", "$a^2$")}
    assert all(shown.values()), shown
    assert FETCHED.findall(page) == []


@pytest.mark.kernel
def test_a_passing_notebook_is_left_where_it_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = saved(tmp_path / "a.ipynb", "%load_ext flujo_nb", WORDS), tmp_path / "out"
    before = path.read_bytes()
    assert main(["run", str(path), "--output", str(out), "--html"]) == PASSED
    printed = capsys.readouterr().out
    assert re.search(r"^ +2/2  %%flujo step -i 'to be' .* ok\n +f0 words .*← -i$", printed, re.M)
    assert printed.endswith(
        f"  notebook  {out / 'a.ipynb'}\n  page      {out / 'a.html'}\n  passed\n"
    )
    assert nbformat.read(out / "a.ipynb", as_version=4).cells[1].outputs
    page = (out / "a.html").read_text()
    shown = {text: text in page for text in ("f0 words", '<span class="k">def</span>')}
    assert all(shown.values()), shown
    assert FETCHED.findall(page) == []
    assert path.read_bytes() == before


@pytest.mark.kernel
def test_a_failing_notebook_is_left_as_well_and_the_next_one_still_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = saved(tmp_path / "a.ipynb", "1 / 0"), saved(tmp_path / "b.ipynb", "1")
    out = tmp_path / "out"
    assert main(["run", str(first), str(second), "--output", str(out)]) == FAILED
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().out
    assert sorted(one.name for one in out.iterdir()) == ["a.ipynb", "b.ipynb"]


@pytest.mark.kernel
@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_an_interrupt_ends_it_quietly(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ipynb", "import time; time.sleep(60)")
    command = [sys.executable, "-m", "flujo_nb.cli", "run", str(path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Started behind a shell's &, these tests ignore SIGINT, and so would their child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while b"1/1" not in process.stdout.readline() + process.stdout.read1():
            pass
        os.killpg(process.pid, signal.SIGINT)
        try:
            assert process.wait(20) == INTERRUPTED
        finally:
            process.kill()
        assert process.stderr.read() == b"\nflujo-nb: interrupted\n"
