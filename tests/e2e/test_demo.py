"""The demonstration, run as a user without a network runs it, on characters that it draws itself."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.trainer.reports.page import Page

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.process]


@dataclass(frozen=True)
class Demonstration:
    """The output of the demonstration and the page it left."""

    stdout: str
    page: Page


@pytest.fixture(scope="module")
def demonstration(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    folder = tmp_path_factory.mktemp("demonstration")
    environment = {
        **os.environ,
        "COLUMNS": "160",
        "EXEMPLAR_DATA": "",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "https_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "demo", "--bundle", str(tiny_bundle), "--output", str(folder / "output")]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Demonstration(done.stdout, Page((folder / "output" / "index.html").read_text(encoding="utf-8")))


def test_without_a_data_set_and_a_network_it_draws_its_own_and_says_so(demonstration: Demonstration) -> None:
    assert "this program draws itself" in demonstration.stdout
    assert any("144 characters drawn by this program" in text for text in demonstration.page.texts)


def test_it_serves_indexes_and_classifies(demonstration: Demonstration) -> None:
    assert "144 of 144 classes were enrolled in characters by this job" in demonstration.stdout
    assert "Classifying their 576 other images" in demonstration.stdout
    assert demonstration.stdout.count("20-way") == 1 + 6  # in all, and for each alphabet


def test_a_kill_loses_no_class_and_changes_no_answer(demonstration: Demonstration) -> None:
    assert "144 of 144 classes are there." in demonstration.stdout
    assert "answers are the same." in demonstration.stdout


def test_it_leaves_a_page_of_figures_and_pictures_that_needs_nothing_from_outside(
    demonstration: Demonstration,
) -> None:
    demonstration.page.assert_self_contained()
    assert "whole gallery, 144 classes, one example" in demonstration.page.texts
    assert (
        len(demonstration.page.references) >= 2 * 12
    )  # twelve queries of strangers, each beside what it is nearest to
