"""Questions from a tree of images, and the sentences about trees that are too small for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from exemplar_trainer.calibration.gallery_sizes import check_gallery_sizes
from exemplar_trainer.data.image_set import DatasetError
from exemplar_trainer.evaluation.episodes import EpisodeError, Protocol
from exemplar_trainer.evaluation.tasks import EvaluationError
from exemplar_trainer.evaluation.tree import episode_questions, open_set_questions, read_tree
from tests.trainer.evaluation.files import SPEC, plant


def tree(classes: int, images: int) -> list[str]:
    return [f"c{label}/{image}_s{image}.png" for label in range(classes) for image in range(images)]


def test_three_classes_are_enough_for_three_way_episodes(tmp_path: Path) -> None:
    images = read_tree(plant(tmp_path, tree(3, 2)), SPEC, ())
    questions = episode_questions(images, Protocol(3), 5, 0)
    assert {len(task.queries) for task in questions.tasks} == {3}


def test_missing_classes_and_images_are_named_without_a_word_of_training(tmp_path: Path) -> None:
    one = read_tree(plant(tmp_path / "one", tree(1, 3)), SPEC, ())
    assert one.class_names == ("c0",)
    three = read_tree(plant(tmp_path / "three", tree(3, 2)), SPEC, ())
    short = read_tree(plant(tmp_path / "short", [*tree(5, 2), "lonely/1.png"]), SPEC, ())
    with pytest.raises(EpisodeError, match="unstructured 5-way 1-shot episodes need 5 classes; here are 3"):
        episode_questions(three, Protocol(5), 5, 0)
    with pytest.raises(EpisodeError, match="need 2 images of each class, one of them to ask; too few are of lonely"):
        episode_questions(short, Protocol(2), 5, 0)
    with pytest.raises(
        EpisodeError, match="an open set needs 4 classes, two to enroll and two strangers; here are 3"
    ):
        open_set_questions(three, Protocol(5), 5, 0)
    with pytest.raises(EpisodeError, match="an open set needs a group of 4 classes"):
        open_set_questions(short, Protocol(5, within_group=True), 5, 0)
    with pytest.raises(EvaluationError, match="needs an exemplar and a query, but these have one image: lonely"):
        check_gallery_sizes(np.zeros((11, 2), np.float32), short, ["c0"], [2])


def test_images_that_cannot_be_read_are_left_out_up_to_a_number_and_noted(tmp_path: Path) -> None:
    plant(tmp_path, [f"{group}/{name}" for group in "ab" for name in tree(3, 3)])
    (tmp_path / "a" / "c0" / "0_s0.png").write_bytes(b"no image")
    images = read_tree(tmp_path, SPEC, ["b"], max_unreadable=1)
    (note,) = episode_questions(images, Protocol(2), 3, 0).notes
    assert note.startswith("Left out as unreadable: 1, such as a/c0/0_s0.png")
    with pytest.raises(DatasetError, match="more than 0 images cannot be read"):
        read_tree(tmp_path, SPEC, ["b"], max_unreadable=0)


def test_queries_by_the_source_of_an_exemplar_are_counted_and_noted(tmp_path: Path) -> None:
    one_hand = [f"c{label}/{image}_hand{label}.png" for label in range(2) for image in range(3)]
    own = [f"c{label}/{image}_{label}{image}.png" for label in range(2, 4) for image in range(3)]
    questions = episode_questions(read_tree(plant(tmp_path / "some", one_hand + own), SPEC, ()), Protocol(4), 5, 0)
    assert questions.same_source == 10
    assert "10 of 20 queries are by the same source as an exemplar" in questions.notes[0]
    shared = episode_questions(read_tree(plant(tmp_path / "shared", tree(4, 3)), SPEC, ()), Protocol(4), 5, 0)
    assert (shared.same_source, shared.notes) == (0, ())
