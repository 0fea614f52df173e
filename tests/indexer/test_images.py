"""A rehearsal takes a file for an image unless the server's decoder calls it another kind of file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import PREFIXES

from exemplar_encoder import ImageError, ImageProblem, decode
from exemplar_indexer.images import looks_like_image

_PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def encode(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(_PIXELS).save(stream, kind, **options)
    return stream.getvalue()


IMAGES = {
    "JPEG": encode("JPEG"),
    "JPEG with EXIF": encode("JPEG", exif=Image.Exif()),
    "JPEG of a phone": encode("MPO", save_all=True, append_images=[Image.fromarray(_PIXELS)]),
    "PNG": encode("PNG"),
    "WebP, lossy": encode("WEBP"),
    "WebP, lossless": encode("WEBP", lossless=True),
    "WebP, animated": encode("WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16))]),
    "BMP": encode("BMP"),
    "GIF": encode("GIF"),
    "TIFF": encode("TIFF"),
    "BigTIFF": encode("TIFF", big_tiff=True),
    "AVIF": encode("AVIF"),
    "AVIF, animated": encode("AVIF", save_all=True, append_images=[Image.new("RGB", (16, 16))]),
    "HEIC": encode("HEIF"),
    "HEIC of a general brand": encode("HEIF").replace(b"ftypheic", b"ftypmif1"),
}

OTHERS = {
    "text": b"id,image\na,a.png\n" * 4,
    "page": b"<!DOCTYPE html><html><body>not here</body></html>",
    "PDF": b"%PDF-1.7\n" + bytes(60),
    "sound": b"RIFF\x24\0\0\0WAVEfmt " + bytes(60),
    "ZIP": b"PK\x03\x04" + bytes(60),
    "film": b"\0\0\0\x18ftypisom\0\0\0\0isommp41" + bytes(60),
    "JPEG 2000": encode("JPEG2000"),
    "ICO": encode("ICO"),
    "PPM": encode("PPM"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_every_image_that_is_read_looks_like_one(name: str) -> None:
    assert decode(IMAGES[name]).pixels.size == (16, 16)
    assert looks_like_image(IMAGES[name][:16])


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_tiff_that_the_decoder_knows_looks_like_one(prefix: bytes) -> None:
    start = prefix + bytes(12)
    with pytest.raises(ImageError) as caught:
        decode(start)
    assert caught.value.reason is ImageProblem.TRUNCATED
    assert looks_like_image(start)


@pytest.mark.parametrize("name", OTHERS)
def test_another_kind_of_file_does_not(name: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(OTHERS[name])
    assert caught.value.reason is ImageProblem.UNSUPPORTED_FORMAT
    assert not looks_like_image(OTHERS[name][:16])
