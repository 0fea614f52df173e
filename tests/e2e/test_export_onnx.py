"""`exemplar export` of ONNX models: what is served is what Pillow, NumPy and the model alone make of a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

from exemplar_encoder import Bundle, EncodedImage, decode, load_encoder, preprocess
from exemplar_encoder import bundle as layout
from exemplar_encoder.arrays import Pixels
from exemplar_trainer.cli.export import app
from exemplar_trainer.cli.foreign_model import ForeignModel
from tests.e2e.training_command import words_of
from tests.e2e.without_keras import exemplar_without_keras
from tests.trainer.flags import draw_flags
from tests.trainer.onnx_reference import reference
from tests.trainer.tiny_onnx import HUGGING_FACE, tiny_onnx, write_onnx

MEAN, STD = (0.48, 0.45, 0.4), (0.22, 0.24, 0.3)


def squashed(file: Path, width: int, height: int, resample: Image.Resampling) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB").resize((width, height), resample))


def by_commas(numbers: tuple[float, ...]) -> str:
    return ",".join(map(str, numbers))


@pytest.mark.slow
@pytest.mark.process
def test_a_folder_of_hugging_face_is_exported_and_served_without_keras(tmp_path: Path) -> None:
    flags, folder, target = draw_flags(tmp_path / "flags"), tmp_path / "tiny-vit", tmp_path / "bundle"
    model = tiny_onnx(HUGGING_FACE, size=None, dimension=40)
    write_onnx(model, folder / "onnx" / "model.onnx", external=True)
    said = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": 32, "width": 48},
        "resample": 3,
        "image_mean": MEAN,
        "image_std": STD,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    done = exemplar_without_keras("export", flags, "--model", folder, "-o", target, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bundle"] == str(target)
    bundle = Bundle.load(target)
    assert bundle.engines == ("onnx",)
    assert (bundle.manifest.name, bundle.manifest.dimension) == ("tiny-vit", 40)
    assert {each.name for each in target.iterdir() if each.is_file()} == {
        layout.ONNX,
        layout.MANIFEST,
        layout.CHECKSUM,
        layout.CALIBRATION,
        layout.REPORT,
    }
    encoder = load_encoder(target, threads=1)
    for file in sorted(flags.rglob("*.png"))[::7]:
        embedding = encoder.embed(encoder.prepare(EncodedImage(file.read_bytes())).pixels[None])
        pixels = squashed(file, 48, 32, Image.Resampling.BICUBIC)
        np.testing.assert_allclose(embedding, reference(model, "pooler_output", pixels[None], MEAN, STD), atol=1e-5)


def test_the_options_say_how_pictures_go_into_a_lone_file(tmp_path: Path) -> None:
    flags = draw_flags(tmp_path / "flags")
    model = tiny_onnx(HUGGING_FACE, size=None)
    asked = ForeignModel(
        write_onnx(model, tmp_path / "lone.onnx"),
        mean=by_commas(MEAN),
        std=by_commas(STD),
        size="40x32",
        fit="squash",
        resample="nearest",
        output="last_hidden_state",
    )
    asked.check()
    network, spec, made = asked.open(print)
    assert made == "lone.onnx"
    for file in sorted(flags.rglob("*.png"))[::7]:
        pixels = preprocess(decode(file.read_bytes()).pixels, spec)
        alone = squashed(file, 40, 32, Image.Resampling.NEAREST)
        expected = reference(model, "last_hidden_state", alone[None], MEAN, STD)
        np.testing.assert_allclose(network.embed(pixels[None]), expected, atol=1e-5)


@pytest.mark.parametrize(("pixels", "mean", "std"), [("0-255", 0.0, 1 / 255), ("0-1", 0.0, 1.0), ("-1-1", 0.5, 0.5)])
def test_black_and_white_become_what_the_model_takes(pixels: str, mean: float, std: float, tmp_path: Path) -> None:
    model = tiny_onnx()
    network, spec, _ = ForeignModel(write_onnx(model, tmp_path / "lone.onnx"), pixels=pixels).open(print)
    assert (spec.shape, spec.fit, spec.resample, spec.framing) == ((32, 32, 3), "letterbox", "bilinear", "whole")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    expected = reference(model, "embeddings", images, [mean], [std])
    np.testing.assert_allclose(network.embed(images), expected, atol=1e-5)


def test_a_bundle_is_named_after_its_model(tmp_path: Path) -> None:
    assert ForeignModel(tmp_path / "lone.onnx").title == "lone"
    assert ForeignModel(tmp_path / "tiny-vit.v2").title == "tiny-vit.v2"


@pytest.mark.parametrize(
    ("name", "model", "options", "words"),
    [
        ("gone.onnx", None, (), "gone.onnx; name a model's file, or its folder"),
        ("gone", None, (), "gone; name a model's file, or its folder"),
        ("lone.onnx", tiny_onnx(), (), "it holds none of preprocessor_config.json"),
        ("lone.onnx", tiny_onnx(), (), "; or say it with --pixels, or with --mean and --std"),
        ("lone.onnx", tiny_onnx(size=None), ("--pixels", "0-1"), "takes pictures of any size; say the one that"),
        ("lone.onnx", tiny_onnx(), ("--pixels", "0-1", "--size", "64"), "of 32 x 32 pixels, not of 64 x 64"),
        ("lone.onnx", tiny_onnx(channels=1), ("--mean", "0,0,0", "--std", "1"), "give --mean and --std one number"),
        ("lone.onnx", tiny_onnx(), ("--pixels", "0-1", "--output", "x"), "has no output 'x'"),
        ("model.pt", tiny_onnx(), (), "model.pt holds weights of PyTorch, which alone are no network; make ONNX of"),
        ("model.safetensors", tiny_onnx(), (), "`optimum-cli export onnx --model FOLDER"),
        ("model.bin", tiny_onnx(), (), "torch.onnx.export(network.eval(), torch.zeros(1, 3, HEIGHT, WIDTH)"),
        ("model.tflite", tiny_onnx(), (), "is no model that can be served; name an .onnx or a .keras file"),
    ],
)
def test_a_model_that_cannot_be_served_is_one_sentence(
    name: str, model: onnx.ModelProto | None, options: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    if model is not None:
        write_onnx(model, tmp_path / name)
    asked = ["export", str(tmp_path), "--model", str(tmp_path / name), "-o", str(tmp_path / "bundle"), *options]
    done = CliRunner(env={"COLUMNS": "120"}).invoke(app, asked[1:])
    assert done.exit_code == 1
    assert words in words_of(done)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_is_no_bundle_is_left_alone_before_anything_is_measured(tmp_path: Path) -> None:
    model, taken = write_onnx(tiny_onnx(), tmp_path / "lone.onnx"), tmp_path / "taken"
    taken.mkdir()
    asked = (tmp_path / "no pictures", "--model", model, "--pixels", "0-1", "-o", taken)
    done = CliRunner(env={"COLUMNS": "120"}).invoke(app, [str(word) for word in asked])
    assert done.exit_code == 1
    assert "taken exists and is no bundle; name another folder" in words_of(done)


@pytest.mark.process
def test_a_network_of_keras_says_what_it_needs_where_keras_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()
    asked = ("export", tmp_path, "--model", tmp_path / "model.keras", "-o", tmp_path / "bundle")
    done = exemplar_without_keras(*asked)
    assert done.returncode == 2
    told = "exemplar: a .keras file needs keras, which is not installed: pip install 'exemplar[train]'\n"
    assert done.stderr == told
