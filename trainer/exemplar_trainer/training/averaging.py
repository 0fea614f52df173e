"""An average of the weights that warms up: while little is learnt yet, it forgets fast and does not lag behind.

After `num_updates` of TensorFlow's `ExponentialMovingAverage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class WarmingAverage:
    """For an optimizer with `use_ema`: after `t` steps at most (1 + t) / (10 + t) of the average stays at the next.

    The first step's weights are the first average.
    """

    def _update_model_variables_moving_average(self: Any, trainable_variables: Sequence[Any]) -> None:
        done = ops.cast(self.iterations, "float32")
        kept = ops.minimum(self.ema_momentum, (1.0 + done) / (10.0 + done))
        kept = ops.where(done > 0.0, kept, 0.0)
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            average.assign(kept * average + (1.0 - kept) * variable)


class AdamW(WarmingAverage, keras.optimizers.AdamW):
    """AdamW, its average of the weights warming up."""
