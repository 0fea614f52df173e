"""N-way K-shot episodes: the field's unit of accuracy, drawn by seed.

An episode takes N classes and, where sources recur across classes (drawers, designs), gives every class its
exemplars from one source and its query from another; where they share too few, the query is by another source than
its own exemplars as far as the class has such images. Each query is decided on its own; nothing is assigned across
an episode. Episodes within groups: Lake, Salakhutdinov & Tenenbaum, Science 2015.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Ints
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.wording import abridged
from exemplar_trainer.evaluation.tasks import Task


@dataclass(frozen=True)
class Protocol:
    """The make of an episode: classes, exemplars a class, and whether its classes share a group."""

    way: int
    shot: int = 1
    within_group: bool = False

    @property
    def name(self) -> str:
        """Its name in tables."""
        return f"{'within-group' if self.within_group else 'unstructured'} {self.way}-way {self.shot}-shot"


class EpisodeError(ValueError):
    """The set cannot supply such episodes."""


def draw_episodes(images: ImageSet, protocol: Protocol, count: int, seed: int) -> list[Task]:
    """Draw episodes: the same ones for the same files and seed, whatever the network.

    Returns:
        Tasks with one query of each class, in the order of the classes.

    Raises:
        EpisodeError: no group (or not the whole set) has so many classes, or a class of those has too few images.
    """
    rng = np.random.default_rng([seed, protocol.way, protocol.shot, protocol.within_group])
    pools = [np.arange(len(images.class_names))]
    if protocol.within_group:
        pools = [classes for group, classes in images.classes_by_group.items() if group]
    largest = max((len(pool) for pool in pools), default=0)
    if largest < protocol.way:
        wanted = f"a group of {protocol.way} classes" if protocol.within_group else f"{protocol.way} classes"
        here = f"the largest has {largest}" if protocol.within_group else f"here are {largest}"
        raise EpisodeError(f"{protocol.name} episodes need {wanted}; {here}")
    pools = [pool for pool in pools if len(pool) >= protocol.way]
    short = [label for label in np.concatenate(pools) if len(images.members[label]) <= protocol.shot]
    if short:
        names = abridged([images.class_names[label] for label in sorted(short)])
        raise EpisodeError(
            f"{protocol.name} episodes need {protocol.shot + 1} images of each class, one of them to ask; "
            f"too few are of {names}"
        )
    drawer = _Drawer(images)
    tasks = []
    for _ in range(count):
        classes = rng.choice(pools[rng.integers(len(pools))], protocol.way, False)
        positions = drawer.draw(rng, classes, protocol.shot)
        group = images.groups[int(classes[0])] if protocol.within_group else ""
        tasks.append(Task(positions[:, :-1], positions[:, -1], np.arange(protocol.way), group))
    return tasks


class _Drawer:
    """Draws images of classes by their sources."""

    def __init__(self, images: ImageSet) -> None:
        self._images = images
        self._by_source = images.sources_of
        # Sources cross classes only when every class has one image from each of several shared sources.
        counts = Counter(source for sources in self._by_source for source in sources)
        self._recurring = {source for source, count in counts.items() if count > 1}

    def draw(self, rng: np.random.Generator, classes: Ints, shot: int) -> Ints:
        """Draw exemplars and at last a query of each class: positions `[way, shot + 1]`."""
        shared = set(self._recurring).intersection(*(self._by_source[label] for label in classes))
        if len(shared) > shot:
            drawn = rng.choice(sorted(shared), shot + 1, replace=False)
            return np.array([[self._by_source[label][source] for source in drawn] for label in classes])
        return np.array([self._any_images(rng, label, shot) for label in classes])

    def _any_images(self, rng: np.random.Generator, label: int, shot: int) -> Ints:
        """Draw exemplars and at last a query, which is by another source than they, where the class has such."""
        members = self._images.members[label]
        drawn = rng.choice(members, shot + 1, replace=False)
        source = {int(image): self._images.sources[image] for image in members}
        if source[int(drawn[shot])] not in {source[int(image)] for image in drawn[:shot]}:
            return drawn
        count = Counter(source.values())
        queries = [image for image in members if len(members) - count[source[int(image)]] >= shot]
        if not queries:
            return drawn
        query = rng.choice(queries)
        others = [image for image in members if source[int(image)] != source[int(query)]]
        return np.append(rng.choice(others, shot, replace=False), query)
