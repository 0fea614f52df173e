"""Questions from a tree of images, `.../GROUP/CLASS/IMAGE`: episodes and open sets, the same for every bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from exemplar_encoder import Preprocessing
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.reading import OnCount, read_images, uncounted
from exemplar_trainer.data.wording import abridged
from exemplar_trainer.evaluation.episodes import EpisodeError, Protocol, draw_episodes
from exemplar_trainer.evaluation.image_reader import unreadable_note
from exemplar_trainer.evaluation.tasks import NO_CLASS, EvaluationError, Questions, Task

USUAL_SHOTS = (1, 2, 5)


def read_tree(
    root: Path,
    spec: Preprocessing,
    only: Sequence[str],
    max_unreadable: int = 20,
    on_count: OnCount = uncounted,
) -> ImageSet:
    """Read the images of a tree, of these groups or classes alone where any are named.

    Raises:
        DatasetError: as `read_images`.
        EvaluationError: a name is neither.
    """
    images = read_images(root, spec, max_unreadable, on_count)
    if not only:
        return images
    wanted = set(only)
    missing = sorted(wanted.difference(images.groups, images.class_names))
    if missing:
        groups = abridged(sorted(set(images.groups)))
        raise EvaluationError(f"{root} has no group {abridged(missing)}; it has {groups}")
    named = enumerate(zip(images.class_names, images.groups, strict=True))
    kept = images.only([label for label, names in named if wanted.intersection(names)])
    return replace(kept, skipped=images.skipped)


def episode_questions(images: ImageSet, protocol: Protocol, count: int, seed: int) -> Questions:
    """Ask N-way K-shot episodes; see `draw_episodes`.

    Raises:
        EpisodeError: the images cannot supply such episodes.
    """
    return _questions(images, protocol.name, draw_episodes(images, protocol, count, seed))


def usual_shots(images: ImageSet) -> tuple[list[int], tuple[str, ...]]:
    """Return the shots to ask for where none are named: those of `USUAL_SHOTS` that every class has the images for.

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


def open_set_questions(images: ImageSet, protocol: Protocol, count: int, seed: int) -> Questions:
    """Ask tasks in which half of the queries are of classes that are not enrolled.

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
    truth = np.where(np.arange(2 * way) < way, np.arange(2 * way), NO_CLASS)
    episodes = draw_episodes(images, replace(protocol, way=2 * way), count, seed)
    tasks = [replace(episode, exemplars=episode.exemplars[:way], truth=truth) for episode in episodes]
    return _questions(images, f"open set, {replace(protocol, way=way).name}", tasks)


def _questions(images: ImageSet, title: str, tasks: Sequence[Task]) -> Questions:
    classes = tuple(images.class_names[label] for label in images.labels)
    groups = tuple(images.groups[label] for label in images.labels)
    notes = unreadable_note(images.skipped)
    known = [
        images.sources[query] in {images.sources[image] for image in task.exemplars[own]}
        for task in tasks
        for query, own in zip(task.queries, task.truth, strict=True)
        if own != NO_CLASS
    ]
    if any(known):
        told = "are by the same source as an exemplar of their class, as file names tell it"
        notes.append(f"{title}: {sum(known):,} of {len(known):,} queries {told}.")
    return Questions(title, images.pixels, images.paths, classes, tuple(tasks), groups, tuple(notes), sum(known))
