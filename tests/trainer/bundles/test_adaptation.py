"""An adaptation is kept where it helps classes that it was not fitted to, and nothing else is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exemplar_encoder import Bundle, Preprocessing, load_encoder
from exemplar_encoder.arrays import Floats
from exemplar_trainer.bundles.adaptation import adapt, affine, fit_adaptation, require_enough, unit
from exemplar_trainer.bundles.external_model import export_external
from exemplar_trainer.bundles.onnx_file import read_onnx
from exemplar_trainer.bundles.onnx_graph import wrap
from exemplar_trainer.bundles.onnx_network import OnnxNetwork
from exemplar_trainer.bundles.scaling import Scaling
from exemplar_trainer.data.image_set import DatasetError, ImageSet
from exemplar_trainer.data.reading import read_data_set
from exemplar_trainer.evaluation.accuracy import measure
from exemplar_trainer.evaluation.episodes import Protocol, draw_episodes
from tests.trainer.synthetic_sets import gaussian_embeddings, synthetic_set
from tests.trainer.tiny_onnx import VECTOR, tiny_onnx, write_onnx

SPEC = Preprocessing(32, 32, 3)


def accuracy(embeddings: Floats, images: ImageSet, way: int = 8) -> float:
    return measure(embeddings, draw_episodes(images, Protocol(way), 100, seed=1)).value


def with_nuisance(images: ImageSet) -> Floats:
    """Return features that are far apart by something that no class has to do with."""
    features = gaussian_embeddings(images, spread=0.8)
    rng = np.random.default_rng(1)
    direction = rng.normal(size=features.shape[1])
    return (features + 3 * rng.normal(size=(len(features), 1)) * direction / np.linalg.norm(direction) + 2).astype(
        np.float32
    )


def noise_pictures(folder: Path, classes: int, each: int) -> Path:
    """Write pictures in which there is nothing to learn."""
    rng = np.random.default_rng(0)
    for number in range(classes):
        place = folder / f"class-{number:02d}"
        place.mkdir(parents=True)
        for index in range(each):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(place / f"{index}.png")
    return folder


def network(folder: Path, dimension: int) -> OnnxNetwork:
    file = write_onnx(tiny_onnx(VECTOR, dimension=dimension), folder / "model.onnx")
    return OnnxNetwork.start(wrap(read_onnx(file), Scaling(1 / 255), 32, 32), file.name)


def test_what_varies_within_all_classes_alike_is_evened_out_for_classes_that_nobody_fitted() -> None:
    images = synthetic_set({"": 40})
    features = with_nuisance(images)
    found = fit_adaptation(features, images)
    others = synthetic_set({"": 41})  # drawn anew, all of them
    fresh = with_nuisance(others)
    assert found.helps
    assert found.adapted > found.without + 0.2
    assert accuracy(adapt(fresh, found.matrix, found.offset), others) > accuracy(unit(fresh), others) + 0.2
    assert found.sentence.startswith("Adapted: on classes that the adaptation was not fitted to, ")


def test_features_that_vary_alike_in_all_directions_are_left_as_they_are() -> None:
    images = synthetic_set({"": 40})
    found = fit_adaptation(gaussian_embeddings(images, spread=1.5), images)
    assert not found.helps
    assert found.sentence.startswith("Not adapted, since that does not surely help: ")


def test_an_adaptation_to_the_very_classes_that_it_is_asked_about_cannot_report_what_it_does_on_them(
    tmp_path: Path,
) -> None:
    data = noise_pictures(tmp_path / "data", classes=16, each=3)
    images = read_data_set(data, SPEC)
    made = network(tmp_path, dimension=96)
    features = made.features(images.pixels)
    leaked = accuracy(adapt(features, *affine(features, images.labels)), images)
    assert leaked > 0.9, "noise is named right where the classes themselves were fitted"
    bundle = export_external(made, "model.onnx", SPEC, data, tmp_path / "bundle", "noise", adapt=True)
    told = [figure.value for figure in bundle.figures if figure.name.endswith("accuracy")]
    adaptation = bundle.manifest.training["adaptation"]
    assert max(*told, adaptation["with"]) < 0.6
    assert "not known" in bundle.calibration.fitted_on
    assert "never saw" not in (tmp_path / "bundle" / "report.html").read_text()


def test_a_network_that_was_adapted_is_served_as_its_features_mapped_and_one_that_was_not_as_it_was(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for number in range(16):  # colors, under light of a changing strength
        place = data / f"class-{number:02d}"
        place.mkdir(parents=True)
        color = rng.uniform(40, 120, (4, 4, 3))
        for index in range(4):
            lit = np.clip(color * rng.uniform(0.4, 2) + rng.normal(0, 4, (4, 4, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(lit).resize((32, 32), Image.Resampling.NEAREST).save(place / f"{index}.png")
    images = read_data_set(data, SPEC)
    made = network(tmp_path, dimension=24)
    features = made.features(images.pixels)
    for wanted in (True, False):
        bundle = export_external(made, "m", SPEC, data, tmp_path / str(wanted), "m", adapt=wanted)
        kept = wanted and bundle.manifest.training["adaptation"]["kept"]
        expected = adapt(features, *affine(features, images.labels)) if kept else unit(features)
        embedded = load_encoder(bundle.path, threads=1).embed(images.pixels)
        assert kept == wanted
        np.testing.assert_allclose(embedded, expected, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 7])
def test_too_few_classes_to_judge_one_half_by_the_other_are_refused(classes: int) -> None:
    with pytest.raises(DatasetError, match=f"takes 8 classes or more; here are {classes} classes"):
        require_enough(synthetic_set({"": classes}))


def test_what_came_of_it_is_in_the_manifest_with_its_interval(tmp_path: Path) -> None:
    data = noise_pictures(tmp_path / "data", classes=8, each=2)
    made = network(tmp_path, dimension=8)
    bundle = export_external(made, "m", SPEC, data, tmp_path / "bundle", "m", adapt=True)
    written = json.loads((tmp_path / "bundle" / "manifest.json").read_text())["training"]["adaptation"]
    low, high = written["gain"][1:]
    assert low <= written["with"] - written["without"] <= high
    assert Bundle.load(bundle.path).manifest.training["adaptation"] == written
