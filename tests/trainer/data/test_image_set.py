"""The questions that a set of images answers."""

from __future__ import annotations

import dataclasses

import numpy as np

from exemplar_trainer.data.image_set import ImageSet
from tests.trainer.synthetic_sets import synthetic_set


def numbered() -> ImageSet:
    """Two groups of three classes of two images, each image of a shade of its own."""
    images = synthetic_set({"Greek": 3, "Latin": 3}, images_per_class=2)
    shades = np.arange(len(images.labels), dtype=np.uint8)[:, None, None, None]
    return dataclasses.replace(images, pixels=np.broadcast_to(shades, images.pixels.shape))


def test_images_are_found_by_class_and_source_and_classes_by_group() -> None:
    images = numbered()
    assert [members.tolist() for members in images.members] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
    assert images.sources_of[1] == {"000": 2, "001": 3}
    assert {group: classes.tolist() for group, classes in images.classes_by_group.items()} == {
        "Greek": [0, 1, 2],
        "Latin": [3, 4, 5],
    }


def test_a_part_of_a_set_keeps_what_belongs_to_its_classes() -> None:
    part = numbered().only([5, 1])
    assert part.class_names == ("Greek/c001", "Latin/c002")
    assert part.groups == ("Greek", "Latin")
    assert part.labels.tolist() == [0, 0, 1, 1]
    assert part.sources == ("000", "001") * 2
    assert part.pixels[:, 0, 0, 0].tolist() == [2, 3, 10, 11]
