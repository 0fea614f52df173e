"""A fingerprint changes with what a run depends on: names, sides of the split and numbers of images; nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.data.fingerprint import Fingerprint
from exemplar_trainer.data.reading import read_data_set
from exemplar_trainer.data.split import split
from exemplar_trainer.losses import CLASS_LOSSES, LOSSES
from tests.trainer.synthetic_sets import synthetic_set

SPEC = Preprocessing(8, 8, 1)


def of_folder(root: Path, *hold_out: str) -> Fingerprint:
    return Fingerprint.of(split(read_data_set(root, SPEC), hold_out))


@pytest.fixture
def tree(drawn_alphabets: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(drawn_alphabets, tmp_path / "tree")


def test_it_is_the_same_wherever_the_tree_lies_and_in_a_zip_too(
    tree: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tree.parent, tree.name))
    assert of_folder(tree) == of_folder(drawn_alphabets) == of_folder(packed)


def test_a_class_of_another_name_changes_it(tree: Path) -> None:
    before = of_folder(tree)
    renamed = next(iter(sorted((tree / "Alphabet03").iterdir())))
    renamed.rename(renamed.with_name("another"))
    after = of_folder(tree)
    assert after.training_classes != before.training_classes
    assert after.images != before.images


def test_one_image_less_changes_it_but_not_that_of_the_classes(tree: Path) -> None:
    before = of_folder(tree)
    next((tree / "Alphabet03").rglob("*.png")).unlink()
    after = of_folder(tree)
    assert after.training_classes == before.training_classes
    assert after.images != before.images


def test_holding_out_something_else_changes_it(tree: Path) -> None:
    assert of_folder(tree, "Alphabet01") != of_folder(tree, "Alphabet02")
    assert of_folder(tree, "Alphabet01") == of_folder(tree, "Alphabet01")


@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_with_weights_for_each_class_are_known(loss: str) -> None:
    def shapes(classes: int) -> list[tuple[int, ...]]:
        layer = LOSSES[loss](classes, 1)
        layer.build((None, 4))
        return [tuple(weights.shape) for weights in layer.weights]

    assert (shapes(5) != shapes(6)) == (loss in CLASS_LOSSES)


def test_a_name_that_is_no_unicode_has_a_fingerprint_too() -> None:
    images = synthetic_set({"a\udcff": 6, "b": 6})
    assert len(Fingerprint.of(split(images, ["b"])).images) == 64
