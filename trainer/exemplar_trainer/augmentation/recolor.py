"""Applies what `color` drew, in the graph, wherever the network runs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class Recolor(keras.layers.Layer):
    """Gives each image the colors that were drawn for it; what leaves the range is cut off."""

    def __init__(self) -> None:
        super().__init__(name="colors", dtype="float32")

    def call(self, images: Any, colors: Any) -> Any:
        """Recolor float32 images `[n, h, w, channels]` from 0 to 255; the same shape out."""
        channels = images.shape[-1]
        mixed = ops.einsum("nhwc,ndc->nhwd", images, colors[:, :, :channels])
        return ops.clip(mixed + colors[:, None, None, :, channels], 0.0, 255.0)
