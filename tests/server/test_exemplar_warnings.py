"""Warnings about exemplars: each kind of trouble is found, and good pictures are left alone."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from exemplar_encoder import PreparedImage, Preprocessing, fitted
from exemplar_encoder.arrays import Pixels
from exemplar_server.exemplar_warnings import WarningKind, image_warnings, neighbor_warnings

INPUT = Preprocessing(64, 64, 1)
FRAMED = Preprocessing(64, 64, 1, resample="bilinear", framing="ink")
SPECS = [
    INPUT,
    FRAMED,
    Preprocessing(64, 64, 1, framing="ink", levels="stretched"),
    Preprocessing(96, 64, 3, framing="ink"),
    Preprocessing(64, 64, 3, fit="crop", resize=72),
    Preprocessing(64, 96, 3, fit="crop"),
    Preprocessing(64, 64, 3, resample="nearest", fit="squash"),
]


def prepared(image: Image.Image, spec: Preprocessing = INPUT) -> PreparedImage:
    view = fitted(image, spec)
    return PreparedImage(view.pixels, "PNG", image.width, image.height, view.shown, view.enlargement, "")


def kinds(image: Image.Image, spec: Preprocessing = INPUT) -> list[WarningKind]:
    return [warning.kind for warning in image_warnings(prepared(image, spec))]


def drawing(size: tuple[int, int] = (128, 128)) -> Image.Image:
    image = Image.new("L", size, 255)
    pen = ImageDraw.Draw(image)
    width, height = size
    pen.line(
        [(width // 6, height // 5), (width // 2, 4 * height // 5), (5 * width // 6, height // 4)], fill=0, width=4
    )
    pen.ellipse([width // 3, height // 3, 2 * width // 3, 2 * height // 3], outline=0, width=3)
    return image


def photo(contrast: int = 100) -> Image.Image:
    """Return noise whose amplitude falls with its frequency, as in photographs, with some sharp edges in it."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    noise = np.fft.fft2(np.random.default_rng(0).normal(size=(256, 256)))
    texture = np.fft.ifft2(noise / np.maximum(frequency, 1 / 256)).real
    texture /= texture.std()
    texture[60:200, 80:150] += 1
    gray = 128 + contrast * texture / 4
    return Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("spec", [INPUT, Preprocessing(64, 64, 3), FRAMED])
@pytest.mark.parametrize("image", [drawing(), photo(), photo(20), drawing((400, 90)), drawing((64, 64))])
def test_good_pictures_are_left_alone(image: Image.Image, spec: Preprocessing) -> None:
    assert kinds(image, spec) == []


@pytest.mark.parametrize("shade", [0, 128, 255])
@pytest.mark.parametrize("size", [(100, 100), (400, 90), (70, 300)])
@pytest.mark.parametrize("spec", [INPUT, FRAMED])
def test_a_blank_picture_is_found_whatever_its_shade_and_shape(
    shade: int, size: tuple[int, int], spec: Preprocessing
) -> None:
    noise = np.random.default_rng(0).normal(shade, 1, (size[1], size[0]))
    assert kinds(Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)), spec) == [WarningKind.BLANK]


@pytest.mark.parametrize("shade", [0, 90])
@pytest.mark.parametrize("places", [[(50, 50)], [(9, 12), (80, 40)], [(30, 30), (34, 60), (70, 90), (95, 5)]])
@pytest.mark.parametrize("size", [(100, 100), (100, 300)])
@pytest.mark.parametrize("spec", [INPUT, FRAMED])
def test_a_few_specks_on_blank_paper_are_blank(
    shade: int, places: list[tuple[int, int]], size: tuple[int, int], spec: Preprocessing
) -> None:
    image = Image.new("L", size, 245)
    for x, y in places:
        image.paste(shade, (x, y, x + 2, y + 2))
    assert kinds(image, spec) == [WarningKind.BLANK]


@pytest.mark.parametrize("spec", [INPUT, FRAMED])
@pytest.mark.parametrize("diameter", [14, 40, 90])
def test_a_dot_that_was_meant_is_not_blank(diameter: int, spec: Preprocessing) -> None:
    image = Image.new("L", (100, 100), 255)
    edge = (100 - diameter) // 2
    ImageDraw.Draw(image).ellipse([edge, edge, edge + diameter, edge + diameter], fill=0)
    assert kinds(image, spec) == []


@pytest.mark.parametrize("size", [(15, 15), (10, 12), (3, 15)])
def test_a_picture_that_must_be_enlarged_more_than_four_times_is_tiny(size: tuple[int, int]) -> None:
    (warning,) = image_warnings(prepared(drawing(size)))
    assert warning.kind == WarningKind.TINY
    assert f"{size[0]} x {size[1]}" in warning.message
    assert "64 x 64" in warning.message


def test_a_tiny_picture_is_told_how_much_larger_to_be() -> None:
    (warning,) = image_warnings(prepared(drawing((10, 10))))
    assert "enlarged 6.4 times" in warning.message
    assert "at least 1.6 times as large" in warning.message
    assert kinds(drawing((16, 16))) == []


@pytest.mark.parametrize("resample", ["box", "bilinear", "bicubic"])
@pytest.mark.parametrize("fit", ["letterbox", "crop", "squash"])
def test_a_picture_smaller_than_the_input_is_fine_where_it_is_sharp(
    fit: Literal["letterbox", "crop", "squash"], resample: Literal["box", "bilinear", "bicubic"]
) -> None:
    spec = Preprocessing(224, 224, 3, resample=resample, fit=fit, resize=256 if fit == "crop" else None)
    for side in (72, 128):
        sharp = photo().resize((side, side), Image.Resampling.LANCZOS)
        assert kinds(sharp, spec) == []
        soft = sharp.filter(ImageFilter.GaussianBlur(2)).convert("L")
        assert kinds(Image.fromarray(_stretch(np.asarray(soft))), spec) == [WarningKind.BLURRED]
    assert kinds(photo().resize((40, 40)), spec) == [WarningKind.TINY]


def test_what_counts_is_the_part_that_the_model_looks_at() -> None:
    def page(scale: int) -> Image.Image:
        paper = Image.new("L", (40 * scale, 40 * scale), 255)
        paper.paste(drawing((12 * scale, 12 * scale)), (20 * scale, 16 * scale))
        return paper

    assert kinds(page(1)) == []
    assert kinds(page(1), FRAMED) == [WarningKind.TINY]
    assert kinds(page(4), FRAMED) == []


@pytest.mark.parametrize("image", [drawing(), photo(), photo(60), drawing((300, 300))])
@pytest.mark.parametrize("spec", [INPUT, FRAMED])
@pytest.mark.parametrize("sigma", [2.0, 4.5])
def test_a_picture_blurred_by_two_input_pixels_or_more_is_found(
    image: Image.Image, spec: Preprocessing, sigma: float
) -> None:
    blurred = image.filter(ImageFilter.GaussianBlur(sigma * image.width / spec.width))
    stretched = Image.fromarray(_stretch(np.asarray(blurred.convert("L"))))
    assert kinds(stretched, spec) == [WarningKind.BLURRED]


def _stretch(gray: Pixels) -> Pixels:
    """Stretch to full contrast, so that it is blurred and not blank."""
    values = gray.astype(np.float32)
    return np.asarray((values - values.min()) / (values.max() - values.min()) * 255, np.uint8)


SIDES = st.integers(8, 4000)


@pytest.mark.filterwarnings("error")
@given(SIDES, SIDES, st.sampled_from(["lines", "noise", "half", "paper"]), st.sampled_from(SPECS))
@example(2000, 20, "lines", FRAMED)
@example(20, 2000, "lines", FRAMED)
@example(63, 4000, "half", FRAMED)
@example(4000, 8, "noise", INPUT)
@settings(deadline=None, max_examples=60)
def test_a_picture_of_any_shape_is_judged(width: int, height: int, kind: str, spec: Preprocessing) -> None:
    image = Image.new("L", (width, height), 255)
    if kind == "lines":
        image = drawing((width, height))
    elif kind == "noise":
        image = Image.effect_noise((width, height), 80)
    elif kind == "half":
        image.paste(0, (width // 2, 0, width, height))
    view = prepared(image, spec)
    left, top, right, bottom = view.shown
    assert 0 <= left < right <= spec.width
    assert 0 <= top < bottom <= spec.height
    assert len(image_warnings(view)) <= 1


def test_the_very_same_exemplar_is_a_duplicate_however_near_other_classes_are() -> None:
    (warning,) = neighbor_warnings(("a", 1.2), [("c", 0.1), ("d", 0.2)], 1.0)
    assert (warning.kind, warning.other_class_id, warning.distance) == (WarningKind.DUPLICATE, "a", 1.2)


def test_a_nearly_identical_exemplar_is_a_duplicate() -> None:
    (warning,) = neighbor_warnings(None, [("a", 0.25), ("b", 0.45)], 1.0)
    assert (warning.kind, warning.other_class_id, warning.distance) == (WarningKind.DUPLICATE, "a", 0.25)


def test_another_class_within_the_threshold_is_too_close() -> None:
    (warning,) = neighbor_warnings(None, [("a", 0.5), ("b", 0.6)], 1.0)
    assert (warning.kind, warning.other_class_id, warning.distance) == (WarningKind.TOO_CLOSE, "a", 0.5)
    assert "'a'" in warning.message
    assert "0.500" in warning.message


def test_classes_beyond_the_threshold_are_no_trouble() -> None:
    assert neighbor_warnings(None, [("a", 1.0)], 1.0) == []
    assert neighbor_warnings(None, [], 1.0) == []
