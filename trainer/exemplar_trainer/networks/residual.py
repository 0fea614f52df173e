"""The default base network: a compact residual network whose embedding knows where on the paper a stroke is.

Residual learning: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. A strided 5x5 stem and one
block for each width keep it near a million weights. The dense layer reads the last feature map place by place, at
most 4 x 4 of them at any input size: where symbols are framed alike, the place of a stroke tells them apart.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers

WIDTHS = (32, 64, 128, 160)
_PLACES = 4


def residual_network(input_shape: tuple[int, int, int], dimension: int) -> keras.Model:
    """Build the network.

    Args:
        input_shape: `(height, width, channels)`; pixels from 0 to 255.
        dimension: length of an embedding.

    Returns:
        A model from float32 `[n, *input_shape]` to L2-normalized float32 `[n, dimension]`.
    """
    images = keras.Input(input_shape, name="images")
    # White paper becomes 0 and black ink almost 1, so that zero padding is paper; exact in half precision, too.
    x = layers.Rescaling(-1 / 256, offset=255 / 256, name="ink")(images)
    x = layers.Conv2D(WIDTHS[0], 5, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for index, width in enumerate(WIDTHS):
        x = _block(x, width, strides=1 if index == 0 else 2)
    pool = math.ceil(max(x.shape[1:3]) / _PLACES)
    x = layers.Flatten()(layers.AveragePooling2D(pool, padding="same")(x))
    x = layers.Dense(dimension, name="embedding")(x)
    # float32 whatever the policy: a unit vector in half precision is not of unit length.
    x = layers.UnitNormalization(dtype="float32", name="unit_length")(x)
    return keras.Model(images, x, name="residual")


def _block(x: Any, width: int, strides: int) -> Any:
    shortcut = x
    y = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False)(x)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.Conv2D(width, 3, padding="same", use_bias=False)(y)
    y = layers.BatchNormalization()(y)
    if strides != 1 or x.shape[-1] != width:
        shortcut = layers.Conv2D(width, 1, strides=strides, use_bias=False)(x)
        shortcut = layers.BatchNormalization()(shortcut)
    return layers.ReLU()(layers.Add()([y, shortcut]))
