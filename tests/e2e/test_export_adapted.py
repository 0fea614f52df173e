"""`exemplar export --adapt`: what is told and served of an adaptation, where it helps and where it cannot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from typer.testing import CliRunner, Result

from exemplar_encoder import Bundle, Preprocessing
from exemplar_encoder import bundle as layout
from exemplar_encoder.arrays import Floats, Pixels
from exemplar_trainer.bundles.adaptation import adapt, affine, fit_adaptation, unit
from exemplar_trainer.bundles.keras_network import KerasNetwork
from exemplar_trainer.bundles.onnx_file import read_onnx
from exemplar_trainer.bundles.onnx_graph import wrap
from exemplar_trainer.bundles.onnx_network import OnnxNetwork
from exemplar_trainer.bundles.scaling import Scaling
from exemplar_trainer.cli.export import app
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.reading import read_data_set
from exemplar_trainer.evaluation.accuracy import measure
from exemplar_trainer.evaluation.episodes import Protocol, draw_episodes
from tests.trainer.tiny_onnx import tiny_onnx, write_onnx

pytestmark = pytest.mark.slow

SPEC = Preprocessing(32, 32, 3)


def write_pictures(folder: Path, pictures: Pixels) -> Path:
    """Write pictures `[classes, images, 32, 32, 3]` as CLASS/IMAGE."""
    for label, images in enumerate(pictures):
        (folder / f"class-{label:02d}").mkdir(parents=True)
        for number, pixels in enumerate(images):
            Image.fromarray(pixels).save(folder / f"class-{label:02d}" / f"{number}.png")
    return folder


def noise(classes: int, images: int = 4) -> Pixels:
    """Return pictures that have nothing in common within a class."""
    return np.random.default_rng(1).integers(0, 256, (classes, images, 32, 32, 3), dtype=np.uint8)


def under_one_cast(classes: int = 24, images: int = 4) -> Pixels:
    """Return pictures of faint patterns, one a class, under one strong pattern that says nothing of the class."""
    rng = np.random.default_rng(2)
    faint = rng.normal(0, 12, (classes, 1, 8, 8, 3))
    cast = rng.uniform(-1, 1, (classes, images, 1, 1, 1)) * rng.choice([-50.0, 50.0], (8, 8, 3))
    tiles = 128 + faint + cast + rng.normal(0, 1, (classes, images, 8, 8, 3))
    return np.tile(np.clip(tiles, 0, 255).astype(np.uint8), (1, 1, 4, 4, 1))


def export(pictures: Path, model: Path, target: Path, *words: str) -> Result:
    arguments = [str(pictures), "--model", str(model), "--pixels", "0-1", "-o", str(target), *words]
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, arguments)


def features(model: Path, images: ImageSet) -> Floats:
    graph = wrap(read_onnx(model, ""), Scaling(1 / 255), SPEC.width, SPEC.height)
    return OnnxNetwork.start(graph, model.name).features(images.pixels)


@dataclass(frozen=True)
class Exported:
    """Pictures that are noise, through a network of many dimensions: as it is, and with an adaptation asked for."""

    pictures: Path
    model: Path
    plain: Bundle
    asked: Bundle
    said_of_plain: str
    said: str


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("noise")
    pictures = write_pictures(folder / "pictures", noise(9))
    model = write_onnx(tiny_onnx(dimension=256), folder / "wide.onnx")
    plain = export(pictures, model, folder / "plain")
    asked = export(pictures, model, folder / "asked", "--adapt", "--json")
    assert (plain.exit_code, asked.exit_code) == (0, 0), plain.stderr + asked.stderr
    made, made_asked = Bundle.load(folder / "plain"), Bundle.load(folder / "asked")
    return Exported(pictures, model, made, made_asked, plain.output, asked.stdout)


def test_an_adaptation_that_cannot_help_is_not_kept_and_leaves_the_bundle_as_it_was(exported: Exported) -> None:
    plain, asked = exported.plain, exported.asked
    told = json.loads(exported.said)["adaptation"]
    assert not told["kept"]
    assert told["sentence"].startswith("Not adapted, since that does not surely help: ")
    assert (asked.path / layout.ONNX).read_bytes() == (plain.path / layout.ONNX).read_bytes()
    assert asked.figures == plain.figures
    assert asked.calibration == plain.calibration
    assert "dapted" not in exported.said_of_plain


def test_the_figure_of_classes_that_the_adaptation_was_fitted_to_is_told_nowhere(exported: Exported) -> None:
    images = read_data_set(exported.pictures, SPEC)
    plain = features(exported.model, images)
    itself = adapt(plain, *affine(plain, images.labels))
    leaked = measure(itself, draw_episodes(images, Protocol(5), 400, seed=0)).value
    assert leaked > 0.95, "noise is named right where the classes themselves were fitted"
    told = json.loads(exported.said)
    named = [figure for figure in told["figures"] if figure["name"].endswith("accuracy")]
    assert named
    assert max(told["adaptation"]["with"], *(figure["value"] for figure in named)) < 0.5
    manifest, report = ((exported.asked.path / file).read_text() for file in (layout.MANIFEST, layout.REPORT))
    for shown in (manifest, report, exported.said):
        assert f"{leaked:.1%}" not in shown


def test_figures_of_a_network_from_elsewhere_say_that_its_training_is_not_known(exported: Exported) -> None:
    words = "9 classes of pictures; what the network's makers trained it on is not known here"
    manifest, report = ((exported.plain.path / file).read_text() for file in (layout.MANIFEST, layout.REPORT))
    assert exported.plain.calibration.fitted_on == words
    assert json.loads(exported.said)["measured_on"] == words
    assert f"Measured on {words}" in " ".join(exported.said_of_plain.split())
    assert f"Measured on {words}" in report.replace("&#39;", "'")
    for shown in (manifest, report, exported.said_of_plain, exported.said):
        assert "never" not in shown
        assert "unseen" not in shown


def test_an_adaptation_that_helps_is_kept_and_no_class_judged_one_that_it_helped_to_fit(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", under_one_cast())
    images = read_data_set(pictures, SPEC)
    plain = features(write_onnx(tiny_onnx(dimension=64), tmp_path / "tiny.onnx"), images)
    adaptation = fit_adaptation(plain, images)
    assert adaptation.helps
    assert adaptation.adapted > adaptation.without + 0.3
    names = np.array(images.class_names)[images.labels]
    for one, other in zip(adaptation.spaces[::2], adaptation.spaces[1::2], strict=True):
        assert sorted(one.images.class_names + other.images.class_names) == sorted(images.class_names)
        for judging, fitted in ((one, other), (other, one)):
            helped = np.isin(names, fitted.images.class_names)
            expected = adapt(plain[~helped], *affine(plain[helped], images.labels[helped]))
            np.testing.assert_allclose(judging.embeddings, expected, atol=1e-6)


def test_an_adapted_network_of_keras_embeds_its_features_mapped_and_at_unit_length(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    pixels = keras.Input((32, 32, 3))
    x = layers.AveragePooling2D(4)(layers.Rescaling(1 / 255)(pixels))
    x = layers.Dense(16)(layers.Flatten()(x))
    network = KerasNetwork(keras.Model(pixels, layers.UnitNormalization(name="unit_length", dtype="float32")(x)))
    images = read_data_set(write_pictures(tmp_path / "pictures", under_one_cast()), SPEC)
    plain = network.features(images.pixels)
    matrix, offset = affine(plain, images.labels)
    halved = (part.astype(np.float16).astype(np.float64) for part in (matrix, offset))  # as a bundle holds weights
    adapted = network.adapted(matrix, offset).embed(images.pixels)
    np.testing.assert_allclose(adapted, adapt(plain, *halved), atol=1e-5)
    np.testing.assert_allclose(network.embed(images.pixels), unit(plain), atol=1e-6)


def test_too_few_classes_are_refused_with_how_many_it_takes(tmp_path: Path) -> None:
    model = write_onnx(tiny_onnx(), tmp_path / "tiny.onnx")
    done = export(write_pictures(tmp_path / "pictures", noise(7)), model, tmp_path / "bundle", "--adapt")
    assert done.exit_code == 1
    assert "takes 8 classes or more; here are 7 classes" in " ".join(done.stderr.split())
    assert not (tmp_path / "bundle").exists()
