"""What a protocol needs of a tree, and says where it is missing; pairs and runs as people's folders have them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from exemplar_trainer.calibration.by_size import check_sizes
from PIL import Image

from exemplar_encoder import Encoder, Preprocessing, preprocess
from exemplar_trainer.data.image_set import DatasetError
from exemplar_trainer.evaluation import protocols
from exemplar_trainer.evaluation.episodes import EpisodeError, Protocol
from exemplar_trainer.evaluation.tasks import EvaluationError, Questions

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
    with pytest.raises(
        EpisodeError, match="an open set needs 4 classes, two to enroll and two strangers; here are 3"
    ):
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


class _Reads:
    """An encoder as far as protocols use one."""

    def prepare(self, content: bytes) -> Any:
        return SimpleNamespace(pixels=preprocess(Image.open(io.BytesIO(content)).convert("L"), SPEC))


def ask_pairs(folder: Path, max_unreadable: int = 20) -> Questions:
    encoder = cast(Encoder, _Reads())
    return protocols.pairs(folder / "shown", folder / "asked", encoder, 0, 1, 0, max_unreadable=max_unreadable)


def test_leftovers_of_archives_and_hidden_files_are_no_pairs(tmp_path: Path) -> None:
    plant(tmp_path, ["shown/a.png", "shown/b.png", "asked/a/1.png", "asked/b/1.png"])
    for leftover in ("shown/._a.png", "shown/__MACOSX/c.png", "asked/a/._1.png", "asked/.cache/d.png"):
        (tmp_path / leftover).parent.mkdir(exist_ok=True)
        (tmp_path / leftover).write_bytes(b"no image")
    assert set(ask_pairs(tmp_path).classes) == {"a", "b"}


def test_a_pair_of_folders_does_without_a_few_images_that_cannot_be_read(tmp_path: Path) -> None:
    plant(
        tmp_path, [f"{folder}/{name}/{image}.png" for folder in ("shown", "asked") for name in "ab" for image in "12"]
    )
    for broken in ("shown/a/1.png", "asked/b/2.png"):
        (tmp_path / broken).write_bytes(b"no image")
    questions = ask_pairs(tmp_path, max_unreadable=2)
    (task,) = questions.tasks
    enrolled = [
        [Path(questions.names[image]).relative_to(tmp_path).as_posix() for image in row] for row in task.exemplars
    ]
    assert enrolled == [["shown/a/2.png"], ["shown/b/1.png"]]
    assert [questions.classes[image] for image in task.queries] == ["a", "a", "b"]
    assert task.truth.tolist() == [0, 0, 1]
    assert questions.notes[0].startswith(
        f"Left out as unreadable: 2, such as {tmp_path}/shown/a/1.png cannot be read"
    )
    with pytest.raises(EvaluationError, match="more than 1 images cannot be read"):
        ask_pairs(tmp_path, max_unreadable=1)
    (tmp_path / "shown/a/2.png").write_bytes(b"no image either")
    with pytest.raises(
        EvaluationError, match=r"no image of class a can be read in \S*/shown/a: .*2.png cannot be read"
    ):
        ask_pairs(tmp_path)


def ask_runs(folder: Path, line: str) -> Questions:
    (folder / "run 1" / "class_labels.txt").write_text(f"\n{line}\n")
    return protocols.runs(folder, cast(Encoder, _Reads()), lambda *_: None)


def test_paths_with_spaces_are_read_from_the_labels_where_only_one_split_names_two_files(tmp_path: Path) -> None:
    plant(tmp_path, ["run 1/test/item 1.png", "run 1/training/class  1.png"])
    questions = ask_runs(tmp_path, "run 1/test/item 1.png run 1/training/class  1.png")
    assert questions.names == ("run 1/training/class  1.png", "run 1/test/item 1.png")
    with pytest.raises(EvaluationError, match=r"class_labels.txt:2: expected 'test-path training-path', found"):
        ask_runs(tmp_path, "run 1/test/item 1.png run 1/training/absent 1.png")


def test_a_line_of_labels_that_can_be_split_in_two_ways_is_refused_by_its_number(tmp_path: Path) -> None:
    plant(tmp_path, ["run 1/a.png"])
    for name in ("x", "x y", "y z", "z"):
        (tmp_path / name).write_bytes((tmp_path / "run 1" / "a.png").read_bytes())
    with pytest.raises(EvaluationError, match=r"class_labels.txt:2: 'x y z' can be split in 2 ways"):
        ask_runs(tmp_path, "x y z")


def test_queries_by_the_source_of_an_exemplar_are_counted_and_noted(tmp_path: Path) -> None:
    one_hand = [f"c{label}/{image}_hand{label}.png" for label in range(2) for image in range(3)]
    own = [f"c{label}/{image}_{label}{image}.png" for label in range(2, 4) for image in range(3)]
    questions = protocols.episodes(
        protocols.read_tree(plant(tmp_path / "some", one_hand + own), SPEC, ()), Protocol(4), 5, 0
    )
    assert questions.same_source == 10
    assert "10 of 20 queries are by the same source as an exemplar" in questions.notes[0]
    shared = protocols.episodes(
        protocols.read_tree(plant(tmp_path / "shared", tree(4, 3)), SPEC, ()), Protocol(4), 5, 0
    )
    assert (shared.same_source, shared.notes) == (0, ())
