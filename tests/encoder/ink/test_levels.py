"""A drawing looks the same to the network on whatever paper, in whatever ink."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from exemplar_encoder import Preprocessing, preprocess
from exemplar_encoder.ink.levels import stretched

SPEC = Preprocessing(48, 48, 1, resample="bilinear", framing="ink", levels="stretched")


def drawing(paper: int = 255, ink: int = 0, size: int = 105, width: int = 3) -> Image.Image:
    image = Image.new("L", (size, size), paper)
    points = [(0.2, 0.3), (0.6, 0.2), (0.7, 0.7), (0.3, 0.8)]
    ImageDraw.Draw(image).line([(x * size, y * size) for x, y in points], fill=ink, width=width)
    return image


def noisy(image: Image.Image, deviation: float) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, deviation, (image.height, image.width))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def test_black_on_white_stays_to_the_pixel() -> None:
    np.testing.assert_array_equal(np.asarray(stretched(drawing(), 255)), np.asarray(drawing()))


@pytest.mark.parametrize(("paper", "ink"), [(238, 60), (200, 120), (255, 200), (0, 255), (40, 180), (128, 100)])
def test_paper_becomes_background_and_ink_its_opposite(paper: int, ink: int) -> None:
    for background, end in ((255, 0), (0, 255)):
        expected = drawing(background, end)
        np.testing.assert_array_equal(np.asarray(stretched(drawing(paper, ink), background)), np.asarray(expected))


@pytest.mark.parametrize(("paper", "ink"), [(238, 60), (30, 220)])
def test_the_network_sees_nearly_the_same_through_noise(paper: int, ink: int) -> None:
    clean = preprocess(drawing(), SPEC).astype(float)
    seen = preprocess(noisy(drawing(paper, ink), 4.0), SPEC).astype(float)
    assert np.abs(seen - clean).mean() < 4


def test_levels_between_stay_in_proportion_and_grain_is_gone() -> None:
    image = np.full((50, 50), 240, np.uint8)
    for corner, level in ((5, 40), (15, 60), (25, 140), (35, 190), (42, 220)):
        image[corner : corner + 5, corner : corner + 5] = level
    found = np.asarray(stretched(Image.fromarray(image), 255))
    assert [found[at + 2, at + 2] for at in (5, 15)] == [0, 0]  # ink, and what is nearly ink
    assert [found[at + 2, at + 2] for at in (25, 35)] == [128, 219]  # a half, and (0.25 - 0.15) / 0.7
    assert [found[at, at] for at in (44, 0)] == [255, 255]  # what is nearly paper, and paper


def test_a_few_specks_do_not_set_the_scale() -> None:
    image = drawing(230, 90)
    image.putpixel((3, 3), 0)
    image.putpixel((99, 5), 255)
    assert np.asarray(stretched(image, 255))[30:80, 20:80].min() == 0
    assert np.abs(np.asarray(stretched(image, 255)).astype(int) - np.asarray(drawing()))[5:95, 5:95].max() == 0


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (40, 40), 200),
        noisy(Image.new("L", (60, 60), 240), 3.0),
        Image.linear_gradient("L"),
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)),
    ],
    ids=["blank", "noise", "gradient", "texture"],
)
def test_what_is_no_drawing_stays_as_it_is(image: Image.Image) -> None:
    np.testing.assert_array_equal(np.asarray(stretched(image, 255)), np.asarray(image))


def test_a_bold_figure_does_not_turn_over() -> None:
    image = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(image).ellipse((6, 6, 94, 94), fill=0)
    assert (np.asarray(image) == 0).mean() > 0.55
    np.testing.assert_array_equal(np.asarray(stretched(image, 255)), np.asarray(image))


def test_levels_are_kept_unless_asked_for() -> None:
    kept = Preprocessing(48, 48, 1, framing="ink")
    assert kept.levels == "kept"
    assert preprocess(drawing(230, 120), kept).min() > 80


@pytest.mark.parametrize("wrong", [{"channels": 3}, {"framing": "whole"}])
def test_levels_are_for_framed_drawings_in_one_channel(wrong: dict[str, object]) -> None:
    fields: dict[str, object] = {"width": 48, "height": 48, "channels": 1, "framing": "ink", "levels": "stretched"}
    with pytest.raises(ValueError, match="levels are stretched in one channel"):
        Preprocessing(**{**fields, **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="levels must be kept or stretched, not 'flat'"):
        Preprocessing(**{**fields, "levels": "flat"})  # type: ignore[arg-type]
