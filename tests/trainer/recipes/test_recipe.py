"""Recipes are plain data that survive a run's folder."""

from __future__ import annotations

import dataclasses

import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation.geometry import Affine, Elastic
from exemplar_trainer.losses import LOSSES
from exemplar_trainer.networks import NETWORKS
from exemplar_trainer.recipes.recipe import RECIPES, Recipe

UNUSUAL = dataclasses.replace(
    RECIPES["default"],
    preprocessing=Preprocessing(40, 24, 3, (1, 2, 3), "bilinear"),
    affine=Affine(1.5, (0.5, 2.0), 0.1, 0.2),
    elastic=Elastic(0.03, 7),
    learning_rate=1e-7,
    seed=12345678901234567890,
)


@pytest.mark.parametrize("recipe", [*RECIPES.values(), UNUSUAL], ids=lambda recipe: recipe.name)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_things_that_exist(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe.loss in LOSSES
    network = NETWORKS[recipe.network](recipe.preprocessing.shape, recipe.dimension)
    assert network.output_shape == (None, recipe.dimension)


def test_the_seed_network_names_the_sizes_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="multiples of 20, not 32x40"):
        NETWORKS["seed"]((40, 32, 1), 16)
