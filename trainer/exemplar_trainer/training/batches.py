"""The batches of a run, each a pure function of the recipe, its seed and the step's number.

So a run that was stopped goes on with the very batches, transforms and colors that it would have had.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from exemplar_encoder.arrays import Ints
from exemplar_trainer.augmentation.color import draw_colors
from exemplar_trainer.augmentation.geometry import draw_displacements, draw_transforms
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.losses import PAIR_LOSSES
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.samplers.batch import Sampler
from exemplar_trainer.samplers.classes import ClassSampler
from exemplar_trainer.samplers.pairs import PairSampler

Inputs = dict[str, npt.NDArray[Any]]

_AUGMENTATION_STREAM = 1


def make_sampler(recipe: Recipe, images: ImageSet) -> Sampler:
    """Return the sampler that the recipe's loss needs."""
    if recipe.loss in PAIR_LOSSES:
        pairs = recipe.classes_per_batch * recipe.images_per_class // 2
        return PairSampler(images, pairs, recipe.group_share, recipe.seed)
    return ClassSampler(
        images,
        recipe.classes_per_batch,
        recipe.images_per_class,
        recipe.group_share,
        recipe.orientations,
        recipe.seed,
    )


def make_batch(recipe: Recipe, images: ImageSet, sampler: Sampler, step: int) -> tuple[Inputs, Ints]:
    """Make inputs and labels of a step: a pure function of its arguments.

    Returns:
        `{"images": uint8 [n, h, w, c], "transforms": float32 [n, 6], "displacements": float32 [n, g, g, 2],
        "colors": float32 [n, c, c + 1]}` and labels int64 `[n]`.
    """
    batch = sampler.batch(step)
    rng = np.random.default_rng([recipe.seed, step, _AUGMENTATION_STREAM])
    size = (recipe.preprocessing.height, recipe.preprocessing.width)
    transforms = draw_transforms(rng, recipe.affine, batch.orientations, size)
    displacements = draw_displacements(rng, recipe.elastic, len(batch.images))
    colors = draw_colors(rng, recipe.colors, len(batch.images), recipe.background)
    inputs: Inputs = {
        "images": images.pixels[batch.images],
        "transforms": transforms,
        "displacements": displacements,
        "colors": colors,
    }
    return inputs, batch.labels


def prefetch(recipe: Recipe, images: ImageSet, sampler: Sampler, start: int) -> Iterator[tuple[Inputs, Ints]]:
    """Yield the batches from `start` on, each made while the step before it runs."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(make_batch, recipe, images, sampler, start)
        for step in range(start + 1, recipe.steps + 1):
            batch = coming.result()
            coming = pool.submit(make_batch, recipe, images, sampler, step)
            yield batch
