"""Where in an image the ink is: the square that the network looks at.

Drawings of one symbol differ in place and size on their paper, which tells nothing of what they are. Normalizing both
by moments (Casey, "Moment Normalization of Handprinted Characters", IBM Journal of Research and Development, 1970)
leaves the network the shape alone, and shows it a small drawing at full resolution. Hardly any ink is cut off, but a
speck far away does not shrink the rest.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from exemplar_encoder.arrays import Pixels

InkBox = tuple[float, float, float, float]

# The ink's standard deviation along an axis, as a share of the square's side: a circle fills 0.64 of the side.
_SPREAD = 0.227
# The margin around the ink that lies farthest out, as a share of its distance from the center; and the share of ink
# on either side that may lie farther.
_MARGIN, _STRAY = 0.04, 0.005
# The square's least side, as a share of the image's longer side: a dot is not blown up without end.
_LEAST_SIDE = 0.30
# Ink is measured on at most this many pixels a side.
_MEASURED = 128
# Pixels that differ from the background by less than this share of the greatest difference are paper.
_PAPER = 0.25
# An image whose greatest difference from the background is below this (of 255) has no ink.
_FAINT = 16.0
# Where more than this share of the pixels is no paper, the image is no drawing: a photograph, or a dark scan.
_MOST = 0.5


def ink_box(image: Image.Image, background: tuple[int, int, int]) -> InkBox | None:
    """Find the square around an image's ink.

    Args:
        image: of mode L or RGB.
        background: the paper's color, RGB.

    Returns:
        `(left, top, right, bottom)` in pixels of the image, beyond its edges where the ink lies there; None when the
        image is blank or no drawing, and so has to be taken whole.
    """
    shrink = max(1.0, max(image.size) / _MEASURED)
    small = image
    if shrink > 1.0:
        size = (max(1, round(image.width / shrink)), max(1, round(image.height / shrink)))
        small = image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    ink = _ink(small, background)
    if ink is None or np.count_nonzero(ink) > _MOST * ink.size:
        return None
    # Sums of whole numbers, exact in whatever order.
    across, down = _shares(ink.sum(axis=0, dtype=np.uint32)), _shares(ink.sum(axis=1, dtype=np.uint32))
    xs, ys = _centers(small.width, image.width), _centers(small.height, image.height)
    x, y = float(across @ xs), float(down @ ys)
    spread = math.sqrt((float(across @ np.square(xs - x)) + float(down @ np.square(ys - y))) / 2)
    reach = max(_reach(across, image.width, x), _reach(down, image.height, y))
    side = max(spread / _SPREAD, 2 * (1 + _MARGIN) * reach, _LEAST_SIDE * max(image.size))
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def _ink(image: Image.Image, background: tuple[int, int, int]) -> Pixels | None:
    """Return how much each pixel differs from the paper, uint8 `[height, width]`, 0 on it; None for a blank image."""
    if image.mode == "L":
        paper = gray(background)
        most = max(abs(int(level) - paper) for level in image.getextrema())  # type: ignore[arg-type]
        if most < _FAINT:
            return None
        differing = image.tobytes().translate(_differences(paper, most))
        return np.frombuffer(differing, np.uint8).reshape(image.height, image.width)
    paper_color = np.array(background, np.int16)
    ink: Pixels = np.abs(np.asarray(image, np.int16) - paper_color).max(axis=2).astype(np.uint8)
    most = int(ink.max())
    if most < _FAINT:
        return None
    ink[ink < _PAPER * most] = 0
    return ink


@lru_cache(1024)
def _differences(paper: int, most: int) -> bytes:
    """Return how much each level differs from the paper's, 0 where that is little of the `most` there is."""
    found = [abs(level - paper) for level in range(256)]
    return bytes(difference if difference >= _PAPER * most else 0 for difference in found)


def _shares(sums: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    return np.asarray(sums / sums.sum(dtype=np.float64), np.float64)


@lru_cache(256)
def _centers(count: int, length: int) -> npt.NDArray[np.float64]:
    """Return where the middles of `count` equal parts of a length are."""
    return np.asarray((np.arange(count) + 0.5) * (length / count), np.float64)


@lru_cache(256)
def _edges(count: int, length: int) -> npt.NDArray[np.float64]:
    return np.linspace(0.0, length, count + 1, dtype=np.float64)


def _reach(shares: npt.NDArray[np.float64], length: int, center: float) -> float:
    """Measure how far from its center ink lies, along an axis of `length` pixels."""
    shared = np.zeros(len(shares) + 1)
    np.cumsum(shares, out=shared[1:])
    first, last = np.interp((_STRAY, 1.0 - _STRAY), shared, _edges(len(shares), length))
    return max(abs(float(first) - center), abs(float(last) - center))


def gray(color: tuple[int, int, int]) -> int:
    """Return the gray that Pillow makes of a color (ITU-R 601)."""
    red, green, blue = color
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
