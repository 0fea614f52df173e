"""`exemplar train` beyond black on white: color, classes without groups, and a backbone."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from exemplar_encoder import Bundle, EncodedImage, load_encoder
from exemplar_encoder.bundle import REPORT
from exemplar_trainer.bundles import from_run
from tests.e2e.training_command import train, trained
from tests.trainer.backbones import settled_backbone, small_backbone
from tests.trainer.flags import draw_flags


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_flags(tmp_path_factory.mktemp("flags") / "flags")


@pytest.mark.slow
def test_color_and_a_wide_input_of_classes_without_groups_end_up_in_the_bundle(tmp_path: Path) -> None:
    data = draw_flags(tmp_path / "flags", grouped=False)
    bundle = trained(data, "--run", tmp_path / "[run]", "--color", "--size", "24x16", "--steps", "1")
    assert bundle.manifest.recipe == "color"
    assert bundle.manifest.preprocessing.shape == (16, 24, 3)
    assert bundle.manifest.preprocessing.framing == "whole"
    assert bundle.manifest.training["held_out"] == ["flag00", "flag05", "flag10", "flag01"]
    assert not [figure.name for figure in bundle.figures if "within-group" in figure.name]
    assert "unstructured 4-way 1-shot accuracy" in [figure.name for figure in bundle.figures]
    encoder = load_encoder(bundle.path, threads=1)
    prepared = encoder.prepare(EncodedImage((data / "flag01" / "plain.png").read_bytes()))
    assert encoder.embed(prepared.pixels[None]).shape == (1, 128)


@pytest.mark.slow
def test_a_backbone_is_trained_from_a_weights_file(flags: Path, tmp_path: Path) -> None:
    weights = tmp_path / "small.weights.h5"
    settled_backbone("mobilenetv3-small").save_weights(weights)
    options = ("--backbone", "mobilenetv3-small", "--weights", weights, "--frozen", "--size", "32", "--steps", "1")
    bundle = trained(flags, "--run", tmp_path / "run", *options)
    assert bundle.manifest.recipe == "photo"
    assert bundle.manifest.training["recipe"]["network"] == "mobilenetv3-small"
    assert bundle.manifest.training["held_out"] == ["bright"]  # a group, as classes.csv has it
    assert keras.saving.load_model(bundle.path / "base_network.keras").output_shape == (None, 256)
    assert "small.weights.h5" in (bundle.path / REPORT).read_text()


@pytest.mark.slow
def test_a_backbone_of_the_users_own_is_trained_out_of_its_file(flags: Path, tmp_path: Path) -> None:
    small_backbone().save(tmp_path / "own.keras")
    options = ("--backbone", tmp_path / "own.keras", "--frozen", "--size", "32", "--steps", "1")
    bundle = trained(flags, "--run", tmp_path / "run", *options)
    assert bundle.manifest.recipe == "photo"
    network = keras.saving.load_model(bundle.path / "base_network.keras")
    mine, its = (
        each.get_layer("filters").get_weights() for each in (network, keras.saving.load_model(tmp_path / "own.keras"))
    )
    for one, other in zip(mine, its, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    assert "own.keras" in (bundle.path / REPORT).read_text()


def test_weights_that_cannot_be_loaded_leave_no_run_behind(flags: Path, tmp_path: Path) -> None:
    weights = tmp_path / "other.weights.h5"
    weights.write_bytes(b"of another network")
    done = train(
        *(flags, "--run", tmp_path / "run", "--size", "32", "--steps", "1"),
        *("--backbone", "mobilenetv3-small", "--weights", weights),
    )
    assert done.exit_code == 1
    assert "other.weights.h5, as weights of mobilenetv3-small, cannot be loaded" in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_keras_prints_is_no_part_of_the_json(
    flags: Path, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish_loudly(*anything: object) -> Bundle:
        print("Downloading data from afar")
        return Bundle.load(tiny_bundle)

    monkeypatch.setattr(from_run, "finish_run", finish_loudly)
    done = train(flags, "--run", tmp_path / "run", "--json")
    assert json.loads(done.stdout)["id"] == Bundle.load(tiny_bundle).id
    assert "Downloading data from afar" in done.stderr


def test_a_missing_weights_file_is_one_sentence(flags: Path, tmp_path: Path) -> None:
    done = train(
        *(flags, "--run", tmp_path / "run", "--size", "32", "--steps", "2"),
        *("--backbone", "mobilenetv3-small", "--weights", tmp_path / "no.weights.h5"),
    )
    assert done.exit_code == 1
    assert "exemplar: there is no weights file" in done.stderr
    assert not (tmp_path / "run").exists()
