"""A run's folder remembers all of the run, and tells a file of another kind from its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.augmentation.geometry import Affine, Elastic
from exemplar_trainer.recipes.recipe import Recipe
from exemplar_trainer.recipes.shipped import RECIPES
from exemplar_trainer.training.run_folder import FILE, Run, RunError, finished_bundle, refuse_taken

UNUSUAL = replace(
    RECIPES["default"],
    name="unusual",
    preprocessing=Preprocessing(40, 24, 3, (1, 2, 3), "bilinear"),
    affine=Affine(1.5, (0.5, 2.0), 0.1, 0.2),
    elastic=Elastic(0.03),
    learning_rate=1e-7,
    seed=12345678901234567890,
)

RUN = Run(
    name="stamps",
    recipe=RECIPES["color"],
    data="/data/stamps.zip",
    hold_out=("France", "Peru"),
    max_unreadable=3,
    hold_out_every=4,
    hold_out_classes=True,
    final_of="/runs/measured",
    teachers=("/runs/one/bundle", "/runs/two/bundle"),
    fingerprint="0123abcd",
)


def test_a_run_is_read_as_it_was_saved(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    RUN.save(folder)
    assert Run.load(folder) == RUN
    assert [path.name for path in folder.iterdir()] == [FILE]
    later = replace(RUN, data="/elsewhere")
    later.save(folder)
    assert Run.load(folder) == later


@pytest.mark.parametrize("recipe", [*RECIPES.values(), UNUSUAL], ids=lambda recipe: recipe.name)
def test_any_recipe_is_read_as_it_was_saved(tmp_path: Path, recipe: Recipe) -> None:
    replace(RUN, recipe=recipe).save(tmp_path)
    assert Run.load(tmp_path).recipe == recipe
    assert json.loads((tmp_path / FILE).read_text())["recipe"] == json.loads(json.dumps(recipe.fields()))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": None}, "name: "),
        ({"max_unreadable": "some"}, "max_unreadable: "),
        ({"start_from": "/runs/other"}, "start_from: "),
        ({"recipe": {"name": "color"}}, "recipe.network: "),
        ({"recipe": {**UNUSUAL.fields(), "steps": "many"}}, "recipe.steps: "),
        ({"recipe": {**UNUSUAL.fields(), "optimizer": "sgd"}}, "recipe.optimizer: "),
        ({"recipe": {**UNUSUAL.fields(), "thickness": 0.5}}, "recipe.thickness: "),
    ],
)
def test_a_file_that_no_run_writes_is_named_with_the_field_at_fault(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    RUN.save(tmp_path)
    fields = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps({**fields, **change}))
    with pytest.raises(RunError) as caught:
        Run.load(tmp_path)
    assert f"{tmp_path / FILE} is not what a run writes: {words}" in str(caught.value)


def test_a_folder_is_free_until_a_run_is_saved_in_it_and_finished_when_it_has_a_bundle(tmp_path: Path) -> None:
    refuse_taken(tmp_path)
    with pytest.raises(RunError, match=r"holds no run: run\.json is missing"):
        Run.load(tmp_path)
    RUN.save(tmp_path)
    with pytest.raises(RunError, match="already holds a run"):
        refuse_taken(tmp_path)
    assert finished_bundle(tmp_path) is None
