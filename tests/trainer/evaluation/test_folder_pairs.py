"""Pairs of two folders as people have them: with leftovers of archives, and images that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from exemplar_trainer.evaluation.folder_pairs import folder_pairs
from exemplar_trainer.evaluation.tasks import EvaluationError, Questions
from tests.trainer.evaluation.files import READER, plant


def ask_pairs(folder: Path, max_unreadable: int = 20) -> Questions:
    return folder_pairs(folder / "shown", folder / "asked", READER, 0, 1, 0, max_unreadable=max_unreadable)


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
