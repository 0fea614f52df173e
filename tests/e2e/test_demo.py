"""The demonstration, run as a user runs it, on characters drawn for the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "demo", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "160", **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_demo_serves_indexes_classifies_survives_a_kill_and_leaves_a_page(
    tiny_bundle: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    done = run_demo("--bundle", str(tiny_bundle), "--output", str(output), EXEMPLAR_DATA=str(drawn_alphabets))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "16 of 16 classes are there." in done.stdout
    assert "answers are the same." in done.stdout
    page = (output / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 20
    assert "http://" not in page
    assert "https://" not in page


def test_without_a_data_set_and_a_network_the_demo_draws_its_own_and_says_so(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    done = run_demo(
        *("--bundle", str(tiny_bundle), "--output", str(tmp_path / "output")),
        EXEMPLAR_DATA="",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        https_proxy="http://127.0.0.1:9",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this program draws itself" in done.stdout


def test_a_data_set_that_is_not_there_ends_the_demo_with_a_sentence(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run_demo(
        *("--bundle", str(tiny_bundle), "--output", str(tmp_path / "output")), EXEMPLAR_DATA="/nowhere/at/all"
    )
    assert done.returncode == 1
    assert "EXEMPLAR_DATA names /nowhere/at/all, which does not exist" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
