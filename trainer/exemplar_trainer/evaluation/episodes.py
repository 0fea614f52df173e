"""N-way one-shot episodes: the field's unit of accuracy, drawn by seed and decided by nearest exemplar.

An episode takes N classes and, where sources recur across classes (drawers, designs), gives every class its
exemplars from one source and its query from another; where they share too few, the query is by another source than
its own exemplars as far as the class has such images. Each query is decided on its own; nothing is assigned across
an episode. Protocol within groups: Lake, Salakhutdinov & Tenenbaum, Science 2015.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from exemplar_encoder.arrays import Floats, Ints
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.wording import some


@dataclass(frozen=True)
class Protocol:
    """What an episode is: classes, exemplars a class, and whether its classes share a group."""

    way: int
    shot: int = 1
    within_group: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        return f"{'within-group' if self.within_group else 'unstructured'} {self.way}-way {self.shot}-shot"


@dataclass(frozen=True)
class Episode:
    """Positions of images: exemplars `[way, shot]` and one query for each of the same classes, `[way]`."""

    exemplars: Ints
    queries: Ints


@dataclass(frozen=True)
class Accuracy:
    """A mean over episodes with its 95 % interval (normal approximation over episodes)."""

    protocol: Protocol
    value: float
    low: float
    high: float
    episodes: int


class EpisodeError(ValueError):
    """The set cannot supply such episodes."""


def draw_episodes(images: ImageSet, protocol: Protocol, count: int, seed: int) -> list[Episode]:
    """Draw episodes: the same ones for the same files and seed, whatever the network.

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
        names = some([images.class_names[label] for label in sorted(short)])
        raise EpisodeError(
            f"{protocol.name} episodes need {protocol.shot + 1} images of each class, one of them to ask; "
            f"too few are of {names}"
        )
    drawers = _Sources(images)
    return [
        drawers.episode(rng, rng.choice(pools[rng.integers(len(pools))], protocol.way, False), protocol.shot)
        for _ in range(count)
    ]


def decide(embeddings: Floats, episode: Episode) -> tuple[Ints, Floats]:
    """Name each query of an episode by its nearest class.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        episode: positions in it.

    Returns:
        The class chosen for each query, int64 `[way]` (right where it equals its own position), and the
        distances, float32 `[way, way]`, query by class. A class of several exemplars is their mean, renormalized.
    """
    distances = pairwise_distances(embeddings[episode.queries], class_embeddings(embeddings, episode.exemplars))
    return distances.argmin(axis=1), distances


def class_embeddings(embeddings: Floats, exemplars: Ints) -> Floats:
    """One embedding a class, float32 `[way, dimension]`: the mean of its exemplars `[way, shot]`, renormalized."""
    classes: Floats = embeddings[exemplars].mean(axis=1)
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    return classes


def pairwise_distances(a: Floats, b: Floats) -> Floats:
    """Euclidean distances float32 `[len(a), len(b)]` between unit vectors."""
    squared: Floats = np.maximum(2.0 - 2.0 * (a @ b.T), 0.0)
    return np.sqrt(squared)


def measure(embeddings: Floats, images: ImageSet, protocol: Protocol, count: int, seed: int) -> Accuracy:
    """Accuracy over `count` episodes of a set's embeddings, float32 `[images, dimension]`."""
    own = np.arange(protocol.way)
    shares = np.array(
        [(decide(embeddings, episode)[0] == own).mean() for episode in draw_episodes(images, protocol, count, seed)]
    )
    half = 1.96 * shares.std(ddof=1) / np.sqrt(count)
    mean = float(shares.mean())
    return Accuracy(protocol, mean, max(0.0, mean - half), min(1.0, mean + half), count)


class _Sources:
    """Who drew what: for each class, its image by each source that recurs across the set."""

    def __init__(self, images: ImageSet) -> None:
        self._images = images
        self._by_source = images.sources_of
        # Sources cross classes only when every class has one image from each of several shared sources.
        counts = Counter(source for sources in self._by_source for source in sources)
        self._recurring = {source for source, count in counts.items() if count > 1}

    def episode(self, rng: np.random.Generator, classes: Ints, shot: int) -> Episode:
        shared = set(self._recurring).intersection(*(self._by_source[label] for label in classes))
        if len(shared) > shot:
            drawn = rng.choice(sorted(shared), shot + 1, replace=False)
            positions = np.array([[self._by_source[label][source] for source in drawn] for label in classes])
        else:
            positions = np.array([self._any_images(rng, label, shot) for label in classes])
        return Episode(positions[:, :shot], positions[:, shot])

    def _any_images(self, rng: np.random.Generator, label: int, shot: int) -> Ints:
        """Exemplars and at last a query, which is by another source than they, where the class has such images."""
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
