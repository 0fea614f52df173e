"""The one function between an image and the network keeps its promises."""

from __future__ import annotations

import io
import resource
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from exemplar_encoder import Preprocessing, decode, fitted, preprocess
from exemplar_encoder.arrays import Pixels
from exemplar_encoder.preprocess import Halving
from exemplar_trainer.data.reading import read_data_set

GRAY = Preprocessing(32, 32, 1)
COLOR = Preprocessing(32, 32, 3, background=(250, 128, 10))


def noise(width: int, height: int, mode: str = "L", seed: int = 0) -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("spec", [GRAY, COLOR, Preprocessing(40, 24, 1), Preprocessing(24, 40, 3)])
@pytest.mark.parametrize("size", [(32, 32), (105, 105), (9, 200), (3000, 8), (1, 1)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_image_becomes_the_network_s_input(spec: Preprocessing, size: tuple[int, int], mode: str) -> None:
    pixels = preprocess(noise(*size, mode), spec)
    assert pixels.shape == spec.shape == (spec.height, spec.width, spec.channels)
    assert pixels.dtype == np.uint8


def test_an_image_of_the_network_s_size_passes_unchanged() -> None:
    image = noise(32, 32)
    assert np.array_equal(preprocess(image, GRAY)[:, :, 0], np.asarray(image))


@pytest.mark.parametrize(("size", "covered"), [((64, 32), np.s_[8:24, :]), ((32, 64), np.s_[:, 8:24])])
def test_an_image_keeps_its_proportions_and_is_centered_on_the_background(
    size: tuple[int, int], covered: tuple[slice, slice]
) -> None:
    pixels = preprocess(Image.new("RGB", size, (1, 2, 3)), COLOR)
    inside = np.zeros((32, 32), dtype=bool)
    inside[covered] = True
    assert (pixels[inside] == (1, 2, 3)).all()
    assert (pixels[~inside] == COLOR.background).all()


def test_the_background_of_a_gray_input_is_the_gray_of_the_color() -> None:
    spec = Preprocessing(32, 32, 1, background=(250, 128, 10))
    pixels = preprocess(Image.new("L", (64, 32), 0), spec)
    assert pixels[0, 0, 0] == round(0.299 * 250 + 0.587 * 128 + 0.114 * 10)


def test_color_becomes_gray_by_luminance() -> None:
    image = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [80, 80, 80]]], dtype=np.uint8))
    pixels = preprocess(image.resize((32, 32), Image.Resampling.NEAREST), GRAY)
    assert [pixels[y, x, 0] for y, x in ((0, 0), (0, 31), (31, 0), (31, 31))] == [76, 150, 29, 80]


def test_gray_becomes_three_equal_channels() -> None:
    image = noise(32, 32)
    pixels = preprocess(image, COLOR)
    assert all(np.array_equal(pixels[:, :, channel], np.asarray(image)) for channel in range(3))


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_box_filter_averages_blocks(factor: int, mode: str) -> None:
    image = noise(32 * factor, 32 * factor, mode)
    spec = GRAY if mode == "L" else COLOR
    blocks = np.asarray(image, dtype=float).reshape(32, factor, 32, factor, -1)
    expected = blocks.mean(axis=(1, 3))
    assert np.abs(preprocess(image, spec).reshape(32, 32, -1) - expected).max() <= 1.0


def test_all_filters_average_rather_than_pick_pixels() -> None:
    stripes = Image.fromarray(np.tile(np.array([0, 255], dtype=np.uint8), (320, 160)))
    for resample in ("box", "bilinear", "bicubic", "lanczos"):
        pixels = preprocess(stripes, Preprocessing(32, 32, 1, resample=resample))
        assert 120 <= pixels.min() <= pixels.max() <= 135


FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

SIZES = [(300, 200), (201, 300), (77, 131), (64, 64), (65, 64), (32, 32), (20, 31), (9, 90), (400, 40)]


def before(surplus: int, halving: Halving) -> int:
    """Do as transformers, or as torchvision: an odd surplus is halved to the even number, an odd lack goes behind."""
    half, odd = divmod(surplus, 2)
    if halving == "down":
        return half
    if surplus < 0:
        return half + odd
    return half + 1 if odd and half % 2 else half


def cropped(image: Image.Image, spec: Preprocessing) -> tuple[Pixels, Pixels]:
    """Crop as published networks' own programs do, in whole arrays; return also where the image is, 0 or 1."""
    width, height = image.size
    if spec.fit == "squash" and spec.resize is not None:
        size = (spec.resize, spec.resize)
    elif spec.resize is None:
        if spec.width / width >= spec.height / height:
            size = (spec.width, round(spec.width * height / width))
        else:
            size = (round(spec.height * width / height), spec.height)
    elif width <= height:
        size = (spec.resize, int(spec.resize * height / width))
    else:
        size = (int(spec.resize * width / height), spec.resize)
    resized = np.asarray(image.resize(size, FILTERS[spec.resample]))
    # Enough background on all sides that the crop never reaches beyond.
    edge = 2 * max(spec.width, spec.height)
    around = np.full((size[1] + 2 * edge, size[0] + 2 * edge, 3), spec.background, dtype=np.uint8)
    inside = np.zeros(around.shape[:2], dtype=np.uint8)
    around[edge : edge + size[1], edge : edge + size[0]] = resized
    inside[edge : edge + size[1], edge : edge + size[0]] = 1
    top = edge + before(size[1] - spec.height, spec.halving)
    left = edge + before(size[0] - spec.width, spec.halving)
    window = np.s_[top : top + spec.height, left : left + spec.width]
    return around[window], inside[window]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resize", [None, 24, 32, 33, 36, 51])
@pytest.mark.parametrize("halving", ["down", "even"])
@pytest.mark.parametrize("shape", [(32, 32), (31, 24), (24, 40)])
def test_a_crop_is_the_middle_of_the_resized_image(
    size: tuple[int, int], resize: int | None, halving: Halving, shape: tuple[int, int]
) -> None:
    spec = Preprocessing(*shape, 3, (9, 8, 7), "bicubic", fit="crop", resize=resize, halving=halving)
    image = noise(*size, "RGB")
    pixels, shown, _ = fitted(image, spec)
    expected, inside = cropped(image, spec)
    assert np.array_equal(pixels, expected)
    left, top, right, bottom = shown
    assert inside[top:bottom, left:right].all()
    assert inside.sum() == (right - left) * (bottom - top)


def test_a_crop_without_a_size_just_fills_the_input() -> None:
    for size in SIZES:
        for spec in (Preprocessing(32, 32, 3, fit="crop"), Preprocessing(24, 40, 3, fit="crop")):
            assert fitted(noise(*size, "RGB"), spec).shown == (0, 0, spec.width, spec.height)


def test_a_long_strip_is_cropped_without_enlarging_all_of_it() -> None:
    ramp = np.tile(np.linspace(0, 255, 400_000).astype(np.uint8), (8, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for image in (Image.fromarray(ramp), Image.fromarray(np.ascontiguousarray(ramp.T))):
        pixels = preprocess(image, Preprocessing(32, 32, 1, resample="bicubic", fit="crop", resize=256))
        assert ((pixels >= 126) & (pixels <= 128)).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resample", FILTERS)
def test_a_squashed_image_fills_the_input_out_of_proportion(
    size: tuple[int, int], resample: Literal["bilinear", "bicubic"]
) -> None:
    spec = Preprocessing(40, 24, 3, resample=resample, fit="squash")
    image = noise(*size, "RGB")
    pixels, shown, _ = fitted(image, spec)
    assert np.array_equal(pixels, np.asarray(image.resize((40, 24), FILTERS[resample])))
    assert shown == (0, 0, 40, 24)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("resize", [24, 32, 33, 36, 51])
def test_a_squashed_image_may_be_cropped(size: tuple[int, int], resize: int) -> None:
    spec = Preprocessing(31, 24, 3, (9, 8, 7), "bicubic", fit="squash", resize=resize)
    image = noise(*size, "RGB")
    pixels, shown, _ = fitted(image, spec)
    expected, inside = cropped(image, spec)
    assert np.array_equal(pixels, expected)
    left, top, right, bottom = shown
    assert inside[top:bottom, left:right].all()
    assert inside.sum() == (right - left) * (bottom - top)


def test_a_hair_line_keeps_a_pixel() -> None:
    assert preprocess(Image.new("L", (5000, 8), 0), GRAY).min() == 0


def test_the_trainer_reads_images_as_the_encoder_does(tmp_path: Path) -> None:
    spec = Preprocessing(32, 32, 3, background=(0, 0, 255))
    files = {}
    for label in range(6):
        (tmp_path / f"class{label}").mkdir()
        for index in range(2):
            image = noise(40 + 11 * index, 30 + 7 * label, "RGB", seed=label * 2 + index)
            image.putalpha(120)
            stream = io.BytesIO()
            image.save(stream, "PNG")
            files[f"class{label}/{index}.png"] = stream.getvalue()
            (tmp_path / f"class{label}" / f"{index}.png").write_bytes(stream.getvalue())
    images = read_data_set(tmp_path, spec)
    for path, pixels in zip(images.paths, images.pixels, strict=True):
        served = preprocess(decode(files[path], background=spec.background).pixels, spec)
        assert np.array_equal(pixels, served)


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 7},
        {"height": 0},
        {"channels": 2},
        {"resample": "hamming"},
        {"background": (255, 255)},
        {"background": (0, 0, 256)},
        {"background": (0, 0, -1)},
        {"width": 32.5},
        {"width": "32"},
        {"fit": "stretch"},
        {"fit": "crop", "halving": "up"},
        {"fit": "squash", "channels": 1, "framing": "ink"},
        {"fit": "crop", "channels": 1, "framing": "ink"},
        {"resize": 36},
        {"fit": "crop", "resize": 7},
        {"fit": "crop", "resize": 36.0},
    ],
)
def test_a_preprocessing_that_no_network_can_take_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Preprocessing(**{"width": 32, "height": 32, "channels": 1, **fields})  # type: ignore[arg-type]
