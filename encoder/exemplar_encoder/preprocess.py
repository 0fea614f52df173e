"""Decoded image to the network's input: one function, used by trainer and server alike.

The result is uint8; scaling to the network's own range is part of the exported network, so there is one place where
it can be right or wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import ConfigDict

from exemplar_encoder.arrays import Pixels
from exemplar_encoder.ink.framing import InkBox, gray, ink_box
from exemplar_encoder.ink.levels import stretched
from exemplar_encoder.region import Box

Framing = Literal["whole", "ink"]
Levels = Literal["kept", "stretched"]
Resample = Literal["box", "bilinear", "bicubic", "lanczos", "nearest"]
Fit = Literal["letterbox", "crop", "squash"]
Halving = Literal["down", "even"]

_FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}

# This many of the image's pixels to a pixel of the input are kept before the filter, along each axis.
_FINE = 4
# The least square that is framed around ink, three tenths of the longer side, then still has as many as the input. A
# small input is mostly one for drawings, whose strokes are thin.
_THIN = 512
# Of a strip only the middle, this many times what the crop shows, is resized: whole it could fill the memory.
_STRIP = 16


def enough_for_ink(input_side: int) -> int:
    """Return how many pixels of its shorter side a picture needs for an input that shows the ink alone.

    Args:
        input_side: the longer side of the input in pixels.
    """
    return max(_FINE * input_side, _THIN)


@dataclass(frozen=True)
class Preprocessing:
    """The input of the network: size in pixels, 1 (gray) or 3 (RGB) channels, and how images get there.

    With `fit` "letterbox" an image is fitted into the input in its own proportions: with `framing` "whole" all of it,
    with "ink" the square around what differs from the background, see `ink_box`. Networks from elsewhere may want
    one of two other fits. "crop": the shorter side is resized to `resize` pixels, or so far that the input is just
    filled, and the middle is cut out. "squash": all of the image, its proportions given up; with a `resize`, both
    sides are resized to it, and the middle is cut out. Where an odd number of pixels is cut off, its half is rounded
    by `halving`, "down" as transformers does or to the "even" number as torchvision does: a pixel in what they see.

    Where the image does not reach is `background` (RGB, 0 to 255).

    `resample` is an area-aware filter: `box` averages, `bilinear` is a little smoother, `bicubic` and `lanczos` are
    sharper. `nearest`, which picks pixels, is for networks that were trained so. With `levels` "stretched", for
    drawings in one channel, paper becomes background and ink its opposite, see `stretched`.
    """

    # Of what a bundle says here nothing may be passed over.
    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    width: int
    height: int
    channels: Literal[1, 3]
    background: tuple[int, int, int] = (255, 255, 255)
    resample: Resample = "box"
    framing: Framing = "whole"
    levels: Levels = "kept"
    fit: Fit = "letterbox"
    resize: int | None = None
    halving: Halving = "down"

    def __post_init__(self) -> None:
        """Refuse what no network can take."""
        numbers = (self.width, self.height, *self.background)
        if not all(isinstance(number, int) for number in numbers):
            raise TypeError(f"sizes and colors must be whole numbers, not {numbers}")
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise ValueError(f"background must be three numbers from 0 to 255, not {self.background}")
        if self.width < 8 or self.height < 8:
            raise ValueError(f"an input of {self.width} x {self.height} pixels is too small; 8 is the least")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")
        if self.resample not in _FILTERS:
            raise ValueError(f"resample must be one of {', '.join(_FILTERS)}, not {self.resample!r}")
        if self.framing not in ("whole", "ink"):
            raise ValueError(f"framing must be whole or ink, not {self.framing!r}")
        if self.levels not in ("kept", "stretched"):
            raise ValueError(f"levels must be kept or stretched, not {self.levels!r}")
        if self.levels == "stretched" and (self.channels, self.framing) != (1, "ink"):
            raise ValueError("levels are stretched in one channel, with framing ink, only")
        if self.fit not in ("letterbox", "crop", "squash"):
            raise ValueError(f"fit must be letterbox, crop or squash, not {self.fit!r}")
        if self.halving not in ("down", "even"):
            raise ValueError(f"halving must be down or even, not {self.halving!r}")
        if self.framing == "ink" and self.fit != "letterbox":
            raise ValueError(f"framing ink goes with fit letterbox only, not {self.fit}")
        if self.resize is not None:
            if self.fit == "letterbox":
                raise ValueError("resize goes with fit crop and squash only, not letterbox")
            if not isinstance(self.resize, int):
                raise TypeError(f"resize must be a whole number of pixels, not {self.resize!r}")
            if self.resize < 8:
                raise ValueError(f"resize must be 8 pixels or more, not {self.resize}")

    @property
    def gray_background(self) -> int:
        """The gray that Pillow makes of the background's color."""
        return gray(self.background)

    @property
    def enough(self) -> int | None:
        """How many pixels of its shorter side an image needs, so that more would hardly change the input."""
        if self.resample == "nearest":
            return None  # it picks pixels
        if self.framing == "ink":
            return enough_for_ink(max(self.width, self.height))
        return 2 * max(self.width, self.height, self.resize or 0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of one input."""
        return self.height, self.width, self.channels


class Fitted(NamedTuple):
    """The network's input, and how an image lies in it.

    Attributes:
        pixels: uint8 `[height, width, channels]`.
        shown: the part that shows the image, a pixel at least; the rest is background.
        enlargement: how many pixels of the input a pixel of the image takes along an axis, below 1 where the image
            was shrunk; of two axes that differ, the lesser.
    """

    pixels: Pixels
    shown: Box
    enlargement: float


def preprocess(image: Image.Image, spec: Preprocessing) -> Pixels:
    """Fit an opaque image, or the part of it with the ink, into the network's input.

    Args:
        image: an image of mode L or RGB, any size.
        spec: the bundle's preprocessing.

    Returns:
        uint8 `[height, width, channels]`.
    """
    return fitted(image, spec).pixels


def fitted(image: Image.Image, spec: Preprocessing) -> Fitted:
    """Do as `preprocess`, and tell with it how the image lies in the input."""
    mode = "L" if spec.channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    if spec.levels == "stretched":
        image = stretched(image, spec.gray_background)
    box = ink_box(image, spec.background) if spec.framing == "ink" else None
    view, shown, enlargement = _FITS[spec.fit](image, spec) if box is None else _boxed(image, box, spec)
    return Fitted(np.asarray(view, dtype=np.uint8).reshape(spec.shape), shown, enlargement)


def _letterboxed(image: Image.Image, spec: Preprocessing) -> tuple[Image.Image, Box, float]:
    """Show all of the image in the middle of the input."""
    scale = min(spec.width / image.width, spec.height / image.height)
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    image = _resized(image, (width, height), spec)
    left, top = (spec.width - width) // 2, (spec.height - height) // 2
    if image.size != (spec.width, spec.height):
        image = _on_background(image, spec, (spec.width, spec.height), (left, top))
    return image, (left, top, left + width, top + height), scale


def _squashed(image: Image.Image, spec: Preprocessing) -> tuple[Image.Image, Box, float]:
    """Show all of the image over all of the input, or the middle of what it was squashed into."""
    size = (spec.width, spec.height) if spec.resize is None else (spec.resize, spec.resize)
    enlargement = min(size[0] / image.width, size[1] / image.height)
    return *_middle(_resized(image, size, spec), spec), enlargement


def _cropped(image: Image.Image, spec: Preprocessing) -> tuple[Image.Image, Box, float]:
    """Show the middle of the image, resized in its own proportions.

    Sizes are rounded as the programs of the networks do: torchvision's `Resize` for a given shorter side, and
    `ResizeKeepRatio` of timm and open_clip where the input is just filled.
    """
    image = _without_ends(image, spec)
    if spec.resize is not None:
        shorter = min(image.size)
        size = (spec.resize * image.width // shorter, spec.resize * image.height // shorter)
    else:
        ratio = min(image.width / spec.width, image.height / spec.height)
        size = (round(image.width / ratio), round(image.height / ratio))
    return *_middle(_resized(image, size, spec), spec), min(size) / min(image.size)


def _middle(image: Image.Image, spec: Preprocessing) -> tuple[Image.Image, Box]:
    """Cut the input out of the middle of an image, or put a smaller one there."""
    left, top = _before(image.width - spec.width, spec.halving), _before(image.height - spec.height, spec.halving)
    shown = (max(0, -left), max(0, -top), min(spec.width, image.width - left), min(spec.height, image.height - top))
    return _on_background(image, spec, (spec.width, spec.height), (-left, -top)), shown


def _before(surplus: int, halving: Halving) -> int:
    """Return how many pixels of a surplus are cut off before the middle; negative: how many of a lack go there."""
    if halving == "down":
        return surplus // 2
    return round(surplus / 2) if surplus >= 0 else -(-surplus // 2)


def _without_ends(image: Image.Image, spec: Preprocessing) -> Image.Image:
    shorter, longer = sorted(image.size)
    shown = max(spec.width, spec.height) / min(spec.width, spec.height, spec.resize or spec.width)
    surplus = (longer - math.ceil(_STRIP * shown * shorter)) // 2
    if surplus <= 0:
        return image
    x, y = (surplus, 0) if image.width == longer else (0, surplus)
    return image.crop((x, y, image.width - x, image.height - y))


def _resized(image: Image.Image, size: tuple[int, int], spec: Preprocessing) -> Image.Image:
    return image if image.size == size else image.resize(size, _FILTERS[spec.resample])


_FITS = {"letterbox": _letterboxed, "crop": _cropped, "squash": _squashed}


def _boxed(image: Image.Image, box: InkBox, spec: Preprocessing) -> tuple[Image.Image, Box, float]:
    """Show a square of the image, widened to the input's shape; it may reach beyond the image."""
    left, top, right, bottom = box
    shorter = min(spec.width, spec.height)
    enlargement = shorter / (right - left)
    # Far more pixels than the input has are averaged first, so that no canvas is larger than a few inputs.
    factor = int((right - left) / (_FINE * shorter))
    if factor > 1:
        image = image.reduce(factor)
        left, top, right, bottom = (edge / factor for edge in (left, top, right, bottom))
    side = right - left
    wider, taller = side * (spec.width / shorter - 1) / 2, side * (spec.height / shorter - 1) / 2
    left, top, right, bottom = left - wider, top - taller, right + wider, bottom + taller
    x, y = math.floor(left), math.floor(top)
    canvas = _on_background(image, spec, (math.ceil(right) - x, math.ceil(bottom) - y), (-x, -y))
    view = canvas.resize(
        (spec.width, spec.height), _FILTERS[spec.resample], box=(left - x, top - y, right - x, bottom - y)
    )
    scale = shorter / side
    across = _covered(-left * scale, (image.width - left) * scale, spec.width)
    down = _covered(-top * scale, (image.height - top) * scale, spec.height)
    return view, (across[0], down[0], across[1], down[1]), enlargement


def _covered(start: float, end: float, count: int) -> tuple[int, int]:
    """Return which of an axis's pixels an image covers whole; of one too thin for any, the pixel it lies in."""
    first, last = max(0, math.ceil(start)), min(count, math.floor(end))
    if first < last:
        return first, last
    middle = min(max(0, math.floor((start + end) / 2)), count - 1)
    return middle, middle + 1


def _on_background(
    image: Image.Image, spec: Preprocessing, size: tuple[int, int], place: tuple[int, int]
) -> Image.Image:
    color = spec.gray_background if image.mode == "L" else spec.background
    canvas = Image.new(image.mode, size, color)
    canvas.paste(image, place)
    return canvas
