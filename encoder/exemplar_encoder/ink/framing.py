"""Where in an image the ink is: the square that the network looks at.

Drawings of one symbol differ in place and size on their paper, which tells nothing of what they are. Normalizing both
by moments (Casey, "Moment Normalization of Handprinted Characters", IBM Journal of Research and Development, 1970)
leaves the network the shape alone, and shows it a small drawing at full resolution. Hardly any ink is cut off, but a
speck far away does not shrink the rest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

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
# Pixels closer to the background than this share of the greatest difference are paper: noise or shadow.
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
    paper = np.asarray(Image.new("RGB", (1, 1), background).convert(image.mode), dtype=np.float32)
    ink = np.abs(np.asarray(small, dtype=np.float32) - paper)
    if ink.ndim == 3:
        ink = ink.max(axis=2)
    darkest = float(ink.max())
    if darkest < _FAINT:
        return None
    ink[ink < _PAPER * darkest] = 0.0
    if np.count_nonzero(ink) > _MOST * ink.size:
        return None
    across, down = ink.sum(axis=0, dtype=np.float64), ink.sum(axis=1, dtype=np.float64)
    across, down = across / across.sum(), down / down.sum()
    xs = (np.arange(small.width) + 0.5) * (image.width / small.width)
    ys = (np.arange(small.height) + 0.5) * (image.height / small.height)
    x, y = float(across @ xs), float(down @ ys)
    spread = np.sqrt((float(across @ np.square(xs - x)) + float(down @ np.square(ys - y))) / 2)
    reach = max(_reach(across, image.width, x), _reach(down, image.height, y))
    side = max(spread / _SPREAD, 2 * (1 + _MARGIN) * reach, _LEAST_SIDE * max(image.size))
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def _reach(shares: npt.NDArray[np.float64], length: int, center: float) -> float:
    """Measure how far from its center ink lies, along an axis of `length` pixels."""
    edges = np.linspace(0.0, length, len(shares) + 1)
    ends = np.interp([_STRAY, 1.0 - _STRAY], np.concatenate([[0.0], np.cumsum(shares)]), edges)
    return float(np.abs(ends - center).max())
