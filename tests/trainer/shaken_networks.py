"""Networks whose weights and running statistics are as after training, though nobody trained them."""

from __future__ import annotations

import keras
import numpy as np

from exemplar_encoder.arrays import Floats


def shaken(network: keras.Model) -> keras.Model:
    """Return the network with weights and running statistics as after training, drawn at random."""
    rng = np.random.default_rng(0)
    for variable in network.variables:
        values = keras.ops.convert_to_numpy(variable.value)
        noise = rng.normal(size=values.shape).astype(np.float32)
        variable.assign(np.abs(noise) + 0.5 if "variance" in variable.path else values + 0.2 * noise)
    return network


def outputs(network: keras.Model, side: int) -> Floats:
    images = np.random.default_rng(1).uniform(0, 255, (8, side, side, 1)).astype(np.float32)
    return np.asarray(network(images, training=False))
