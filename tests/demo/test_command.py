"""The demonstration's command says what it lacks, and repeats what a manifest says."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from demo import __main__ as command
from demo.strokes import draw_alphabets
from exemplar_encoder import Bundle

MODELS = Path(__file__).parents[2] / "models"


def stopped(*arguments: object, data: Path | str) -> str:
    """Run the command, which is to end with an error, and return its words on one line."""
    app = typer.Typer()
    app.command()(command.demonstrate)
    done = CliRunner().invoke(app, [str(each) for each in arguments], env={"EXEMPLAR_DATA": str(data)})
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert "The demonstration stopped:" in done.stdout
    return " ".join(done.stdout.split())


def test_a_data_set_that_is_not_there_ends_it_with_a_sentence(tmp_path: Path) -> None:
    said = stopped("--output", tmp_path / "output", data="/nowhere/at/all")
    assert "EXEMPLAR_DATA names /nowhere/at/all, which does not exist" in said


def test_a_bundle_that_held_out_nothing_has_no_alphabet_to_show(tmp_path: Path) -> None:
    draw_alphabets(tmp_path / "drawn", alphabets=1, characters=2, drawers=2)
    said = stopped("--output", tmp_path / "output", "--bundle", MODELS / "omniglot", data=tmp_path / "drawn")
    assert "held out nothing" in said


def test_a_data_set_without_the_alphabets_held_out_is_refused_by_name(tmp_path: Path) -> None:
    draw_alphabets(tmp_path / "drawn", alphabets=1, characters=2, drawers=2)
    bundle = MODELS / "omniglot-held-out"
    said = stopped("--output", tmp_path / "output", "--bundle", bundle, data=tmp_path / "drawn")
    assert "has none of the alphabets that the model never saw: Alphabet_of_the_Magi, Balinese" in said


def test_the_steps_of_the_shipped_model_are_those_of_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "EXEMPLAR", "false")  # a command that ends at once
    bundle = MODELS / "omniglot-held-out"
    said = stopped("--train", "--output", tmp_path / "output", "--bundle", bundle, data=tmp_path)
    steps = Bundle.load(bundle).manifest.training["recipe"]["steps"]
    assert f"was trained for {steps:,}" in said
