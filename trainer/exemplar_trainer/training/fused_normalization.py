"""Batch normalization in one kernel, for training on TensorFlow.

Keras computes it operation by operation, each a pass over the activations; on a CPU that is a third of a training
step. The weights are those of the stock layer, so a bundle's network is built of stock layers and takes them over.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


class FusedBatchNormalization(layers.BatchNormalization):
    """`BatchNormalization` over the last axis of images, in training one kernel, else the stock layer.

    The variance that moves the running one is the unbiased estimate (n - 1), as everywhere this kernel is used.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize `[n, h, w, channels]`."""
        if not (training and self.trainable):
            return super().call(inputs, training=False)
        import tensorflow as tf

        normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=keras.ops.cast(self.gamma, "float32"),
            offset=keras.ops.cast(self.beta, "float32"),
            mean=tf.zeros([0]),
            variance=tf.zeros([0]),
            epsilon=self.epsilon,
            is_training=True,
        )
        for running, current in ((self.moving_mean, mean), (self.moving_variance, variance)):
            running.assign(running * self.momentum + current * (1.0 - self.momentum))
        return normalized


def with_fused_normalization(network: keras.Model) -> keras.Model:
    """Return the same network with fused layers where the backend has them; freshly drawn weights."""
    if keras.backend.backend() != "tensorflow":
        return network

    def clone(layer: keras.Layer) -> keras.Layer:
        kind = FusedBatchNormalization if type(layer) is layers.BatchNormalization else type(layer)
        copy: keras.Layer = kind.from_config(layer.get_config())
        return copy

    return keras.models.clone_model(network, clone_function=clone)
