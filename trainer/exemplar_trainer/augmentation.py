"""Affine augmentation: drawn on the host, applied in the graph.

Drawing is a pure function of a random generator, so a resumed run sees the very transforms it would have seen;
applying uses `keras.ops` alone, so it runs wherever the network does. Quarter turns, which make new classes of
symbols, are folded into the same transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops


@dataclass(frozen=True)
class Affine:
    """Uniform ranges: rotation in degrees, scale factors, shear, shift as a share of the side."""

    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: float = 0.0
    shift: float = 0.0


def draw_transforms(
    rng: np.random.Generator,
    affine: Affine,
    quarter_turns: npt.NDArray[np.int64],
    size: tuple[int, int],
) -> npt.NDArray[np.float32]:
    """Draw one transform an image.

    Args:
        rng: the only source of chance.
        affine: the ranges.
        quarter_turns: `[n]` turns by 90 degrees to add.
        size: `(height, width)` in pixels.

    Returns:
        float32 `[n, 8]`: a0 a1 a2 b0 b1 b2 0 0, mapping output pixel (x, y) to input pixel
        (a0 x + a1 y + a2, b0 x + b1 y + b2).
    """
    n = len(quarter_turns)
    height, width = size
    angle = np.deg2rad(rng.uniform(-affine.rotation, affine.rotation, n)) + quarter_turns * (np.pi / 2)
    scale_x, scale_y = 1.0 / rng.uniform(*affine.scale, n), 1.0 / rng.uniform(*affine.scale, n)
    shear_x, shear_y = rng.uniform(-affine.shear, affine.shear, n), rng.uniform(-affine.shear, affine.shear, n)
    shift_x = rng.uniform(-affine.shift, affine.shift, n) * width
    shift_y = rng.uniform(-affine.shift, affine.shift, n) * height
    cos, sin = np.cos(angle), np.sin(angle)
    # Rotation times (shear and scale), around the centre.
    a0, a1 = cos * scale_x - sin * shear_y, cos * shear_x - sin * scale_y
    b0, b1 = sin * scale_x + cos * shear_y, sin * shear_x + cos * scale_y
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    a2 = centre_x + shift_x - a0 * centre_x - a1 * centre_y
    b2 = centre_y + shift_y - b0 * centre_x - b1 * centre_y
    zero = np.zeros(n)
    return np.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1).astype(np.float32)


class ApplyTransforms(keras.layers.Layer):
    """Moves images by the transforms that were drawn for them; uncovered pixels take the background colour."""

    def __init__(self, background: tuple[int, ...]) -> None:
        super().__init__(name="augmentation", dtype="float32")
        self.background = np.asarray(background, dtype=np.float32)

    def call(self, images: Any, transforms: Any) -> Any:
        """Move images `[n, h, w, channels]` from 0 to 255 by transforms `[n, 8]`; float32 of the images' shape."""
        background = ops.convert_to_tensor(self.background)
        # The library fills uncovered pixels with one number, so the background is moved to 0 and back.
        moved = ops.image.affine_transform(
            ops.cast(images, "float32") - background,
            transforms,
            interpolation="bilinear",
            fill_mode="constant",
            fill_value=0,
            data_format="channels_last",
        )
        return moved + background
