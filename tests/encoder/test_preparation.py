"""Preparing a picture: a large photograph is read reduced, and nobody who asks for its size can tell."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from exemplar_encoder import EncodedImage, ImageLimits, Preparation, Preprocessing, decode, fitted


def photograph(width: int, height: int) -> bytes:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


SPECS = {
    "photographs, cropped": Preprocessing(32, 32, 3, resample="bicubic", fit="crop", resize=40),
    "photographs, whole": Preprocessing(48, 32, 3, resample="bilinear"),
    "drawings": Preprocessing(32, 32, 1, framing="ink"),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_input_is_nearly_that_of_all_pixels(spec: Preprocessing) -> None:
    content = photograph(4 * 1200, 4 * 900)
    assert spec.enough is not None
    assert decode(content, enough=spec.enough).reduction >= 4
    prepared = Preparation(spec, ImageLimits())(EncodedImage(content))
    of_all = fitted(decode(content).pixels, spec)
    assert np.abs(prepared.pixels.astype(int) - of_all.pixels.astype(int)).mean() < 2
    assert prepared.enlargement == pytest.approx(of_all.enlargement, rel=0.02)
    assert np.abs(np.subtract(prepared.shown, of_all.shown)).max() <= 1
    assert (prepared.width, prepared.height) == (4800, 3600)


def test_a_filter_that_picks_pixels_gets_all_of_them() -> None:
    assert Preprocessing(32, 32, 3, resample="nearest").enough is None
