"""`exemplar export`: a network from elsewhere becomes a bundle like any other."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from typer.testing import CliRunner, Result

from exemplar_encoder import Bundle, EncodedImage, load_encoder
from exemplar_encoder.bundle import REPORT
from exemplar_trainer.cli.export import app
from exemplar_trainer.cli.foreign_model import ForeignModel
from tests.trainer.backbones import settled_backbone
from tests.trainer.flags import draw_flags


def export(*arguments: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(argument) for argument in arguments])


def embedder(shape: tuple[int | None, ...] = (24, 32, 1), outputs: int = 1) -> keras.Model:
    keras.utils.set_random_seed(1)
    images = keras.Input(shape)
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(images)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, [layers.Dense(6)(x) for _ in range(outputs)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "mine.keras"
    embedder().save(path)
    return path


@pytest.mark.slow
def test_a_bundle_of_a_keras_model_says_what_it_is_and_gives_its_vectors_at_unit_length(
    model: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    target = tmp_path / "bundle"
    done = export(drawn_alphabets, "--model", model, "--pixels", "-1-1", "-o", target, "--json")
    assert done.exit_code == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["bundle"] == str(target)
    bundle = Bundle.load(target)
    assert bundle.id == outcome["id"]
    assert (bundle.manifest.recipe, bundle.manifest.name) == ("export", "mine")
    # All classes measure and calibrate, and the bundle says so.
    assert bundle.manifest.training["training_classes"] == 0
    assert bundle.manifest.training["held_out_classes"] == 48
    assert "48 classes" in bundle.calibration.fitted_on
    assert "unstructured 20-way 1-shot accuracy" in [figure.name for figure in bundle.figures]
    assert "trained here" in (target / REPORT).read_text()
    encoder = load_encoder(target, threads=1)
    prepared = encoder.prepare(EncodedImage(next(drawn_alphabets.rglob("*.png")).read_bytes()))
    assert prepared.pixels.shape == (24, 32, 1)
    vector = np.asarray(keras.saving.load_model(model)(prepared.pixels[None] / np.float32(127.5) - 1))
    unit = vector / np.linalg.norm(vector)
    np.testing.assert_allclose(encoder.embed(prepared.pixels[None]), unit, atol=5e-3)  # weights in half precision


@pytest.mark.slow
def test_a_backbone_becomes_a_bundle_without_training(tmp_path: Path) -> None:
    weights, flags = tmp_path / "published.weights.h5", draw_flags(tmp_path / "flags")
    settled_backbone("mobilenetv3-small").save_weights(weights)
    words = ("--backbone", "mobilenetv3-small", "--weights", weights, "--size", "48x32")
    done = export(flags, *words, "-o", tmp_path / "bundle")
    assert done.exit_code == 0, done.stderr
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.manifest.preprocessing.shape == (32, 48, 3)
    assert bundle.manifest.dimension == 576
    assert str(tmp_path / "bundle") in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: embedder((None, None, 1)), "it needs images (None, height, width, 1 or 3) of a fixed size"),
        (lambda: embedder((24, 24, 4)), "it needs images (None, height, width, 1 or 3) of a fixed size"),
        (lambda: embedder(outputs=2), "has 1 inputs and 2 outputs; it needs one of each"),
        (
            lambda: keras.Sequential([keras.Input((24, 24, 1)), layers.Conv2D(4, 3)]),
            "it needs one vector an image, (None, dimension)",
        ),
        (
            lambda: keras.Sequential([keras.Input((24, 24, 1)), layers.Flatten(), layers.Lambda(lambda x: x * 2)]),
            "cannot be loaded",
        ),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_with_what_it_needs(
    made: object, words: str, drawn_alphabets: Path, tmp_path: Path
) -> None:
    assert callable(made)
    made().save(tmp_path / "model.keras")
    done = export(drawn_alphabets, "--model", tmp_path / "model.keras", "-o", tmp_path / "bundle")
    assert done.exit_code == 1
    assert words in " ".join(done.stderr.split())
    assert not (tmp_path / "bundle").exists()


def test_what_keras_prints_of_a_download_is_no_part_of_the_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))  # where no weights are yet
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody answers there
    words = ("--backbone", "mobilenetv3-small", "--json")
    done = export(tmp_path, *words, "-o", tmp_path / "bundle")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Downloading data from" in done.stderr
    assert "the published weights of mobilenetv3-small cannot be loaded" in done.stderr


def test_a_backbone_without_weights_is_the_same_every_time() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 3), dtype=np.uint8)
    asked = ForeignModel(backbone="mobilenetv3-small", weights="none", size="48x32", fit="squash")
    (network, spec, made), (again, _, _) = asked.open(print), asked.open(print)
    assert made == "mobilenetv3-small, random weights"
    assert (spec.shape, spec.fit) == ((32, 48, 3), "squash")
    np.testing.assert_array_equal(network.embed(pixels), again.embed(pixels))


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_a_file_that_is_no_model_is_named(content: bytes | None, drawn_alphabets: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    done = export(drawn_alphabets, "--model", path, "-o", tmp_path / "bundle")
    assert done.exit_code == 1
    assert "model.keras" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ((), "name either a --model or a --backbone"),
        (("--model", "a.keras", "--backbone", "mobilenetv3-small"), "name either a --model or a --backbone"),
        (("--backbone", "vgg"), "there is no backbone 'vgg'"),
        (("--model", "a.keras", "--pixels", "0-9"), "--pixels is one of 0-255, 0-1, -1-1"),
        (("--model", "a.keras", "--framing", "half"), "'half' is not one of 'whole', 'ink'"),
        (("--model", "a.keras", "--size", "64"), "--size goes with a --backbone or an .onnx file, not with a .keras"),
        (
            ("--backbone", "mobilenetv3-small", "--pixels", "0-1"),
            "--pixels goes with a .keras file or an .onnx file,",
        ),
        (("--backbone", "mobilenetv3-small", "--output", "last"), "--output goes with an .onnx file or a model's"),
        (("--model", "folder", "--fit", "crop"), "--fit goes with a --backbone or a .keras file or an .onnx file"),
        (("--model", "a.onnx", "--weights", "none"), "--weights goes with a --backbone, not with an .onnx file"),
        (("--model", "a.onnx", "--size", "64"), "say what numbers the model takes pixels as: --pixels"),
        (("--model", "a.onnx", "--pixels", "0-1", "--size", "big"), "--size takes a side or WIDTHxHEIGHT in pixels"),
        (("--model", "a.onnx", "--mean", "0.5"), "give --mean and --std together, or --pixels instead of both"),
        (("--model", "a.onnx", "--mean", "1", "--std", "1", "--pixels", "0-1"), "give --mean and --std together"),
        (("--model", "a.onnx", "--mean", "1,2", "--std", "1"), "--mean takes one number, or three such as"),
        (("--model", "a.onnx", "--mean", "1,nan,2", "--std", "1"), "not '1,nan,2'"),
        (("--model", "a.onnx", "--mean", "1", "--std", "1,0,1"), "--std divides, so none of it can be 0"),
        (
            ("--model", "a.onnx", "--pixels", "0-1", "--framing", "ink", "--fit", "crop"),
            "--framing ink goes with --fit letterbox, not with crop",
        ),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what_is_right(
    words: tuple[str, ...], answer: str, tmp_path: Path
) -> None:
    done = export(tmp_path, *words, "-o", tmp_path / "bundle")
    assert done.exit_code == 2
    assert answer in " ".join(done.stderr.replace("│", " ").split())
