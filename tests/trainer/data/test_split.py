"""Held out are classes, whole groups where there are any, and always the same ones."""

from __future__ import annotations

import pytest

from exemplar_trainer.data.image_set import DatasetError, ImageSet
from exemplar_trainer.data.split import split
from tests.trainer.synthetic_sets import synthetic_set

GROUPED = synthetic_set({f"G{index:02d}": 5 for index in range(12)})
FLAT = synthetic_set({"": 23})


@pytest.mark.parametrize("images", [GROUPED, FLAT])
def test_no_class_and_no_image_is_on_both_sides(images: ImageSet) -> None:
    parts = split(images)
    training, held_out = parts.training, parts.held_out
    assert not set(training.class_names) & set(held_out.class_names)
    assert set(training.class_names) | set(held_out.class_names) == set(images.class_names)
    assert sorted(training.paths + held_out.paths) == sorted(images.paths)


def test_every_fifth_group_is_held_out_whole() -> None:
    parts = split(GROUPED)
    assert parts.held_out_names == ("G00", "G05", "G10")
    assert set(parts.held_out.groups) == {"G00", "G05", "G10"}
    assert not set(parts.training.groups) & set(parts.held_out.groups)


def test_without_groups_every_fifth_class_is_held_out() -> None:
    parts = split(FLAT)
    assert parts.held_out.class_names == parts.held_out_names == ("c000", "c005", "c010", "c015", "c020")


def test_named_groups_are_held_out_instead() -> None:
    parts = split(GROUPED, ("G03", "G01"))
    assert set(parts.held_out.groups) == {"G01", "G03"}
    assert parts.held_out_names == ("G03", "G01")


def test_classes_can_be_named_where_there_are_no_groups() -> None:
    names = ("c001", "c002", "c003", "c004")
    assert split(FLAT, names).held_out.class_names == names


def test_a_name_that_is_no_group_is_refused_naming_what_there_is() -> None:
    with pytest.raises(DatasetError, match=r"cannot hold out Klingon: the set has G00, G01.* and 7 more$"):
        split(GROUPED, ("G01", "Klingon"))


@pytest.mark.parametrize("count", range(6, 20))
def test_a_small_set_without_groups_still_has_enough_classes_to_measure_on(count: int) -> None:
    parts = split(synthetic_set({"": count}))
    assert len(parts.held_out.class_names) >= 4
    assert len(parts.training.class_names) >= 2


@pytest.mark.parametrize("groups", [{"A": 3, "B": 3}, {"A": 1, "B": 1, "C": 1, "D": 1, "E": 1, "F": 3}])
def test_small_groups_are_held_out_until_there_is_enough_to_measure_on(groups: dict[str, int]) -> None:
    images = synthetic_set({**groups, "Z": 2})
    parts = split(images)
    assert len(parts.held_out.class_names) >= 4
    assert not set(parts.training.groups) & set(parts.held_out.groups)


@pytest.mark.parametrize(
    ("groups", "hold_out"),
    [
        ({"": 5}, ()),
        ({"": 4}, ()),
        ({"A": 4, "B": 1}, ()),
        ({"A": 9, "B": 9}, ("A", "B")),
        ({"A": 3, "B": 9}, ("A",)),
    ],
)
def test_too_little_on_one_side_is_refused_with_both_numbers(
    groups: dict[str, int], hold_out: tuple[str, ...]
) -> None:
    with pytest.raises(DatasetError, match=r"leaves \d+ classes to train on and \d+ to measure on; .* 2 and 4"):
        split(synthetic_set(groups), hold_out)
