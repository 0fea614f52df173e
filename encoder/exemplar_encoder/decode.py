"""Image bytes to pixels, for images that strangers send.

Promises: only formats on the allow-list are read; byte and pixel limits are checked before pixels are allocated; EXIF
orientation is honoured; transparency is flattened on a stated background; whatever is wrong with the bytes comes out
as an `ImageError` with a reason and a sentence, never as an exception of the decoding library.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

# The first bytes of each format, to tell a damaged image from something that is no image at all.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*")

_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")


class ImageProblem(StrEnum):
    """Why an image was refused."""

    EMPTY = "empty"
    UNSUPPORTED_FORMAT = "unsupported format"
    TRUNCATED = "truncated"
    TOO_LARGE = "too large"
    TOO_SMALL = "too small"


class ImageError(ValueError):
    """An image that cannot be used; `reason` for programs, the message for people."""

    def __init__(self, reason: ImageProblem, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class ImageLimits:
    """What an image may be: bytes as sent, pixels in all, and pixels on its shorter side."""

    max_bytes: int = 16 * 1024 * 1024
    max_pixels: int = 50_000_000
    min_side: int = 8


@dataclass(frozen=True)
class DecodedImage:
    """An upright, opaque image (mode L or RGB) and what is known of its origin; sizes in pixels."""

    pixels: Image.Image
    format: str
    width: int
    height: int


def decode(
    content: bytes,
    limits: ImageLimits | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
) -> DecodedImage:
    """Decode an image of unknown origin; of an animation, the first frame.

    Args:
        content: the encoded image.
        limits: what to refuse; the defaults of `ImageLimits` when absent.
        background: RGB colour, 0 to 255, on which transparency is flattened.

    Raises:
        ImageError: the bytes are no usable image; `reason` says why.
    """
    limits = limits or ImageLimits()
    if not content:
        raise ImageError(ImageProblem.EMPTY, "the image is empty (0 bytes)")
    if len(content) > limits.max_bytes:
        raise ImageError(
            ImageProblem.TOO_LARGE,
            f"the image has {len(content):,} bytes; the limit is {limits.max_bytes:,}",
        )
    # Pillow allocates a WebP's canvas while opening it, so its size is read from the header first.
    webp_size = _webp_size(content)
    if webp_size is not None:
        _check_size(*webp_size, limits)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a damaged EXIF block or a large size; both are handled here
            image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError(ImageProblem.TOO_LARGE, "the image has more pixels than can be decoded") from error
    except UnidentifiedImageError as error:
        raise _unidentified(content) from error
    except Exception as error:  # decoders raise many types on hostile bytes; each means the same
        raise _damaged(error) from error
    _check_size(image.width, image.height, limits)
    found = image.format or "unknown"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            upright = ImageOps.exif_transpose(image)
            flat = _flatten(upright, background)
    except ImageError:
        raise
    except Exception as error:
        raise _damaged(error) from error
    return DecodedImage(flat, found, flat.width, flat.height)


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        raise ImageError(
            ImageProblem.TOO_LARGE,
            f"the image is {width} x {height} = {width * height:,} pixels; the limit is {limits.max_pixels:,}",
        )
    if min(width, height) < limits.min_side:
        raise ImageError(
            ImageProblem.TOO_SMALL,
            f"the image is {width} x {height} pixels; each side needs at least {limits.min_side}",
        )


def _unidentified(content: bytes) -> ImageError:
    if content.startswith(_SIGNATURES):
        return ImageError(ImageProblem.TRUNCATED, "the image is damaged or cut short: its header cannot be read")
    names = ", ".join(FORMATS[:-1])
    return ImageError(
        ImageProblem.UNSUPPORTED_FORMAT, f"the bytes are not an image in {names} or {FORMATS[-1]} format"
    )


def _damaged(error: Exception) -> ImageError:
    return ImageError(ImageProblem.TRUNCATED, f"the image is damaged or cut short: {error}")


def _flatten(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """An opaque L or RGB image; grey stays grey, so that one-channel models lose nothing."""
    if image.mode in ("L", "RGB"):
        if "transparency" not in image.info:
            return image
        image = image.convert("RGBA")
    if image.mode in _SIXTEEN_BIT_MODES:
        return _from_sixteen_bits(image)
    if image.mode == "F":
        raise ImageError(ImageProblem.UNSUPPORTED_FORMAT, "images of floating-point pixels are not supported")
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, (*background, 255))
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion to L clips at 255 instead of scaling, which turns most 16-bit images white.
    values = np.asarray(image).astype(np.int64)
    if values.size and values.max() > 255:
        values = values >> 8
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8), mode="L")


def _webp_size(content: bytes) -> tuple[int, int] | None:
    """Width and height from a WebP header, or None when this is no WebP or its header is cut short."""
    if len(content) < 30 or content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    kind = content[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(content[24:27], "little"),
            1 + int.from_bytes(content[27:30], "little"),
        )
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if kind == b"VP8 ":
        return (
            int.from_bytes(content[26:28], "little") & 0x3FFF,
            int.from_bytes(content[28:30], "little") & 0x3FFF,
        )
    return None
