"""A JPEG without its end marker is read where all of its pixels are there, and refused where one is not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from exemplar_encoder import ImageError, ImageProblem, decode
from exemplar_encoder.arrays import Pixels


def photograph() -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((72, 56), Image.Resampling.BICUBIC)


def drawing() -> Image.Image:
    """Return white paper with a dot in the last corner: all that a cut takes away is white but for that."""
    image = Image.new("RGB", (72, 56), "white")
    ImageDraw.Draw(image).rectangle((66, 50, 70, 54), fill="black")
    return image


PICTURES = {"photograph": photograph(), "noise": Image.effect_noise((72, 56), 90), "drawing": drawing()}
KINDS: dict[str, dict[str, object]] = {
    "plain": {"quality": 75},
    "fine": {"quality": 100, "subsampling": 0},
    "with codes of its own": {"quality": 90, "optimize": True},
    "progressive": {"quality": 80, "progressive": True},
    "with restarts": {"quality": 85, "restart_marker_blocks": 4},
    "progressive with restarts": {"quality": 85, "progressive": True, "restart_marker_rows": 1},
}


def encoded(image: Image.Image, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def outcome(content: bytes) -> Pixels | ImageProblem:
    try:
        return np.asarray(decode(content).pixels)
    except ImageError as error:
        return error.reason


@pytest.mark.parametrize("enough", [None, 20])
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("image", PICTURES.values(), ids=PICTURES.keys())
def test_a_picture_that_lacks_its_end_marker_alone_is_read(
    image: Image.Image, options: dict[str, object], enough: int | None
) -> None:
    content = encoded(image, options)
    whole = decode(content, enough=enough)
    for cut in (content[:-2], content[:-1]):
        found = decode(cut, enough=enough)
        assert np.array_equal(np.asarray(found.pixels), np.asarray(whole.pixels))
        assert (found.width, found.height, found.reduction) == (72, 56, whole.reduction)


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("image", PICTURES.values(), ids=PICTURES.keys())
def test_wherever_a_picture_is_cut_it_is_refused_or_all_of_it_is_there(
    image: Image.Image, options: dict[str, object]
) -> None:
    content = encoded(image, options)
    whole = np.asarray(decode(content).pixels)
    refused = 0
    for length in range(20, len(content) - 2):
        found = outcome(content[:length])
        if found is ImageProblem.TRUNCATED:
            refused += 1
        else:
            assert np.array_equal(found, whole), f"{len(content) - length} bytes are missing"
    assert refused > 0.98 * len(content) - 40
