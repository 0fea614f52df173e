"""Image bytes to pixels, for images that strangers send.

Promises: only formats on the allow-list are read; byte and pixel limits are checked before pixels are allocated, by
what the file declares (only libavif's own limit bounds an AVIF that holds more than that), and so is the number of
scans of a JPEG, each of which costs a pass over all of its pixels; a JPEG with far more pixels than are wanted is
read at a half, a quarter or an eighth of its size, at a fraction of the cost; the orientation that EXIF or a
container states is honored; what else is written beside a PNG's picture, and a JPEG's missing end marker, cost
nobody a picture whose pixels are all there; gray of up to 16 bits becomes 8 by the bits that it uses; transparency
is flattened on a stated background; whatever is wrong with the bytes comes out as an `ImageError` with a reason and
a sentence, never as an exception of the decoding library.
"""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TILELENGTH, TILEWIDTH, TiffImageFile

from exemplar_encoder.formats import READ, claimed, format_name, remedy
from exemplar_encoder.headers import count_scans, declared_size
from exemplar_encoder.jpeg_end import endings
from exemplar_encoder.png_chunks import picture_only, stated_bits
from exemplar_encoder.region import Region, RegionError

# Pillow warns of damaged EXIF blocks and of large sizes; both are handled here. A filter set once, since
# `warnings.catch_warnings` swaps the filters of the whole process and images are decoded on many threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

# Encoders make about ten, and the most that bits of a coefficient allow for three colors is some dozens.
_MOST_SCANS = 200

# Transparency is flattened in strips of about so many pixels, so that it needs no further copies of the whole image.
_STRIP_PIXELS = 1 << 20

_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_USUAL_BITS = (8, 10, 12, 14, 16)
_MAX_SAMPLE_VALUE = 281

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))


class ImageProblem(StrEnum):
    """Why an image was refused."""

    EMPTY = "empty"
    UNSUPPORTED_FORMAT = "unsupported format"
    TRUNCATED = "truncated"
    TOO_LARGE = "too large"
    TOO_SMALL = "too small"
    BAD_REGION = "bad region"
    TOO_COSTLY = "too costly"


class ImageError(ValueError):
    """An image that cannot be used; `reason` for programs, the message for people."""

    def __init__(self, reason: ImageProblem, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class ImageLimits:
    """Limits on an image: bytes as sent, pixels in all, and pixels on its shorter side."""

    max_bytes: int = 16 * 1024 * 1024
    max_pixels: int = 50_000_000
    min_side: int = 8


@dataclass(frozen=True)
class DecodedImage:
    """An upright, opaque image (mode L or RGB) and what is known of its origin.

    `width` and `height` are the whole image's, in pixels; `pixels` shows the region that was asked for. One of these
    stands for `reduction` of the image's along an axis: 1, 2, 4 or 8.
    """

    pixels: Image.Image
    format: str
    width: int
    height: int
    reduction: int = 1


def decode(
    content: bytes,
    limits: ImageLimits | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
    region: Region | None = None,
    enough: int | None = None,
    gray: bool = False,
) -> DecodedImage:
    """Decode an image of unknown origin; of an animation, the first frame.

    Args:
        content: the encoded image.
        limits: what to refuse; the defaults of `ImageLimits` when absent.
        background: RGB color, 0 to 255, on which transparency is flattened.
        region: the part that is wanted; None for the whole.
        enough: so many pixels of the shorter side are enough; None for all that there are. A whole JPEG of twice as
            many or more is read reduced.
        gray: colors are not wanted of what is read reduced.

    Raises:
        ImageError: the bytes are no usable image; `reason` says why.
        MemoryError: there is not enough memory for it.
    """
    limits = limits or ImageLimits()
    if not content:
        raise ImageError(ImageProblem.EMPTY, "the image is empty (0 bytes)")
    if len(content) > limits.max_bytes:
        raise ImageError(
            ImageProblem.TOO_LARGE,
            f"the image has {len(content):,} bytes; the limit is {limits.max_bytes:,}",
        )
    size = declared_size(content)
    if size is not None:
        _check_size(*size, limits)
    scans = count_scans(content)
    if scans > _MOST_SCANS:
        raise ImageError(
            ImageProblem.TOO_COSTLY, f"the image is a JPEG of {scans:,} scans; the limit is {_MOST_SCANS}"
        )
    content = picture_only(content)
    try:
        image: Image.Image = Image.open(io.BytesIO(content), formats=READ)
    except Image.DecompressionBombError as error:
        raise _bomb(error, limits) from error
    except UnidentifiedImageError as error:
        raise _unidentified(content) from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many types on hostile bytes; each means the same
        raise _damaged(error) from error
    _check_size(image.width, image.height, limits)
    _check_tile(image, limits)
    try:
        full = image.size
        wanted = enough if region is None else None
        _reduce(image, wanted, gray)
        reduced = image.size != full
        image = _loaded(image, content, wanted, gray)
        if not reduced:  # what is inside a container may be another size than the container said
            full = image.size
            _check_size(*full, limits)
        turn = _turn(image)
        # Before the region is cut out: how 16 bits become 8 depends on the whole.
        bits = _stated_bits(image, content)
        whole = _flatten(image if turn is None else image.transpose(turn), background, bits)
        pixels = whole if region is None else _part(whole, region, limits)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _damaged(error) from error
    width, height = full[::-1] if turn in _SIDEWAYS else full
    reduction = round(max(full) / max(whole.size)) if reduced else 1
    return DecodedImage(pixels, format_name(image.format), width, height, reduction)


def _loaded(image: Image.Image, content: bytes, enough: int | None, gray: bool) -> Image.Image:
    """Read the pixels, those too of a JPEG that lacks nothing but its end marker."""
    try:
        image.load()
    except OSError:
        found = None
        shown: set[int] = set()
        for ended in endings(content):
            found = Image.open(io.BytesIO(ended), formats=("JPEG",))
            _reduce(found, enough, gray)
            found.load()
            shown.add(_checksum(found))
        if found is None or len(shown) > 1:
            raise
        return found
    return image


def _checksum(image: Image.Image) -> int:
    found = 0
    for _, strip in _strips(image):
        found = zlib.crc32(strip.tobytes(), found)
    return found


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield an image in parts as wide as itself, with the row that each begins at."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _reduce(image: Image.Image, enough: int | None, gray: bool) -> None:
    """Have a JPEG of at least twice as many pixels a side as are enough read at a part of its size."""
    shorter = min(image.size)
    if enough is not None and isinstance(image, JpegImageFile) and shorter >= 2 * enough:
        least = (math.ceil(image.width * enough / shorter), math.ceil(image.height * enough / shorter))
        image.draft("L" if gray else None, least)


def _part(image: Image.Image, region: Region, limits: ImageLimits) -> Image.Image:
    try:
        part = image.crop(region.within(image.width, image.height))
    except RegionError as error:
        raise ImageError(ImageProblem.BAD_REGION, str(error)) from error
    if min(part.size) < limits.min_side:
        raise ImageError(
            ImageProblem.TOO_SMALL,
            f"the region has {part.width} x {part.height} pixels; {limits.min_side} a side is the least",
        )
    return part


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


def _check_tile(image: Image.Image, limits: ImageLimits) -> None:
    # A TIFF's tile may be far larger than its picture, and the library makes room for a whole one.
    if not isinstance(image, TiffImageFile):
        return
    width, height = (image.tag_v2.get(tag) for tag in (TILEWIDTH, TILELENGTH))
    if isinstance(width, int) and isinstance(height, int) and width * height > limits.max_pixels:
        raise ImageError(
            ImageProblem.TOO_LARGE,
            f"a tile of the image is {width} x {height} = {width * height:,} pixels; "
            f"the limit is {limits.max_pixels:,}",
        )


def _unidentified(content: bytes) -> ImageError:
    """Tell what is damaged from what is not read here and from what is no image at all."""
    name = claimed(content)
    if name is None:
        *names, last = map(format_name, READ)
        return ImageError(
            ImageProblem.UNSUPPORTED_FORMAT, f"the bytes are not an image in {', '.join(names)} or {last} format"
        )
    missing = remedy(name)
    if missing is not None:
        return ImageError(
            ImageProblem.UNSUPPORTED_FORMAT,
            f"the image is {name}, and {missing} where images are decoded (for a service, on the server)",
        )
    return ImageError(ImageProblem.TRUNCATED, "the image is damaged or cut short: its header cannot be read")


def _damaged(error: Exception) -> ImageError:
    return ImageError(ImageProblem.TRUNCATED, f"the image is damaged or cut short: {error}")


def _bomb(error: Image.DecompressionBombError, limits: ImageLimits) -> ImageError:
    # Pillow has a limit of its own, beyond which it does not tell the width and height.
    pixels = re.search(r"\d+", str(error))
    counted = f"{int(pixels[0]):,} pixels" if pixels else "more pixels than can be decoded"
    return ImageError(ImageProblem.TOO_LARGE, f"the image has {counted}; the limit is {limits.max_pixels:,}")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what makes the image upright."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except (SyntaxError, ValueError, LookupError, TypeError, OSError, struct.error):
        return None  # a damaged EXIF block says nothing of the picture
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _stated_bits(image: Image.Image, content: bytes) -> int | None:
    """Return how many bits the file says its gray values take; None where it does not say."""
    if isinstance(image, TiffImageFile):
        largest = image.tag_v2.get(_MAX_SAMPLE_VALUE)  # of each color, of which there is one
        value = largest[0] if isinstance(largest, tuple) and largest else largest
        return value.bit_length() if isinstance(value, int) else None
    return stated_bits(content)


def _flatten(image: Image.Image, background: tuple[int, int, int], bits: int | None) -> Image.Image:
    """Return an opaque L or RGB image; gray stays gray, so that one-channel models lose nothing."""
    if image.mode in ("F", "LAB"):
        raise ImageError(ImageProblem.UNSUPPORTED_FORMAT, f"images of {image.mode} pixels are not supported")
    if image.mode in _SIXTEEN_BIT_MODES:
        image = _from_sixteen_bits(image, bits)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        return _opaque(image, background)
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _opaque(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    opaque = Image.new("RGB", image.size)
    for top, part in _strips(image):
        strip = part.convert("RGBA")
        under = Image.new("RGBA", strip.size, (*background, 255))
        under.alpha_composite(strip)
        opaque.paste(under.convert("RGB"), (0, top))
    return opaque


def _from_sixteen_bits(image: Image.Image, bits: int | None) -> Image.Image:
    """Scale to mode L, or LA where a value is declared transparent.

    Cameras and scanners write 10, 12 or 14 bits into 16. So white is the largest value of as many bits as the file
    says (`bits`), if its values are no larger; else of the least usual number of bits that holds its largest value. A
    picture that is dark on purpose has to state 16 bits (PNG's sBIT, TIFF's MaxSampleValue) to stay so.
    """
    # Pillow's own conversion to L clips at 255 instead of scaling, which turns most 16-bit images white.
    values = np.asarray(image)
    largest = int(values.max(initial=0))
    if bits is None or largest.bit_length() > bits:
        bits = next((usual for usual in _USUAL_BITS if largest.bit_length() <= usual), 16)
    gray = Image.fromarray(np.clip(values >> max(0, bits - 8), 0, 255).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        gray.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return gray
