"""The protocols: episodes from a tree, the published runs, pairs of two folders, and open sets from a tree.

Each reads its images as an encoder reads them and poses the same tasks to every bundle, by seed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from exemplar_encoder import Encoder, ImageError, Preprocessing
from exemplar_encoder.arrays import Pixels
from exemplar_trainer.data.files import is_image
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.reading import read_images
from exemplar_trainer.data.wording import some
from exemplar_trainer.evaluation.episodes import EpisodeError, Protocol, draw_episodes
from exemplar_trainer.evaluation.tasks import NOBODY, EvaluationError, Questions, Task

LABELS = "class_labels.txt"

USUAL_SHOTS = (1, 2, 5)

Progress = Callable[[int, int], None]


def read_tree(
    root: Path,
    spec: Preprocessing,
    only: Sequence[str],
    progress: Progress = lambda done, total: None,
    max_unreadable: int = 20,
) -> ImageSet:
    """The images of a tree, of these groups or classes alone where any are named.

    Raises:
        DatasetError: as `read_images`.
        EvaluationError: a name is neither.
    """
    images = read_images(root, spec, max_unreadable, progress)
    if not only:
        return images
    wanted = set(only)
    missing = sorted(wanted.difference(images.groups, images.class_names))
    if missing:
        raise EvaluationError(f"{root} has no group {some(missing)}; it has {some(sorted(set(images.groups)))}")
    named = enumerate(zip(images.class_names, images.groups, strict=True))
    kept = images.only([label for label, names in named if wanted.intersection(names)])
    return replace(kept, skipped=images.skipped)


def episodes(images: ImageSet, protocol: Protocol, count: int, seed: int) -> Questions:
    """N-way K-shot episodes; see `draw_episodes`.

    Raises:
        EpisodeError: the images cannot supply such episodes.
    """
    tasks = []
    for episode in draw_episodes(images, protocol, count, seed):
        label = int(images.labels[episode.queries[0]])
        group = images.groups[label] if protocol.within_group else ""
        tasks.append(Task(episode.exemplars, episode.queries, np.arange(protocol.way), group))
    return _of_tree(images, protocol.name, tasks)


def usual_shots(images: ImageSet) -> tuple[list[int], tuple[str, ...]]:
    """The shots to ask for where none are named: those of `USUAL_SHOTS` for which every class has the images.

    Returns:
        The shots, 1 at least, and a note on those that were left out.
    """
    counts = [len(members) for members in images.members]
    shots = [shot for shot in USUAL_SHOTS if shot < min(counts)] or [1]
    left_out = [f"{shot}-shot" for shot in USUAL_SHOTS if shot not in shots]
    if not left_out:
        return shots, ()
    name = images.class_names[counts.index(min(counts))]
    return shots, (f"Left out: {' and '.join(left_out)}. Class {name} has {min(counts)} images, one of them to ask.",)


def open_set(images: ImageSet, protocol: Protocol, count: int, seed: int) -> Questions:
    """Tasks in which half of the queries are of classes that are not enrolled.

    An episode of twice as many classes is drawn, and the first half is enrolled. The way is lowered to half of the
    largest group (or of the set); smaller groups supply no tasks.

    Raises:
        EpisodeError: no group, or not the whole set, has four classes.
    """
    sizes = [len(images.class_names)]
    if protocol.within_group:
        sizes = [len(classes) for group, classes in images.classes_by_group.items() if group] or [0]
    if max(sizes) < 4:
        where = "a group of 4 classes" if protocol.within_group else "4 classes"
        raise EpisodeError(f"an open set needs {where}, two to enroll and two strangers; here are {max(sizes)}")
    way = min(protocol.way, max(sizes) // 2)
    doubled = replace(protocol, way=2 * way)
    tasks = []
    for episode in draw_episodes(images, doubled, count, seed):
        group = images.groups[int(images.labels[episode.queries[0]])] if protocol.within_group else ""
        truth = np.where(np.arange(2 * way) < way, np.arange(2 * way), NOBODY)
        tasks.append(Task(episode.exemplars[:way], episode.queries, truth, group))
    return _of_tree(images, f"open set, {replace(protocol, way=way).name}", tasks)


def runs(root: Path, encoder: Encoder, progress: Progress) -> Questions:
    """The published layout: `runNN/class_labels.txt` with "test-path training-path" a line, relative to `root`.

    Lake, Salakhutdinov & Tenenbaum, Science 2015: in each run a query for each training image, all by one drawer, the
    training images by another.

    Raises:
        EvaluationError: no runs, a malformed line, or an image that is missing or unreadable.
    """
    folders = sorted(path.parent for path in root.glob(f"*/{LABELS}"))
    if not folders:
        raise EvaluationError(f"{root} holds no runs; expected {root / 'run01' / LABELS}")
    reader = _Reader(root, encoder)
    tasks = []
    for done, folder in enumerate(folders):
        pairs = _labels(root, folder / LABELS)
        training = sorted({name for _, name in pairs})
        exemplars = np.array([[reader.position(name, name)] for name in training], dtype=np.int64)
        queries = np.array([reader.position(name, own) for name, own in pairs], dtype=np.int64)
        truth = np.array([training.index(name) for _, name in pairs], dtype=np.int64)
        tasks.append(Task(exemplars, queries, truth, folder.name))
        progress(done + 1, len(folders))
    return reader.questions(f"{len(folders)} runs", tasks)


def pairs(
    exemplars: Path,
    queries: Path,
    encoder: Encoder,
    way: int,
    count: int,
    seed: int,
    progress: Progress = lambda done, total: None,
    max_unreadable: int = 20,
) -> Questions:
    """Classes shown in one folder and asked about in another: `<class>.png` or `<class>/<image>` in each.

    Args:
        exemplars: the folder to enroll from; of each class as many readable images as every class has.
        queries: the folder to ask about; its classes must be among the exemplars'.
        encoder: reads the images.
        way: classes a task; 0 for one task with all of them.
        count: tasks to draw, where `way` is not 0.
        seed: of that draw.
        progress: called with classes read and classes in all.
        max_unreadable: so many images may be left out; one more is an error.

    Raises:
        EvaluationError: an empty folder, a query's class without an exemplar, too few classes, too many unreadable
            images, or a class of which none can be read in one of the folders.
    """
    shown, asked = _by_class(exemplars), _by_class(queries)
    strangers = sorted(set(asked) - set(shown))
    if strangers:
        raise EvaluationError(f"{queries}: no exemplar in {exemplars} for {some(strangers)}")
    if way > len(asked):
        raise EvaluationError(f"{queries} has {len(asked)} classes; {way}-way tasks need {way}")
    names = sorted(asked if way else shown)
    reader = _Reader(Path(), encoder, max_unreadable)
    enrolled: dict[str, list[int]] = {}
    located: dict[str, list[int]] = {}
    for done, name in enumerate(names):
        enrolled[name] = reader.positions(shown[name], name)
        located[name] = reader.positions(asked.get(name, []), name)
        progress(done + 1, len(names))
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


def _of_tree(images: ImageSet, title: str, tasks: Sequence[Task]) -> Questions:
    classes = tuple(images.class_names[label] for label in images.labels)
    groups = tuple(images.groups[label] for label in images.labels)
    notes = _left_out(images.skipped)
    known = [
        images.sources[query] in {images.sources[image] for image in task.exemplars[own]}
        for task in tasks
        for query, own in zip(task.queries, task.truth, strict=True)
        if own != NOBODY
    ]
    if any(known):
        told = "are by the same source as an exemplar of their class, as file names tell it"
        notes.append(f"{title}: {sum(known):,} of {len(known):,} queries {told}.")
    return Questions(title, images.pixels, images.paths, classes, tuple(tasks), groups, tuple(notes), sum(known))


def _left_out(skipped: Sequence[str]) -> list[str]:
    return [f"Left out as unreadable: {len(skipped)}, such as {skipped[0]}"] if skipped else []


class _Reader:
    """Reads each image once and gives it a position."""

    def __init__(self, root: Path, encoder: Encoder, max_unreadable: int = 0) -> None:
        self._root, self._encoder, self._max_unreadable = root, encoder, max_unreadable
        self._skipped: list[str] = []
        self._positions: dict[str, int] = {}
        self._pixels: list[Pixels] = []
        self._classes: list[str] = []

    def position(self, name: str, class_name: str) -> int:
        if name not in self._positions:
            try:
                prepared = self._encoder.prepare((self._root / name).read_bytes())
            except (OSError, ImageError) as error:
                raise EvaluationError(f"{self._root / name} cannot be read: {error}") from error
            self._positions[name] = len(self._pixels)
            self._pixels.append(prepared.pixels)
            self._classes.append(class_name)
        return self._positions[name]

    def positions(self, paths: Sequence[Path], class_name: str) -> list[int]:
        """Those of a class's images that can be read; the others are counted."""
        found: list[int] = []
        for path in paths:
            try:
                found.append(self.position(str(path), class_name))
            except EvaluationError as error:
                self._skipped.append(str(error))
                if len(self._skipped) > self._max_unreadable:
                    limit = f"more than {self._max_unreadable} images cannot be read"
                    raise EvaluationError(f"{limit}: {some(self._skipped)}") from error
        if paths and not found:
            raise EvaluationError(
                f"no image of class {class_name} can be read in {paths[0].parent}: {self._skipped[-1]}"
            )
        return found

    def questions(self, title: str, tasks: Sequence[Task]) -> Questions:
        classes, notes = tuple(self._classes), tuple(_left_out(self._skipped))
        return Questions(title, np.stack(self._pixels), tuple(self._positions), classes, tuple(tasks), notes=notes)


def _labels(root: Path, path: Path) -> list[tuple[str, str]]:
    """The lines of a run. Paths with spaces are told apart where one split alone names two files below `root`."""
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


def _by_class(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if is_image(path.relative_to(folder).as_posix()) and path.is_file():
            own = path.with_suffix("") if path.parent == folder else path.parent
            found.setdefault(own.relative_to(folder).as_posix(), []).append(path)
    if not found:
        raise EvaluationError(f"{folder} holds no images; expected <class>.png or <class>/<image>")
    return found
