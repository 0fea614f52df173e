"""Affine and elastic augmentation, as it is drawn; `distort` applies it in the graph.

Drawing is a pure function of a random generator, so a resumed run sees the very distortions it would have seen.
Quarter turns, which make new classes of
symbols, are folded into the affine transform. Elastic distortion: Simard, Steinkraus & Platt, "Best Practices for
Convolutional Neural Networks Applied to Visual Document Analysis", ICDAR 2003; here a smooth field through a coarse
grid of random displacements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Floats, Ints

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
