"""A network as a LiteRT model, converted from its SavedModel, in half precision where that changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exemplar_encoder.arrays import Floats, Pixels
from exemplar_encoder.encoder import GOLDEN_TOLERANCE
from exemplar_encoder.engines import run_padded

# Engines that compute with the same weights differ by less than this, a tenth of what a bundle is refused for.
_ENGINES_AGREE = GOLDEN_TOLERANCE / 10


def write_litert(saved_model: Path, path: Path, pixels: Pixels, embeddings: Floats) -> None:
    """Convert a SavedModel.

    The converter folds constants of some networks into weights that were rounded already, and would round them anew;
    their weights stay float32.

    Args:
        saved_model: its folder.
        path: of the file to write.
        pixels: images uint8 `[n, height, width, channels]` to compare the two by.
        embeddings: what the network makes of them, float32 `[n, dimension]`.
    """
    import tensorflow as tf

    from exemplar_encoder.engines.litert import LiteRTEngine
    from exemplar_encoder.engines.tensorflow import plain_path

    for half in (True, False):
        with plain_path(saved_model) as source:
            converter = tf.lite.TFLiteConverter.from_saved_model(str(source), signature_keys=["serve"])
            if half:
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.target_spec.supported_types = [tf.float16]
            path.write_bytes(converter.convert())
        engine = LiteRTEngine(path, threads=1)
        if np.abs(run_padded(engine, pixels, embeddings.shape[1]) - embeddings).max() <= _ENGINES_AGREE:
            return
