"""Applies what `geometry` drew, in one resampling, by `keras.ops` alone, so wherever the network runs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from exemplar_trainer.augmentation.resizing import resized


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
