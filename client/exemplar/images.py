"""Images as callers have them, turned into bytes as the server wants them.

Promises: bytes and files go out untouched, so the server sees (and keeps) the original; Pillow images and arrays go
out as PNG, which loses nothing. Neither NumPy nor Pillow is imported before a caller hands one of theirs in, or asks
that pictures be shrunk.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from exemplar.region import Region

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import PIL.Image

    WholeImage: TypeAlias = (
        str | os.PathLike[str] | bytes | bytearray | memoryview | PIL.Image.Image | npt.NDArray[np.uint8]
    )
else:
    WholeImage: TypeAlias = Any


SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
        *(".avif", ".heic", ".heif", ".hif"),
    )
)
"""Suffixes, in lower case, of the files that are taken for images where a folder holds others too."""

_SYSTEM_FOLDERS = frozenset(
    (
        *("@eaDir", "@Recycle", "#recycle", "#snapshot", "__MACOSX", "lost+found"),
        *("$RECYCLE.BIN", "System Volume Information"),
    )
)


def is_left_out(name: str) -> bool:
    """Return whether a file or folder of this name belongs to no set of pictures: hidden, or made by a system."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


@dataclass(frozen=True)
class Part:
    """A part of an image, given wherever an image is: `Part("shelf.jpg", Region(10, 20, 300, 200))`."""

    image: WholeImage
    region: Region


Image: TypeAlias = WholeImage | Part


def encoded(image: WholeImage) -> bytes:
    """Return the image's encoded bytes.

    Args:
        image: A path, encoded bytes, a Pillow image, or a uint8 array [H, W], [H, W, 3] or [H, W, 4].

    Raises:
        FileNotFoundError: No file at that path.
        TypeError: No kind of image that is known here, or an array that is not uint8.
        ValueError: An array of another shape.
        ModuleNotFoundError: An array, and Pillow is not installed.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        require_file(image)
        return Path(image).read_bytes()
    # Told apart by what they can do, so that neither library need be there.
    other: Any = image
    if hasattr(other, "dtype") and hasattr(other, "shape"):
        return _png_of_array(other)
    if hasattr(other, "save") and hasattr(other, "getbands"):
        return _png(other)
    raise TypeError(f"an image is a path, bytes, a Pillow image or a uint8 array; this is {type(image).__name__}")


def shrunk(image: Image, input_side: int) -> Image:
    """Return the image with no more pixels than a network makes use of, or as it is where that would save little.

    Args:
        image: What is to be sent.
        input_side: The longer side of the network's input in pixels.

    Raises:
        ModuleNotFoundError: The extra `images` is not installed.
        OSError: As `encoded`, and what else that raises.
    """
    require_shrinking()
    from exemplar_encoder.region import EncodedImage, RegionError
    from exemplar_encoder.region import Region as Box
    from exemplar_encoder.shrink import shrunk

    whole, region = (image.image, image.region) if isinstance(image, Part) else (image, None)
    content = encoded(whole)
    try:
        box = Box(region.left, region.top, region.width, region.height, region.unit) if region else None
    except RegionError:
        return image  # the server says what is wrong with it
    small = shrunk(EncodedImage(content, box), input_side)
    return small.content if small.region is None or region is None else Part(content, region)


def require_shrinking() -> None:
    """Check that what shrinks pictures is installed.

    Raises:
        ModuleNotFoundError: It is not.
    """
    try:
        import exemplar_encoder.shrink  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"shrinking pictures needs {error.name}, which is not installed: pip install 'exemplar[images]'"
        ) from error


def several(images: Image | Sequence[Image]) -> Sequence[Image]:
    """Return one image, or a list or tuple of several, as a sequence."""
    return images if isinstance(images, list | tuple) else [cast(Image, images)]


def require_file(image: object) -> None:
    """Check that an image given as a path is a file; anything else passes.

    Raises:
        FileNotFoundError: Nothing is there.
        IsADirectoryError: A folder is there.
    """
    if isinstance(image, Part):
        image = image.image
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder, not an image file")
        if not path.exists():
            raise FileNotFoundError(f"there is no image file at {path}")


def require_files(images: Iterable[object]) -> None:
    """Check every image of a sequence; errors as `require_file`.

    A generator can only be drawn once, so its files are first looked at when their turn comes.
    """
    if isinstance(images, Sequence):
        for image in images:
            require_file(image)


def _png_of_array(array: npt.NDArray[np.uint8]) -> bytes:
    if str(array.dtype) != "uint8":
        raise TypeError(f"an image array is uint8, 0 to 255; this one is {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if 0 in array.shape or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(f"an image array is [H, W], [H, W, 3] or [H, W, 4]; this one is {list(array.shape)}")
    try:
        import PIL.Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "an array is sent as PNG, which needs Pillow: pip install 'exemplar[images]'"
        ) from error
    return _png(PIL.Image.fromarray(array))


def _png(image: PIL.Image.Image) -> bytes:
    from PIL import ImageOps

    # PNG written from a photograph would lose its EXIF orientation, so the pixels are turned upright first.
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"):
        upright = upright.convert("RGB")
    buffer = io.BytesIO()
    # The fastest compression: the server only decodes it again.
    upright.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
