"""Recipes are plain data that survive a run's folder."""

from __future__ import annotations

import dataclasses
import json

import pytest
from PIL import Image

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation.geometry import Affine, Elastic
from exemplar_trainer.losses import LOSSES
from exemplar_trainer.networks import NETWORKS
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.recipes.shipped import RECIPES

UNUSUAL = dataclasses.replace(
    RECIPES["default"],
    preprocessing=Preprocessing(40, 24, 3, (1, 2, 3), "bilinear"),
    affine=Affine(1.5, (0.5, 2.0), 0.1, 0.2),
    elastic=Elastic(0.03),
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


@pytest.mark.parametrize("change", [{"steps": "many"}, {"optimizer": "sgd"}, {"thickness": 0.5}])
def test_json_that_is_no_recipe_is_refused_with_the_field_at_fault(change: dict[str, object]) -> None:
    fields = {**json.loads(UNUSUAL.to_json()), **change}
    with pytest.raises(ValueError, match=next(iter(change))):
        Recipe.from_json(json.dumps(fields))


@pytest.mark.parametrize("background", [(255, 255, 255), (250, 128, 10), (1, 2, 3), (0, 255, 127)])
def test_the_gray_of_a_background_is_the_gray_that_preprocessing_fills_with(background: tuple[int, int, int]) -> None:
    recipe = dataclasses.replace(RECIPES["default"], preprocessing=Preprocessing(32, 32, 1, background))
    assert recipe.background == (Image.new("RGB", (1, 1), background).convert("L").getpixel((0, 0)),)
