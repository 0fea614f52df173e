"""Decoded image to the network's input: one function, used by trainer and server alike.

The result is uint8; scaling to the network's own range is part of the exported network, so there is one place where
it can be right or wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

Resample = Literal["box", "bilinear"]
Pixels = npt.NDArray[np.uint8]

_FILTERS = {"box": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Preprocessing:
    """What the network takes: size in pixels, 1 (grey) or 3 (RGB) channels, and how images get there.

    An image is fitted into the input whole, keeping its proportions; what it does not cover is `background` (RGB,
    0 to 255). `resample` is an area-aware filter: `box` averages, `bilinear` is a little smoother.
    """

    width: int
    height: int
    channels: Literal[1, 3]
    background: tuple[int, int, int] = (255, 255, 255)
    resample: Resample = "box"

    def __post_init__(self) -> None:
        """Refuse what no network can take."""
        numbers = (self.width, self.height, *self.background)
        if not all(isinstance(number, int) for number in numbers):
            raise TypeError(f"sizes and colours must be whole numbers, not {numbers}")
        if len(self.background) != 3 or not all(0 <= value <= 255 for value in self.background):
            raise ValueError(f"background must be three numbers from 0 to 255, not {self.background}")
        if self.width < 8 or self.height < 8:
            raise ValueError(f"an input of {self.width} x {self.height} pixels is too small; 8 is the least")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")
        if self.resample not in _FILTERS:
            raise ValueError(f"resample must be one of {', '.join(_FILTERS)}, not {self.resample!r}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(height, width, channels)` of one input."""
        return self.height, self.width, self.channels


def preprocess(image: Image.Image, spec: Preprocessing) -> Pixels:
    """Fit an opaque image into the network's input.

    Args:
        image: an image of mode L or RGB, any size.
        spec: the bundle's preprocessing.

    Returns:
        uint8 `[height, width, channels]`.
    """
    mode = "L" if spec.channels == 1 else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    scale = min(spec.width / image.width, spec.height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if image.size != size:
        image = image.resize(size, _FILTERS[spec.resample])
    if size != (spec.width, spec.height):
        canvas = Image.new("RGB", (spec.width, spec.height), spec.background).convert(mode)
        canvas.paste(image, ((spec.width - size[0]) // 2, (spec.height - size[1]) // 2))
        image = canvas
    return np.asarray(image, dtype=np.uint8).reshape(spec.shape)
