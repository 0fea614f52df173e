"""The options of `exemplar train` amount to a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from exemplar_trainer.networks import BACKBONES
from exemplar_trainer.recipes.options import OptionError, TrainOptions, recipe_from
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.recipes.size import parse_size


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (TrainOptions(), "default"),
        (TrainOptions(color=True), "color"),
        (TrainOptions(backbone="mobilenetv3-small"), "photo"),
        (TrainOptions(color=True, backbone="mobilenetv3-small"), "photo"),
        (TrainOptions(recipe="seed", color=True), "seed"),
    ],
)
def test_the_kind_of_pictures_names_the_recipe_unless_it_is_named(options: TrainOptions, name: str) -> None:
    assert recipe_from(options).name == name


@pytest.mark.parametrize("name", RECIPES)
def test_a_named_recipe_without_options_is_that_recipe(name: str) -> None:
    assert recipe_from(TrainOptions(recipe=name)) == RECIPES[name]


def test_each_option_changes_what_it_names() -> None:
    changed = recipe_from(
        TrainOptions(loss="triplet", steps=7, size="40", framing="whole", learning_rate=0.5, seed=0)
    )
    assert (changed.loss, changed.steps, changed.learning_rate, changed.seed) == ("triplet", 7, 0.5, 0)
    assert (changed.preprocessing.width, changed.preprocessing.height) == (40, 40)
    assert changed.preprocessing.framing == "whole"
    assert changed.orientations == RECIPES["default"].orientations


def test_a_wide_input_has_no_quarter_turns() -> None:
    changed = recipe_from(TrainOptions(size="96x64"))
    assert changed.preprocessing.shape == (64, 96, 1)
    assert changed.orientations == 1


def test_color_pictures_are_taken_whole_with_three_channels() -> None:
    changed = recipe_from(TrainOptions(color=True))
    assert changed.preprocessing.channels == 3
    assert changed.preprocessing.framing == "whole"


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_takes_color_and_begins_with_published_weights(name: str) -> None:
    changed = recipe_from(TrainOptions(backbone=name))
    assert changed.network == name
    assert changed.weights == "imagenet"
    assert changed.preprocessing.channels == 3
    assert recipe_from(TrainOptions(backbone=name, weights="none")).weights == ""
    chosen = recipe_from(TrainOptions(recipe="color", backbone=name, weights="here.weights.h5", frozen=True))
    assert chosen.frozen
    assert chosen.weights == str(Path.cwd() / "here.weights.h5")  # a run may be resumed from another folder
    assert recipe_from(TrainOptions(recipe="color", backbone=name)).weights == "imagenet"


def test_a_backbone_out_of_a_file_begins_with_its_own_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    changed = recipe_from(TrainOptions(backbone="own.keras"))
    assert changed.name == "photo"
    assert changed.network == changed.weights == str(tmp_path / "own.keras")
    assert recipe_from(TrainOptions(backbone="own.keras", weights="none")).weights == ""
    with pytest.raises(OptionError, match=r"own\.keras has its own weights"):
        recipe_from(TrainOptions(backbone="own.keras", weights="other.weights.h5"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (TrainOptions(recipe="best"), "there is no recipe 'best'; there are default, color, photo, seed"),
        (TrainOptions(loss="best"), "there is no loss 'best'; there are nca,"),
        (TrainOptions(framing="half"), "there is no framing 'half'; there are ink, whole"),
        (TrainOptions(precision="int8"), "there is no precision 'int8'; there are float32, mixed_bfloat16"),
        (TrainOptions(backbone="vgg"), "there is no backbone 'vgg'; there are mobilenetv3-small,"),
        (TrainOptions(weights="imagenet"), "--weights and --frozen need a backbone"),
        (TrainOptions(frozen=True), "--weights and --frozen need a backbone"),
        (
            TrainOptions(backbone="mobilenetv3-small", weights="none", frozen=True),
            "--frozen leaves a backbone as it came",
        ),
        (TrainOptions(size="big"), "a side or WIDTHxHEIGHT in pixels, such as 64 or 96x64, not 'big'"),
        (TrainOptions(size="64x"), "not '64x'"),
        (TrainOptions(size="4x4"), "--size: an input of 4 x 4 pixels is too small"),
        (TrainOptions(learning_rate=0.0), "--learning-rate must be more than 0, not 0"),
    ],
)
def test_an_option_that_names_nothing_is_answered_with_those_that_do(options: TrainOptions, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        recipe_from(options)


def test_a_size_is_read_as_width_and_height() -> None:
    assert parse_size("64") == (64, 64)
    assert parse_size("96x48") == (96, 48)
    with pytest.raises(ValueError, match="not '-64'"):
        parse_size("-64")
