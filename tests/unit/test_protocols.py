"""What a protocol needs of a tree, and says where it is missing; pairs and runs as people's folders have them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exemplar_encoder import Preprocessing
from exemplar_trainer.calibration_sizes import check_sizes
from exemplar_trainer.dataset import DatasetError
from exemplar_trainer.episodes import EpisodeError, Protocol
from exemplar_trainer.evaluation import protocols
from exemplar_trainer.evaluation.questions import EvaluationError

SPEC = Preprocessing(16, 16, 1)


def plant(root: Path, names: Iterable[str]) -> Path:
    for place, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(place)
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(root / name)
    return root


def tree(classes: int, images: int) -> list[str]:
    return [f"c{label}/{image}_s{image}.png" for label in range(classes) for image in range(images)]


def test_three_classes_are_enough_for_three_way_episodes(tmp_path: Path) -> None:
    images = protocols.read_tree(plant(tmp_path, tree(3, 2)), SPEC, ())
    questions = protocols.episodes(images, Protocol(3), 5, 0)
    assert {len(task.queries) for task in questions.tasks} == {3}


def test_what_a_protocol_needs_is_said_without_a_word_of_training(tmp_path: Path) -> None:
    one = protocols.read_tree(plant(tmp_path / "one", tree(1, 3)), SPEC, ())
    assert one.class_names == ("c0",)
    three = protocols.read_tree(plant(tmp_path / "three", tree(3, 2)), SPEC, ())
    short = protocols.read_tree(plant(tmp_path / "short", [*tree(5, 2), "lonely/1.png"]), SPEC, ())
    with pytest.raises(EpisodeError, match="unstructured 5-way 1-shot episodes need 5 classes; here are 3"):
        protocols.episodes(three, Protocol(5), 5, 0)
    with pytest.raises(EpisodeError, match="need 2 images of each class, one of them to ask; too few are of lonely"):
        protocols.episodes(short, Protocol(2), 5, 0)
    with pytest.raises(EpisodeError, match="an open set needs 4 classes, two to enrol and two strangers; here are 3"):
        protocols.open_set(three, Protocol(5), 5, 0)
    with pytest.raises(EpisodeError, match="an open set needs a group of 4 classes"):
        protocols.open_set(short, Protocol(5, within_group=True), 5, 0)
    with pytest.raises(EvaluationError, match="needs an exemplar and a query, but these have one image: lonely"):
        check_sizes(np.zeros((11, 2), np.float32), short, ["c0"], [2])


def test_images_that_cannot_be_read_are_left_out_up_to_a_number_and_noted(tmp_path: Path) -> None:
    plant(tmp_path, [f"{group}/{name}" for group in "ab" for name in tree(3, 3)])
    (tmp_path / "a" / "c0" / "0_s0.png").write_bytes(b"no image")
    images = protocols.read_tree(tmp_path, SPEC, ["b"], max_unreadable=1)
    (note,) = protocols.episodes(images, Protocol(2), 3, 0).notes
    assert note.startswith("Left out as unreadable: 1, such as a/c0/0_s0.png")
    with pytest.raises(DatasetError, match="more than 0 images cannot be read"):
        protocols.read_tree(tmp_path, SPEC, ["b"], max_unreadable=0)
