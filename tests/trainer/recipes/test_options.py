"""The recipes that the options of `exemplar train` describe."""

from __future__ import annotations

from pathlib import Path

import pytest

from exemplar_trainer.networks import BACKBONES
from exemplar_trainer.recipes.options import OptionError, Options, parse_size, recipe_from
from exemplar_trainer.recipes.shipped import RECIPES


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (Options(), "default"),
        (Options(color=True), "color"),
        (Options(backbone="mobilenetv3-small"), "photo"),
        (Options(color=True, backbone="mobilenetv3-small"), "photo"),
        (Options(recipe="seed", color=True), "seed"),
    ],
)
def test_the_kind_of_pictures_names_the_recipe_unless_it_is_named(options: Options, name: str) -> None:
    assert recipe_from(options).name == name


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_without_options_is_that_recipe(name: str) -> None:
    assert recipe_from(Options(recipe=name)) == RECIPES[name]


def test_each_option_changes_what_it_names() -> None:
    changed = recipe_from(Options(loss="triplet", steps=7, size="40", framing="whole", learning_rate=0.5, seed=0))
    assert (changed.loss, changed.steps, changed.learning_rate, changed.seed) == ("triplet", 7, 0.5, 0)
    assert (changed.preprocessing.width, changed.preprocessing.height) == (40, 40)
    assert changed.preprocessing.framing == "whole"
    assert changed.orientations == RECIPES["default"].orientations


def test_a_wide_input_has_no_quarter_turns() -> None:
    changed = recipe_from(Options(size="96x64"))
    assert changed.preprocessing.shape == (64, 96, 1)
    assert changed.orientations == 1


def test_color_pictures_are_taken_whole_with_three_channels() -> None:
    changed = recipe_from(Options(color=True))
    assert changed.preprocessing.channels == 3
    assert changed.preprocessing.framing == "whole"


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_takes_color_and_begins_with_published_weights(name: str) -> None:
    changed = recipe_from(Options(backbone=name))
    assert changed.network == name
    assert changed.weights == "imagenet"
    assert changed.preprocessing.channels == 3
    assert recipe_from(Options(backbone=name, weights="none")).weights == ""
    chosen = recipe_from(Options(recipe="color", backbone=name, weights="here.weights.h5", frozen=True))
    assert chosen.frozen
    assert chosen.weights == str(Path.cwd() / "here.weights.h5")  # a run may be resumed from another folder
    assert recipe_from(Options(recipe="color", backbone=name)).weights == "imagenet"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(recipe="best"), "there is no recipe 'best'; there are default, color, photo, seed"),
        (Options(loss="best"), "there is no loss 'best'; there are nca,"),
        (Options(framing="half"), "there is no framing 'half'; there are ink, whole"),
        (Options(precision="int8"), "there is no precision 'int8'; there are float32, mixed_bfloat16"),
        (Options(backbone="vgg"), "there is no backbone 'vgg'; there are mobilenetv3-small,"),
        (Options(weights="imagenet"), "--weights and --frozen need a backbone"),
        (Options(frozen=True), "--weights and --frozen need a backbone"),
        (Options(backbone="mobilenetv3-small", weights="none", frozen=True), "--frozen leaves a backbone as it came"),
        (Options(size="big"), "a side or WIDTHxHEIGHT in pixels, such as 64 or 96x64, not 'big'"),
        (Options(size="64x"), "not '64x'"),
        (Options(size="4x4"), "--size: an input of 4 x 4 pixels is too small"),
        (Options(learning_rate=0.0), "--learning-rate must be more than 0, not 0"),
    ],
)
def test_an_option_that_names_nothing_is_answered_with_those_that_do(options: Options, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        recipe_from(options)


def test_a_size_is_read_as_width_and_height() -> None:
    assert parse_size("64") == (64, 64)
    assert parse_size("96x48") == (96, 48)
    with pytest.raises(OptionError):
        parse_size("-64")
