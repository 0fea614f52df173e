"""The first sketch's base network, its faults mended.

Kept: two 3x3 convolutions of 64 and 128 filters, each with ReLU and max-pooling by 2, then a dense embedding of 256.
Mended: no ReLU on the embedding, which would waste half the space; unit length, so that training and prediction use
the same Euclidean distance; and the last feature map is averaged to a 5x5 grid before it is flattened, so that the
dense layer holds 0.8 million weights at any input size instead of 17 million at one.
"""

from __future__ import annotations

import keras
from keras import layers

_GRID = 5


def seed_network(input_shape: tuple[int, int, int], dimension: int) -> keras.Model:
    """Build the network.

    Args:
        input_shape: `(height, width, channels)`, multiples of 20 pixels; pixels from 0 to 255.
        dimension: length of an embedding.

    Returns:
        A model from float32 `[n, *input_shape]` to L2-normalized float32 `[n, dimension]`.

    Raises:
        ValueError: the input cannot be pooled to the 5x5 grid.
    """
    height, width, _ = input_shape
    if height % (4 * _GRID) or width % (4 * _GRID):
        raise ValueError(f"network 'seed' needs input sides that are multiples of {4 * _GRID}, not {width}x{height}")
    images = keras.Input(input_shape, name="images")
    x = layers.Rescaling(-1 / 256, offset=255 / 256, name="ink")(images)
    for filters in (64, 128):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.AveragePooling2D((height // (4 * _GRID), width // (4 * _GRID)))(x)
    x = layers.Flatten()(x)
    x = layers.Dense(dimension, name="embedding")(x)
    x = layers.UnitNormalization(dtype="float32", name="unit_length")(x)
    return keras.Model(images, x, name="seed")
