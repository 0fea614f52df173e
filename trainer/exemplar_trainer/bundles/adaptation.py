"""Adapts a network that was trained elsewhere to the user's kind of pictures, and tells by how much that helps.

An adaptation takes the mean away from the network's features and evens out their spread within classes; a bundle's
graph takes it in. Fitted to few classes it can name those very classes almost perfectly and help with no other. So
no class judges an adaptation that it helped to fit: classes are split in halves, again and again, each half is
embedded by an adaptation fitted to the other, and what is said of the adapted network is measured on those
embeddings. The adaptation that is kept, if it helps, is fitted to all classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from exemplar_encoder.arrays import Floats, Floats64, Ints
from exemplar_trainer.data.image_set import DatasetError, ImageSet
from exemplar_trainer.data.wording import plural
from exemplar_trainer.evaluation.accuracy import answer, measure
from exemplar_trainer.evaluation.episodes import Protocol
from exemplar_trainer.evaluation.intervals import half_interval
from exemplar_trainer.evaluation.spaces import Space, draw_in
from exemplar_trainer.evaluation.tasks import Task
from exemplar_trainer.training.within_class import whitening

SPLITS = 5
"""How often classes are split in halves; a figure of one split depends on which classes met."""

LEAST_CLASSES = 8
"""Each half calibrates, which takes four."""

EPISODES = 400

_WAY = 20
_LEAST_GROUPS = 4  # two a half; of fewer, a half would be fitted to one kind of things and judge another


@dataclass(frozen=True)
class Adaptation:
    """An adaptation and how it did on classes that it was not fitted to.

    Attributes:
        matrix: float64 `[dimension, dimension]`, and
        offset: float64 `[dimension]`: features become `features @ matrix + offset`; fitted to all classes.
        spaces: the halves of each split, embedded by an adaptation fitted to the other half.
        figure: the name of the accuracy that decides.
        without: that accuracy of the network as it is, and
        adapted: of the adapted one, in the same episodes.
        gain: its mean over classes, and the ends of its 95 % interval, by Student's t over classes.
    """

    matrix: Floats64
    offset: Floats64
    spaces: tuple[Space, ...]
    figure: str
    without: float
    adapted: float
    gain: tuple[float, float, float]

    @property
    def helps(self) -> bool:
        """Whether it is sure to help: the whole interval of the gain lies above 0."""
        return self.gain[1] > 0

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        gain, low, high = (100 * end for end in self.gain)
        verdict = "Adapted" if self.helps else "Not adapted, since that does not surely help"
        return (
            f"{verdict}: on classes that the adaptation was not fitted to, {self.figure} is {self.adapted:.1%} with "
            f"it and {self.without:.1%} without ({gain:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f})."
        )

    def facts(self) -> dict[str, Any]:
        """Return the account of it for a manifest."""
        return {
            "kept": self.helps,
            "figure": self.figure,
            "with": self.adapted,
            "without": self.without,
            "gain": list(self.gain),
            "sentence": self.sentence,
        }


def require_enough(images: ImageSet) -> None:
    """Refuse sets that cannot be split into halves of which one judges.

    Raises:
        DatasetError: too few classes.
    """
    count = len(images.class_names)
    if count < LEAST_CLASSES:
        raise DatasetError(
            f"an adaptation is fitted to half of the classes and judged by the other half, which takes "
            f"{LEAST_CLASSES} classes or more; here are {plural(count, 'class', 'classes')}"
        )


def fit_adaptation(features: Floats, images: ImageSet, seed: int = 0) -> Adaptation:
    """Fit an adaptation to all classes, and measure by cross-fitting what it gains.

    Args:
        features: float32 `[images, dimension]`, before they are brought to unit length.
        images: what they are features of: eight classes or more, two images or more of each.
        seed: of the splits.
    """
    light = replace(images, pixels=np.zeros((len(images.labels), 1, 1, 1), np.uint8))  # spaces are many
    spaces: list[Space] = []
    rows: list[Ints] = []
    for fitted, judging in _splits(images, np.random.default_rng([seed, 8])):
        helped = np.isin(images.labels, fitted)
        rows.append(np.flatnonzero(np.isin(images.labels, judging)))
        linear = affine(features[helped], images.labels[helped])
        spaces.append(Space(adapt(features[rows[-1]], *linear), light.only(judging)))
    # Of episodes of all classes, the widest: they ask about every class, so they show a gain soonest.
    protocol = Protocol(min(_WAY, *(len(space.images.class_names) for space in spaces)))
    adapted, tasks = draw_in(spaces, protocol, EPISODES, seed=0)
    row = np.concatenate(rows)
    plain = unit(features)[row]
    gains = _gains(plain, adapted, tasks, images.labels[row])
    mean, half = float(gains.mean()), half_interval(gains)
    return Adaptation(
        *affine(features, images.labels),
        spaces=tuple(spaces),
        figure=f"{protocol.name} accuracy",
        without=measure(plain, tasks).value,
        adapted=measure(adapted, tasks).value,
        gain=(mean, mean - half, mean + half),
    )


def affine(features: Floats, labels: Ints) -> tuple[Floats64, Floats64]:
    """Return the map that centers features and whitens them within classes, see `whitening`.

    Args:
        features: float32 `[n, dimension]`.
        labels: the class of each, int64 `[n]`.

    Returns:
        A matrix float64 `[dimension, dimension]` to multiply features by from the right, of the size of the identity,
        and an offset float64 `[dimension]` to add. The middle between the classes becomes 0.
    """
    places = np.unique(labels, return_inverse=True)[1]
    matrix = whitening(features, places)
    matrix *= np.sqrt(len(matrix)) / np.linalg.norm(matrix)  # no direction depends on it; numbers stay in their range
    sums = np.zeros((places.max() + 1, features.shape[1]))
    np.add.at(sums, places, features.astype(np.float64))
    middle = (sums / np.bincount(places)[:, None]).mean(axis=0)
    return matrix, -middle @ matrix


def adapt(features: Floats, matrix: Floats64, offset: Floats64) -> Floats:
    """Return embeddings float32 `[n, dimension]` of unit length by an adaptation."""
    return unit(features @ matrix + offset)


def unit(vectors: Floats | Floats64) -> Floats:
    """Return vectors `[n, dimension]` at unit length, float32; those of no length stay 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Floats = (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return found


def _gains(plain: Floats, adapted: Floats, tasks: list[Task], labels: Ints) -> Floats64:
    """Return by how much more often queries of each class are named rightly, float64 `[classes asked about]`.

    Classes are what figures depend on: pictures of one class succeed or fail together.
    """
    classes = np.concatenate([labels[task.queries] for task in tasks])
    better, before = (
        np.concatenate([answer(embeddings, task).chosen == task.truth for task in tasks]).astype(np.float64)
        for embeddings in (adapted, plain)
    )
    asked = np.bincount(classes)
    found: Floats64 = np.bincount(classes, better - before)[asked > 0] / asked[asked > 0]
    return found


def _splits(images: ImageSet, rng: np.random.Generator) -> Iterator[tuple[list[int], list[int]]]:
    """Yield, for each half of each split, the classes to fit to and those that judge."""
    for _ in range(SPLITS):
        first, second = _halves(images, rng)
        yield first, second
        yield second, first


def _halves(images: ImageSet, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Deal classes into halves.

    Classes of a group are alike, so groups stay whole where there are enough of them to leave each half a third.
    """
    groups = list(images.classes_by_group.values())
    count = len(images.class_names)
    halves: tuple[list[int], list[int]] = ([], [])
    if len(groups) >= _LEAST_GROUPS:
        for index in rng.permutation(len(groups)):
            min(halves, key=len).extend(groups[index].tolist())
        if min(map(len, halves)) >= max(LEAST_CLASSES // 2, count / 3):
            return halves
    dealt = rng.permutation(count).tolist()
    return dealt[: count // 2], dealt[count // 2 :]
