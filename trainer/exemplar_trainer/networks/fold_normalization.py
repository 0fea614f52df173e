"""Batch normalization folded into the convolutions before it: the same function in fewer operations and weights.

Once trained, it is a scale and a shift of a convolution's output, so it becomes part of the weights: Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from exemplar_encoder.arrays import Floats


def fold_normalization(network: keras.Model) -> keras.Model:
    """Return the same function, every batch normalization that follows a convolution of its own folded into it."""
    folded = {
        convolution.name: layer
        for layer in network.layers
        if type(layer) is layers.BatchNormalization and (convolution := _convolution_before(layer)) is not None
    }
    gone = {id(layer) for layer in folded.values()}

    def clone(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if layer.name in folded:
            config["use_bias"] = True
        copy: keras.Layer = type(layer).from_config(config)
        if id(layer) in gone:
            dropped.add(copy.name)
        return copy

    def call(layer: keras.Layer, *inputs: Any, **options: Any) -> Any:
        return inputs[0] if layer.name in dropped else layer(*inputs, **options)

    dropped: set[str] = set()
    plain = keras.models.clone_model(network, clone_function=clone, call_function=call)
    for layer in network.layers:
        if layer.name in folded:
            plain.get_layer(layer.name).set_weights(_folded_weights(layer, folded[layer.name]))
        elif layer.weights and id(layer) not in gone:
            plain.get_layer(layer.name).set_weights(layer.get_weights())
    return plain


def _convolution_before(layer: keras.Layer) -> keras.Layer | None:
    """Return the convolution whose output this layer alone reads, if it is that."""
    before: keras.Layer = layer.input._keras_history.operation
    if type(before) not in (layers.Conv2D, layers.DepthwiseConv2D):
        return None
    if before.get_config()["activation"] != "linear" or len(before._outbound_nodes) != 1:
        return None
    return before


def _folded_weights(convolution: keras.Layer, normalization: keras.Layer) -> list[Floats]:
    kernel, *bias = (weights.astype(np.float64) for weights in convolution.get_weights())
    shift = bias[0] if bias else 0.0
    values = {variable.name: keras.ops.convert_to_numpy(variable.value) for variable in normalization.variables}
    scale = values.get("gamma", 1.0) / np.sqrt(values["moving_variance"].astype(np.float64) + normalization.epsilon)
    moved = (shift - values["moving_mean"]) * scale + values.get("beta", 0.0)
    if isinstance(convolution, layers.DepthwiseConv2D):
        scale = scale.reshape(kernel.shape[2:])  # its outputs are input channels x multiplier
    return [(kernel * scale).astype(np.float32), np.asarray(moved, np.float32)]
