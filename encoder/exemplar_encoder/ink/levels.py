"""Gray levels of a drawing, brought to those of black ink on the background.

Gray paper, a pencil, a photograph of a whiteboard, chalk on a blackboard: what is drawn is the same. So the paper's
level becomes the background's, the ink's becomes the other end of the range, and what lies between keeps its
proportion; what is nearly paper or nearly ink is taken for noise. Light ink on dark paper turns over. Pictures that
are no drawings stay as they are, and so does black on white.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# The share of pixels that may lie farther from the paper than the ink does: specks, and ringing of a codec.
_STRAY = 0.001
# An image whose ink differs from its paper by less than this (of 255) shows nothing but noise.
_FAINT = 16.0
# Pixels that differ from the paper by less than this share of the ink's difference are paper, as in `ink_box`; more
# than half of a drawing is.
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
    counts = np.array(image.histogram(), dtype=np.float64)
    levels = np.arange(256.0)
    total = counts.sum()
    paper = float(np.searchsorted(np.cumsum(counts), total / 2))
    dark = float(np.searchsorted(np.cumsum(counts), _STRAY * total, side="right"))
    light = 255.0 - float(np.searchsorted(np.cumsum(counts[::-1]), _STRAY * total, side="right"))
    ink = dark if paper - dark >= light - paper else light
    difference = ink - paper
    if abs(difference) < _FAINT:
        return image
    if counts[np.abs(levels - paper) >= _PAPER * abs(difference)].sum() > _MOST * total:
        return image
    if abs(_border(image) - paper) >= _PAPER * abs(difference):
        return image  # what most of it is ends before its edges: a bold figure, which would turn over
    end = 0.0 if background >= 128 else 255.0
    share = np.clip(((levels - paper) / difference - _GRAIN) / (1 - 2 * _GRAIN), 0.0, 1.0)
    return image.point(np.rint(background + share * (end - background)).astype(int).tolist())


def _border(image: Image.Image) -> float:
    """Find the median level along the edges."""
    pixels = np.asarray(image)
    return float(np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])))
