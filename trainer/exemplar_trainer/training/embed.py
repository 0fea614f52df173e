"""Embeds a whole set of images with a network in memory, in batches."""

from __future__ import annotations

import keras
import numpy as np

from exemplar_encoder.arrays import Floats, Pixels

_BATCH = 256


def embed(network: keras.Model, pixels: Pixels) -> Floats:
    """Return embeddings float32 `[n, dimension]` of images uint8 `[n, height, width, channels]`."""
    batches = [
        keras.ops.convert_to_numpy(network.predict_on_batch(pixels[start : start + _BATCH].astype(np.float32)))
        for start in range(0, len(pixels), _BATCH)
    ]
    return np.concatenate(batches).astype(np.float32)
