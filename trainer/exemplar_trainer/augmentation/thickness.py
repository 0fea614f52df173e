"""Thicker and thinner strokes: gray dilation and erosion, in part, drawn for each image.

The dark of a pixel spreads to its neighbors (or the light does), weighted by an amount between none and all.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops


def draw_thickness(rng: np.random.Generator, most: float, count: int) -> npt.NDArray[np.float32]:
    """Draw float32 `[count]` from -`most` (thinner) to `most` (thicker); 1 is a pixel on each side of a stroke."""
    return rng.uniform(-most, most, count).astype(np.float32)


class Thicken(keras.layers.Layer):
    """Gives dark strokes on light paper the thickness that was drawn."""

    def __init__(self) -> None:
        super().__init__(name="thickness", dtype="float32")

    def call(self, images: Any, amounts: Any) -> Any:
        """Float32 images `[n, h, w, channels]`, amounts `[n]` from -1 to 1; the images' shape out."""
        amounts = amounts[:, None, None, None]
        darker = -ops.max_pool(-images, 3, strides=1, padding="same")
        lighter = ops.max_pool(images, 3, strides=1, padding="same")
        spread = ops.where(amounts > 0, darker, lighter)
        return images + ops.abs(amounts) * (spread - images)
