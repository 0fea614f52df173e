"""Weights rounded to float16, once, before anything is exported.

Each form of the network then holds the same numbers, in half the bytes, and computes with them in float32.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

_LARGEST = float(np.finfo(np.float16).max)


def round_to_half(network: keras.Model) -> None:
    """Round weights to the nearest float16, in place; an array with a number too large for that stays as it is."""
    for variable in network.variables:
        values = keras.ops.convert_to_numpy(variable.value)
        if np.issubdtype(values.dtype, np.floating) and np.abs(values).max(initial=0.0) <= _LARGEST:
            variable.assign(values.astype(np.float16).astype(values.dtype))


def fits_half(values: npt.NDArray[Any]) -> bool:
    """Return whether an array is float32 and loses nothing as float16."""
    if values.dtype != np.float32 or np.abs(values).max(initial=0.0) > _LARGEST:
        return False
    return bool((values.astype(np.float16).astype(np.float32) == values).all())
