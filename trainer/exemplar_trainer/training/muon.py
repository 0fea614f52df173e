"""Muon for convolutional networks: each matrix of weights moves by an orthogonal step.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; steps scaled to the size of AdamW's,
so that both share one learning rate, after Liu et al., "Muon is Scalable for LLM Training", 2025. Keras's own Muon
leaves convolutions to AdamW; here a kernel is the matrix that it is applied as, patches by channels. AdamW moves
the rest: the first layer, which sees pixels, and whatever is no matrix.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

# The coefficients of the quintic Newton-Schulz iteration, and how often it is done.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5


class ConvolutionalMuon(keras.optimizers.Muon):
    """Muon for kernels of dense layers and convolutions, AdamW for everything else."""

    def _should_use_adamw(self, variable: Any) -> bool:
        shape = variable.shape
        return not (variable.path.endswith("/kernel") and len(shape) in (2, 4) and shape[-2] > 3 and shape[-1] > 1)

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign(m, m * self.momentum + gradient)
        ahead = gradient + self.momentum * m
        rows = math.prod(variable.shape[:-1])
        step = orthogonalized(ops.reshape(ahead, (rows, variable.shape[-1])))
        scale = self.rms_rate * math.sqrt(max(rows, variable.shape[-1]))
        self.assign_sub(variable, ops.reshape(lr * scale * step, variable.shape))


def orthogonalized(matrix: Any) -> Any:
    """Return the nearest matrix of orthonormal rows or columns, roughly: its singular values are 0.7 to 1.2.

    The iteration runs on the smaller Gram matrix alone, since all of its polynomials commute: two large products
    instead of fifteen.
    """
    wide = matrix.shape[0] < matrix.shape[1]
    x = ops.transpose(matrix) if wide else matrix
    x = x / (ops.norm(x) + 1e-7)
    gram = ops.matmul(ops.transpose(x), x)
    one = ops.eye(gram.shape[0], dtype=gram.dtype)
    product = one
    for _ in range(_ITERATIONS):
        factor = _A * one + _B * gram + _C * ops.matmul(gram, gram)
        product = ops.matmul(product, factor)
        gram = ops.matmul(ops.matmul(factor, gram), factor)
    x = ops.matmul(x, product)
    return ops.transpose(x) if wide else x
