"""The recipes that ship name networks and losses that exist, and inputs that those take."""

from __future__ import annotations

import dataclasses

import pytest
from PIL import Image

from exemplar_encoder import Preprocessing
from exemplar_trainer.losses import LOSSES
from exemplar_trainer.networks import NETWORKS
from exemplar_trainer.recipes.shipped import RECIPES


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


@pytest.mark.parametrize("background", [(255, 255, 255), (250, 128, 10), (1, 2, 3), (0, 255, 127)])
def test_the_gray_of_a_background_is_the_gray_that_preprocessing_fills_with(background: tuple[int, int, int]) -> None:
    recipe = dataclasses.replace(RECIPES["default"], preprocessing=Preprocessing(32, 32, 1, background))
    assert recipe.background == (Image.new("RGB", (1, 1), background).convert("L").getpixel((0, 0)),)
