"""Affine and elastic augmentation: drawn on the host, applied in the graph, in one resampling.

Drawing is a pure function of a random generator, so a resumed run sees the very distortions it would have seen;
applying uses `keras.ops` alone, so it runs wherever the network does. Quarter turns, which make new classes of
symbols, are folded into the affine transform. Elastic distortion: Simard, Steinkraus & Platt, "Best Practices for
Convolutional Neural Networks Applied to Visual Document Analysis", ICDAR 2003; here a smooth field through a coarse
grid of random displacements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from exemplar_encoder.arrays import Floats, Ints
from exemplar_trainer.augmentation.resizing import resized

GRID = 5
"""Points of an elastic distortion's grid, along each side."""


@dataclass(frozen=True)
class Affine:
    """Uniform ranges: rotation in degrees, scale factors, shear, shift as a share of the side."""

    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    shift: float = 0.0


@dataclass(frozen=True)
class Elastic:
    """Normally distributed displacements of a coarse grid of points, `amplitude` as a share of the side."""

    amplitude: float = 0.0


def draw_displacements(rng: np.random.Generator, elastic: Elastic, count: int) -> Floats:
    """Draw one field an image: float32 `[count, GRID, GRID, 2]`, displacements (x, y) as a share of the side."""
    shape = (count, GRID, GRID, 2)
    return rng.normal(0.0, elastic.amplitude, shape).astype(np.float32)


def draw_transforms(
    rng: np.random.Generator,
    affine: Affine,
    orientations: Ints,
    size: tuple[int, int],
) -> Floats:
    """Draw one transform an image.

    Args:
        rng: the only source of chance.
        affine: the ranges.
        orientations: `[n]` quarter turns to add, plus 4 to mirror left and right first.
        size: `(height, width)` in pixels.

    Returns:
        float32 `[n, 6]`: a0 a1 a2 b0 b1 b2, mapping output pixel (x, y) to input pixel
        (a0 x + a1 y + a2, b0 x + b1 y + b2).
    """
    n = len(orientations)
    height, width = size
    angle = np.deg2rad(rng.uniform(-affine.rotation, affine.rotation, n)) + orientations % 4 * (np.pi / 2)
    scale_x, scale_y = 1.0 / rng.uniform(*affine.scale, n), 1.0 / rng.uniform(*affine.scale, n)
    mirror = np.where(orientations >= 4, -1.0, 1.0)
    shear_x, shear_y = rng.uniform(-affine.shear, affine.shear, n), rng.uniform(-affine.shear, affine.shear, n)
    shift_x = rng.uniform(-affine.shift, affine.shift, n) * width
    shift_y = rng.uniform(-affine.shift, affine.shift, n) * height
    cos, sin = np.cos(angle), np.sin(angle)
    # Mirror times rotation times (shear and scale), around the center.
    a0, a1 = mirror * (cos * scale_x - sin * shear_y), mirror * (cos * shear_x - sin * scale_y)
    b0, b1 = sin * scale_x + cos * shear_y, sin * shear_x + cos * scale_y
    center_x, center_y = (width - 1) / 2, (height - 1) / 2
    a2 = center_x + shift_x - a0 * center_x - a1 * center_y
    b2 = center_y + shift_y - b0 * center_x - b1 * center_y
    return np.stack([a0, a1, a2, b0, b1, b2], axis=1).astype(np.float32)


class Distort(keras.layers.Layer):
    """Moves images by what was drawn for them; uncovered pixels take the background color."""

    def __init__(self, background: tuple[int, ...]) -> None:
        super().__init__(name="augmentation", dtype="float32")
        self.background = np.asarray(background, dtype=np.float32)

    def call(self, images: Any, transforms: Any, displacements: Any) -> Any:
        """Distort images `[n, h, w, channels]` from 0 to 255; float32 of the images' shape.

        An output pixel shows the input at its transform's place plus its displacement.
        """
        height, width = images.shape[1:3]
        xs, ys = ops.meshgrid(ops.arange(width, dtype="float32"), ops.arange(height, dtype="float32"))
        a0, a1, a2, b0, b1, b2 = (transforms[:, index, None, None] for index in range(6))
        field = resized(displacements, (height, width), Image.Resampling.BICUBIC)
        x = a0 * xs + a1 * ys + a2 + field[..., 0] * width
        y = b0 * xs + b1 * ys + b2 + field[..., 1] * height
        background = ops.convert_to_tensor(self.background)  # on the images' device, whichever the backend's is
        return _sample(ops.cast(images, "float32") - background, x, y) + background


def _sample(images: Any, x: Any, y: Any) -> Any:
    """Look up images `[n, h, w, c]` at places `[n, h, w]`, bilinear between pixels and 0 outside."""
    height, width, channels = images.shape[1:]
    # One pixel of background around each image stands for everything outside.
    padded = ops.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = ops.clip(x + 1.0, 0.0, width + 1.0)
    y = ops.clip(y + 1.0, 0.0, height + 1.0)
    left, top = ops.minimum(ops.floor(x), float(width)), ops.minimum(ops.floor(y), float(height))
    right_share, lower_share = (x - left)[..., None], (y - top)[..., None]
    row = width + 2
    first = ops.arange(ops.shape(images)[0], dtype="int32")[:, None, None] * ((height + 2) * row)
    corner = first + ops.cast(top, "int32") * row + ops.cast(left, "int32")
    pixels = ops.reshape(padded, (-1, channels))
    upper = (
        ops.take(pixels, corner, axis=0) * (1.0 - right_share) + ops.take(pixels, corner + 1, axis=0) * right_share
    )
    corner = corner + row
    lower = (
        ops.take(pixels, corner, axis=0) * (1.0 - right_share) + ops.take(pixels, corner + 1, axis=0) * right_share
    )
    return upper * (1.0 - lower_share) + lower * lower_share
