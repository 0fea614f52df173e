"""Small images first: what is learned from them is learned in less time, and carried over to the whole size.

The first half of the steps sees smaller images; then a network of the whole size takes over every weight. A kernel
that reads the last map place by place is spread over the places of the larger map, as position embeddings are when a
network is given another resolution. Tan & Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021;
Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from PIL import Image

from exemplar_encoder.arrays import Floats
from exemplar_trainer.augmentation.geometry import resizing
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.training.learner import MetricLearner, state

Grid = tuple[int, int]

EARLY_SHARE = 0.5


def early_steps(recipe: Recipe) -> int:
    """How many steps see smaller images; 0 without a schedule."""
    return int(recipe.steps * EARLY_SHARE) if recipe.early_size else 0


def input_size(recipe: Recipe, step: int) -> Grid:
    """The height and width of the network's input at a step."""
    spec = recipe.preprocessing
    share = recipe.early_size / max(spec.height, spec.width) if step < early_steps(recipe) else 1.0
    return max(1, round(share * spec.height)), max(1, round(share * spec.width))


def carry_over(before: MetricLearner, after: MetricLearner) -> None:
    """Give a learner everything that another one of the same recipe has learned at another input size.

    Args:
        before: its variables and its optimizer's are read.
        after: its own, in the same order, are set.
    """
    grids = places(before.base_network), places(after.base_network)
    pairs = list(zip(state(before), state(after), strict=True))
    averages = after.optimizer._model_variables_moving_average if after.optimizer.use_ema else ()
    weights = {id(variable) for variable in (*after.variables, *averages)}
    for old, new in pairs:
        value = keras.ops.convert_to_numpy(old.value)
        if old.shape != new.shape:
            value = spread(value, *grids)
            if (
                id(new) in weights
            ):  # so many times the places, each as much less of the sum; gradients stay as they are
                value = value * (old.shape[0] / new.shape[0])
        new.assign(value)


def places(network: keras.Model) -> Grid:
    """Height and width of the map whose places the embedding reads one by one; 1 x 1 where it reads their mean."""
    flat = [layer for layer in network.layers if isinstance(layer, keras.layers.Flatten)]
    return tuple(flat[-1].input.shape[1:3]) if flat else (1, 1)


def spread(kernel: Floats, before: Grid, after: Grid) -> Floats:
    """A kernel `[places * channels, dimension]` over another grid of places, bilinear between them."""
    by_place = kernel.reshape(*before, -1)
    down, across = (resizing(old, new, Image.Resampling.BILINEAR) for old, new in zip(before, after, strict=True))
    over: Any = np.einsum("yi,ijc,xj->yxc", down, by_place, across)
    return over.reshape(-1, kernel.shape[-1]).astype(np.float32)
