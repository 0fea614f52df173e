"""Questions in the published layout of within-alphabet runs: `runNN/class_labels.txt` beside the images.

In each run there is a query for each training image, all by one drawer, the training images by another: Lake,
Salakhutdinov & Tenenbaum, Science 2015.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from exemplar_encoder import Encoder
from exemplar_trainer.data.reading import OnCount, uncounted
from exemplar_trainer.evaluation.image_reader import ImageReader
from exemplar_trainer.evaluation.tasks import EvaluationError, Questions, Task

LABELS = "class_labels.txt"


def lake_runs(root: Path, encoder: Encoder, on_count: OnCount = uncounted) -> Questions:
    """Ask one task a run.

    Args:
        root: holds a folder for each run, with "test-path training-path" a line, relative to `root`.
        encoder: reads the images.
        on_count: told of runs read and runs in all.

    Raises:
        EvaluationError: no runs, a malformed line, or an image that is missing or unreadable.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{LABELS}"))
    if not folders:
        raise EvaluationError(f"{root} holds no runs; expected {root / 'run01' / LABELS}")
    reader = ImageReader(root, encoder)
    tasks = []
    for done, folder in enumerate(folders):
        pairs = _labels(root, folder / LABELS)
        training = sorted({name for _, name in pairs})
        exemplars = np.array([[reader.position(name, name)] for name in training], dtype=np.int64)
        queries = np.array([reader.position(name, own) for name, own in pairs], dtype=np.int64)
        truth = np.array([training.index(name) for _, name in pairs], dtype=np.int64)
        tasks.append(Task(exemplars, queries, truth, folder.name))
        on_count(done + 1, len(folders))
    return reader.questions(f"{len(folders)} runs", tasks)


def _labels(root: Path, path: Path) -> list[tuple[str, str]]:
    """Return the lines of a run. Paths with spaces are told apart where one split alone names two files."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        splits = [(line[: gap.start()], line[gap.end() :]) for gap in re.finditer(r"\s+", line)]
        if len(splits) > 1:
            splits = [split for split in splits if all((root / name).is_file() for name in split)]
        if len(splits) > 1:
            raise EvaluationError(f"{path}:{number}: {line!r} can be split in {len(splits)} ways into two files")
        if line and not splits:
            raise EvaluationError(f"{path}:{number}: expected 'test-path training-path', found {line!r}")
        found += splits
    if not found:
        raise EvaluationError(f"{path} is empty")
    return found
