"""A fingerprint changes with what a run depends on: names, sides of the split and numbers of images; nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from exemplar_encoder import Preprocessing
from exemplar_trainer.data.reading import read_data_set
from exemplar_trainer.data.split import split
from tests.trainer.synthetic_sets import synthetic_set

SPEC = Preprocessing(8, 8, 1)


def of_folder(root: Path, *hold_out: str) -> str:
    return split(read_data_set(root, SPEC), hold_out).fingerprint()


@pytest.fixture
def tree(drawn_alphabets: Path, tmp_path: Path) -> Path:
    """Return a copy to change."""
    return shutil.copytree(drawn_alphabets, tmp_path / "tree")


def test_it_is_the_same_wherever_the_tree_lies_and_in_a_zip_too(
    tree: Path, drawn_alphabets: Path, tmp_path: Path
) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tree.parent, tree.name))
    assert of_folder(tree) == of_folder(drawn_alphabets) == of_folder(packed)


def test_a_class_of_another_name_changes_it(tree: Path) -> None:
    before = of_folder(tree)
    renamed = min((tree / "Alphabet03").iterdir())
    renamed.rename(renamed.with_name("another"))
    assert of_folder(tree) != before


def test_one_image_less_changes_it(tree: Path) -> None:
    before = of_folder(tree)
    next((tree / "Alphabet03").rglob("*.png")).unlink()
    assert of_folder(tree) != before


def test_holding_out_something_else_changes_it(tree: Path) -> None:
    assert of_folder(tree, "Alphabet01") != of_folder(tree, "Alphabet02")
    assert of_folder(tree, "Alphabet01") == of_folder(tree, "Alphabet01")


def test_a_name_that_is_no_unicode_has_a_fingerprint_too() -> None:
    images = synthetic_set({"a\udcff": 6, "b": 6})
    assert len(split(images, ["b"]).fingerprint()) == 64
