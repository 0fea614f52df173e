"""Questions from two folders: classes shown in one (catalogue pictures) and asked about in the other (photos)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exemplar_encoder import Encoder
from exemplar_trainer.data.files import is_image
from exemplar_trainer.data.reading import OnCount, uncounted
from exemplar_trainer.data.wording import abridged
from exemplar_trainer.evaluation.image_reader import ImageReader
from exemplar_trainer.evaluation.tasks import EvaluationError, Questions, Task


def folder_pairs(
    exemplars: Path,
    queries: Path,
    encoder: Encoder,
    way: int,
    count: int,
    seed: int,
    max_unreadable: int = 20,
    on_count: OnCount = uncounted,
) -> Questions:
    """Ask about classes named alike in both folders: `CLASS.png` or `CLASS/IMAGE` in each.

    Args:
        exemplars: the folder to enroll from; of each class as many readable images as every class has.
        queries: the folder to ask about; its classes must be among the exemplars'.
        encoder: reads the images.
        way: classes a task; 0 for one task with all of them.
        count: tasks to draw, where `way` is not 0.
        seed: of that draw.
        max_unreadable: how many unreadable images may be left out; one more is an error.
        on_count: told of classes read and classes in all.

    Raises:
        EvaluationError: an empty folder, a query's class without an exemplar, too few classes, too many unreadable
            images, or a class of which none can be read in one of the folders.
    """
    shown, asked = _by_class(exemplars), _by_class(queries)
    strangers = sorted(set(asked) - set(shown))
    if strangers:
        raise EvaluationError(f"{queries}: no exemplar in {exemplars} for {abridged(strangers)}")
    if way > len(asked):
        raise EvaluationError(f"{queries} has {len(asked)} classes; {way}-way tasks need {way}")
    names = sorted(asked if way else shown)
    reader = ImageReader(Path(), encoder, max_unreadable)
    enrolled: dict[str, list[int]] = {}
    located: dict[str, list[int]] = {}
    for done, name in enumerate(names):
        enrolled[name] = reader.positions(shown[name], name)
        located[name] = reader.positions(asked.get(name, []), name)
        on_count(done + 1, len(names))
    shots = min(map(len, enrolled.values()))
    tasks = []
    rng = np.random.default_rng([seed, way])
    for _ in range(count if way else 1):
        chosen = [names[index] for index in rng.choice(len(names), way, replace=False)] if way else names
        own = [[rng.choice(located[name])] if way else located[name] for name in chosen]
        truth = np.repeat(np.arange(len(chosen)), [len(each) for each in own])
        table = np.array([enrolled[name][:shots] for name in chosen])
        tasks.append(Task(table, np.concatenate(own).astype(np.int64), truth))
    return reader.questions(f"pairs, {way or len(names)}-way {shots}-shot", tasks)


def _by_class(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if is_image(path.relative_to(folder).as_posix()) and path.is_file():
            own = path.with_suffix("") if path.parent == folder else path.parent
            found.setdefault(own.relative_to(folder).as_posix(), []).append(path)
    if not found:
        raise EvaluationError(f"{folder} holds no images; expected CLASS.png or CLASS/IMAGE")
    return found
