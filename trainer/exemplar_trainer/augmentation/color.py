"""Color augmentation: one matrix an image, drawn here; `recolor` applies it in the graph.

Brightness, contrast, saturation, hue and each channel's own strength are all linear in a pixel's color, so together
they are one matrix and one shift. Which changes, and that they are drawn at random for each image, after Cubuk et
al., "RandAugment", CVPR Workshops 2020; here each has a range of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Floats, Floats64

# ITU-R 601, as Pillow grays an image.
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class ColorJitter:
    """Uniform ranges around no change.

    Attributes:
        brightness: added, as a share of the whole range.
        contrast: share by which differences from the background grow or shrink.
        saturation: share by which differences from gray do; of three channels only.
        hue: share of the whole circle; of three channels only.
        channel: share by which each channel's contrast differs from the others', as light of another color does.
        gray: probability of no color at all.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    channel: float = 0.0
    gray: float = 0.0


def draw_colors(rng: np.random.Generator, jitter: ColorJitter, count: int, background: tuple[int, ...]) -> Floats:
    """Draw one change of color an image.

    Args:
        rng: the only source of chance.
        jitter: the ranges.
        count: of images.
        background: what contrast is measured from, a value from 0 to 255 a channel: paper stays paper.

    Returns:
        float32 `[count, channels, channels + 1]`: a pixel becomes the matrix times its channels, plus the last
        column.
    """
    channels = len(background)
    paper = np.array(background, dtype=np.float64)
    brightness = 255.0 * rng.uniform(-jitter.brightness, jitter.brightness, (count, 1))
    contrast = 1.0 + rng.uniform(-jitter.contrast, jitter.contrast, (count, 1))
    gain = contrast * (1.0 + rng.uniform(-jitter.channel, jitter.channel, (count, channels)))
    matrix = gain[:, :, None] * np.eye(channels)
    if channels == 3:
        saturation = 1.0 + rng.uniform(-jitter.saturation, jitter.saturation, count)
        saturation *= rng.random(count) >= jitter.gray
        angle = 2 * np.pi * rng.uniform(-jitter.hue, jitter.hue, count)
        matrix = matrix @ _turned(angle) @ _saturated(saturation)
    shift = paper - matrix @ paper + brightness
    return np.concatenate([matrix, shift[:, :, None]], axis=2).astype(np.float32)


def _turned(angle: Floats64) -> Floats64:
    """Return rotations about the axis of grays, `[n, 3, 3]` (Rodrigues' formula)."""
    third = 1.0 / np.sqrt(3.0)
    axis = third * np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    sin, cos = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
    turned: Floats64 = np.eye(3) + sin * axis + (1.0 - cos) * (axis @ axis)
    return turned


def _saturated(share: Floats64) -> Floats64:
    """Return matrices `[n, 3, 3]` between all gray (0), no change (1) and more color (above)."""
    gray = np.tile(_LUMA, (3, 1))
    return gray + share[:, None, None] * (np.eye(3) - gray)
