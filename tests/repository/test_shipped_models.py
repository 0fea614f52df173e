"""The bundles in models/: whole, small, honest about what they saw, and at ease with any paper."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.strokes import draw_alphabets
from exemplar_encoder import Bundle, EncodedImage, Encoder, load_encoder
from exemplar_encoder.arrays import Floats

MODELS = Path(__file__).resolve().parents[2] / "models"
NAMES = ("omniglot", "omniglot-held-out")
SIX = ["Alphabet_of_the_Magi", "Balinese", "Cyrillic", "Gujarati", "Korean", "Ojibwe_(Canadian_Aboriginal_Syllabics)"]


@pytest.fixture(scope="module")
def drawings(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    root = tmp_path_factory.mktemp("drawings")
    draw_alphabets(root, alphabets=2, characters=10, drawers=1)
    return [Image.open(path).convert("L") for path in sorted(root.rglob("*.png"))]


def on_paper(drawing: Image.Image, paper: int, ink: int) -> EncodedImage:
    """Return the drawing in other levels, with the noise of a scan."""
    shares = np.asarray(drawing, np.float64) / 255
    noise = np.random.default_rng(0).normal(0, 3, shares.shape)
    stream = io.BytesIO()
    Image.fromarray((ink + shares * (paper - ink) + noise).clip(0, 255).astype(np.uint8)).save(stream, "PNG")
    return EncodedImage(stream.getvalue())


def embedded(encoder: Encoder, drawings: list[Image.Image], paper: int, ink: int) -> Floats:
    return encoder.embed(np.stack([encoder.prepare(on_paper(each, paper, ink)).pixels for each in drawings]))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_bundle_is_whole_and_takes_at_most_eight_megabytes(name: str) -> None:
    load_encoder(MODELS / name, threads=1)
    assert sum(path.stat().st_size for path in (MODELS / name).rglob("*") if path.is_file()) < 8_000_000


def test_one_model_held_six_alphabets_out_and_the_other_has_seen_them_and_says_so() -> None:
    final, measured = (Bundle.load(MODELS / name) for name in NAMES)
    assert sorted(measured.manifest.training["held_out"]) == sorted(SIX)
    assert measured.manifest.training["training_classes"] == 785
    assert final.manifest.training["held_out"] == []
    assert sorted(final.manifest.training["measured_without"]) == sorted(SIX)
    assert final.manifest.training["training_classes"] == 964
    assert final.manifest.training["recipe"] == measured.manifest.training["recipe"]
    assert final.figures == measured.figures
    assert final.calibration == measured.calibration


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("paper", "ink"), [(238, 60), (250, 170), (35, 215)], ids=["gray paper", "pencil", "chalk"])
def test_a_drawing_is_itself_on_any_paper(name: str, paper: int, ink: int, drawings: list[Image.Image]) -> None:
    encoder = load_encoder(MODELS / name, threads=1)
    clean, other = embedded(encoder, drawings, 255, 0), embedded(encoder, drawings, paper, ink)
    moved = np.linalg.norm(clean - other, axis=1)
    calibration = encoder.bundle.calibration
    threshold = calibration.threshold(0.05, 20, calibration.spacing(20, None))
    assert np.median(moved) < 0.5 * threshold
    nearest = np.linalg.norm(other[:, None] - clean[None], axis=2).argmin(axis=1)
    assert np.array_equal(nearest, np.arange(len(drawings)))
