"""The labels of published runs, with spaces in paths and lines that could mean two things."""

from __future__ import annotations

from pathlib import Path

import pytest

from exemplar_trainer.evaluation.lake_runs import lake_runs
from exemplar_trainer.evaluation.tasks import EvaluationError, Questions
from tests.trainer.evaluation.files import READER, plant


def ask_runs(folder: Path, line: str) -> Questions:
    (folder / "run 1" / "class_labels.txt").write_text(f"\n{line}\n")
    return lake_runs(folder, READER)


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
