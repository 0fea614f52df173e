"""A shrunk picture is much smaller and embedded nearly the same."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from exemplar_encoder import EncodedImage, Encoder, Region, load_encoder
from exemplar_encoder.shrink import shrunk

INPUT = 32
KEPT = 512  # of the shorter side, for so small an input


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> Encoder:
    return load_encoder(tiny_bundle)


def file(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return a picture with detail of every size, and noise."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3))
    for side in (4, 16, 64, 256):
        coarse = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        pixels += np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    noisy = pixels / 4 + rng.normal(0, 6, pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def quarters(width: int, height: int) -> Image.Image:
    """Return a noisy picture of four colors: red, green; blue, white."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    top, left = height // 2, width // 2
    pixels[:top, :left, 0] = pixels[:top, left:, 1] = pixels[top:, :left, 2] = 220
    pixels[top:, left:] = 220
    noise = np.random.default_rng(0).integers(-30, 31, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def opened(image: EncodedImage) -> Image.Image:
    return Image.open(io.BytesIO(image.content))


def large_drawings(drawn_alphabets: Path) -> list[Image.Image]:
    files = [sorted(folder.iterdir())[0] for folder in sorted(drawn_alphabets.glob("*05/*"))]
    return [Image.open(each).convert("L").resize((1600, 2000), Image.Resampling.BICUBIC) for each in files]


def distances(encoder: Encoder, first: list[EncodedImage], second: list[EncodedImage]) -> Any:
    vectors = [
        encoder.embed(np.stack([encoder.prepare(image).pixels for image in images])) for images in (first, second)
    ]
    return np.linalg.norm(vectors[0][:, None] - vectors[1][None], axis=2)


def test_a_photograph_becomes_a_small_jpeg_of_the_same_proportions() -> None:
    image = EncodedImage(file(scene(1280, 960), "JPEG", quality=95))
    small = shrunk(image, INPUT)
    assert (opened(small).format, opened(small).size) == ("JPEG", (683, KEPT))
    assert len(small.content) < len(image.content) / 2


def test_a_larger_input_keeps_more_pixels() -> None:
    image = EncodedImage(file(scene(1280, 960), "JPEG", quality=95))
    assert min(opened(shrunk(image, 150)).size) == 4 * 150


def test_drawings_stay_png_and_are_embedded_nearly_as_they_were(encoder: Encoder, drawn_alphabets: Path) -> None:
    images = [EncodedImage(file(drawing, "PNG")) for drawing in large_drawings(drawn_alphabets)]
    small = [shrunk(image, INPUT) for image in images]
    assert {opened(each).format for each in small} == {"PNG"}
    assert all(len(each.content) < len(image.content) / 2 for each, image in zip(small, images, strict=True))
    found = distances(encoder, images, small)
    others = found[~np.eye(len(found), dtype=bool)]
    assert np.diag(found).max() < 0.1 * np.median(others)


def test_photographed_drawings_are_embedded_nearly_as_they_were(encoder: Encoder, drawn_alphabets: Path) -> None:
    rng, images = np.random.default_rng(0), []
    for drawing in large_drawings(drawn_alphabets):
        light = np.linspace(190, 240, drawing.width) - (255 - np.asarray(drawing, float)) * 0.6
        noisy = np.clip(light + rng.normal(0, 5, light.shape), 0, 255).astype(np.uint8)
        images.append(EncodedImage(file(Image.fromarray(noisy), "JPEG", quality=92)))
    small = [shrunk(image, INPUT) for image in images]
    assert all(len(each.content) < len(image.content) / 5 for each, image in zip(small, images, strict=True))
    found = distances(encoder, images, small)
    others = found[~np.eye(len(found), dtype=bool)]
    assert np.diag(found).max() < 0.1 * np.median(others)


@pytest.mark.parametrize(
    "region", [Region(1000, 0, 1000, 750), Region(0.5, 0, 0.5, 0.5, "fraction")], ids=["pixel", "fraction"]
)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_region_is_cut_out_and_then_all_of_the_picture(format: str, region: Region) -> None:
    small = shrunk(EncodedImage(file(quarters(2000, 1500), format), region), INPUT)
    assert small.region is None
    assert opened(small).size == (683, KEPT)
    color = np.asarray(opened(small).convert("RGB")).reshape(-1, 3).mean(axis=0)
    assert np.argmax(color) == 1  # the green quarter
    assert color[0] < 80
    assert color[2] < 80


def test_a_small_region_of_a_large_picture_keeps_its_pixels() -> None:
    image = EncodedImage(file(quarters(2000, 1500), "PNG"), Region(100, 100, 300, 200))
    small = shrunk(image, INPUT)
    assert np.array_equal(np.asarray(opened(small)), np.asarray(quarters(2000, 1500).crop((100, 100, 400, 300))))


def test_a_turned_photograph_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    small = shrunk(EncodedImage(file(quarters(2000, 1500), "JPEG", exif=exif)), INPUT)
    assert opened(small).size == (KEPT, 683)
    assert not opened(small).getexif()
    corner = np.asarray(opened(small))[:200, :200].reshape(-1, 3).mean(axis=0)
    assert np.argmax(corner) == 2  # blue was at the lower left


def test_what_had_better_stay_as_it_is_does() -> None:
    photograph = scene(1280, 960)
    kept = [
        EncodedImage(file(scene(600, 500), "JPEG")),  # small enough
        EncodedImage(file(photograph, "JPEG", quality=1)),  # hardly any bytes
        EncodedImage(file(photograph.convert("RGBA"), "PNG")),  # transparent, on a background of the network's
        EncodedImage(b"no image at all"),
        EncodedImage(file(photograph, "JPEG")[:5000]),  # cut short
        EncodedImage(file(photograph, "JPEG"), Region(0, 0, 4000, 10)),  # beyond the image
    ]
    assert all(shrunk(image, INPUT) is image for image in kept)
