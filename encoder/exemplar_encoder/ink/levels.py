"""Gray levels of a drawing, brought to those of black ink on the background.

Gray paper, a pencil, a photograph of a whiteboard, chalk on a blackboard: what is drawn is the same. So the paper's
level becomes the background's, the ink's becomes the other end of the range, and what lies between keeps its
proportion; what is nearly paper or nearly ink is taken for noise. Light ink on dark paper turns over. Pictures that
are no drawings stay as they are, and so does black on white.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image

# The share of pixels that may lie farther from the paper than the ink does: specks, and ringing of a codec.
_STRAY = 0.001
# An image whose ink differs from its paper by less than this (of 255) shows nothing but noise.
_FAINT = 16.0
# Pixels that differ from the paper by less than this share of the ink's difference are paper, as in `ink_box`; so is
# more than half of a drawing.
_PAPER, _MOST = 0.25, 0.5
# A level nearer than this to paper or ink, as a share of their difference, is that itself: the grain of a scan.
_GRAIN = 0.15


def stretched(image: Image.Image, background: int) -> Image.Image:
    """Stretch a gray image's levels.

    Args:
        image: of mode L.
        background: the level that paper gets, 0 to 255.

    Returns:
        An image of the same mode and size; the image itself where it is blank or no drawing.
    """
    # Of each level, how many pixels are of it or darker.
    counted = np.cumsum(image.histogram())
    total = int(counted[-1])
    find = counted.searchsorted
    paper, dark = int(find(total / 2)), int(find(_STRAY * total, side="right"))
    light = int(find(total - _STRAY * total))
    ink = dark if paper - dark >= light - paper else light
    if abs(ink - paper) < _FAINT:
        return image
    reach = math.ceil(_PAPER * abs(ink - paper))
    inked = (int(counted[paper - reach]) if paper >= reach else 0) + total
    inked -= int(counted[min(255, paper + reach - 1)])
    if inked > _MOST * total:
        return image
    pixels = image.tobytes()
    if abs(_border(pixels, image.width) - paper) >= _PAPER * abs(ink - paper):
        return image  # what most of it is ends before its edges: a bold figure, which would turn over
    table = _table(paper, ink, background)
    return image if table == _SAME else Image.frombytes("L", image.size, pixels.translate(table))


_SAME = bytes(range(256))


@lru_cache(4096)
def _table(paper: int, ink: int, background: int) -> bytes:
    """Return what each level becomes."""
    end = 0.0 if background >= 128 else 255.0
    share = np.clip(((np.arange(256.0) - paper) / (ink - paper) - _GRAIN) / (1 - 2 * _GRAIN), 0.0, 1.0)
    return np.rint(background + share * (end - background)).astype(np.uint8).tobytes()


def _border(pixels: bytes, width: int) -> float:
    """Find the median level along the edges of an image of one byte a pixel."""
    rows, columns = pixels[:width] + pixels[-width:], pixels[::width] + pixels[width - 1 :: width]
    edges = np.sort(np.frombuffer(rows + columns, np.uint8))
    half = len(edges) // 2
    return (int(edges[half - 1]) + int(edges[half])) / 2  # there is an even number of them
