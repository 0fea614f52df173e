"""Fits what a distance means, on classes the network never saw; see `Calibration` for the model behind it.

Galleries of many sizes are put together from the set, of one group and of all, half of them with exemplars from one
source (such as a drawer) where classes share some; queries of enrolled and of other classes meet them. How well a fit
holds on classes it was not fitted on, `calibration_check` says, and by gallery size `calibration_sizes`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exemplar_encoder import Calibration
from exemplar_encoder.bundle import Floats
from exemplar_encoder.calibration import NEAREST_CONSIDERED, gaps_of, mean_gap
from exemplar_trainer.dataset import ImageSet
from exemplar_trainer.episodes import pairwise_distances
from exemplar_trainer.sources import draw_pairs, draw_strangers

DEFAULT_FALSE_ACCEPT_RATE = 0.05
AMBIGUITY_ERROR_RATE = 0.02

_MAX_IMAGES = 4000
_MAX_CLASSES = 2000
_DRAWS = 10
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_GALLERIES = 60
_QUERIES = 20
_RATES = np.geomspace(0.001, 1.0, 31)

# How near strangers come in a large gallery is a matter of its look-alikes, which the mean over all classes hides.
_NEAREST_SHARE = 0.1
_DISTANCE_POWER = 2

Floats64 = npt.NDArray[np.float64]


def fit_calibration(embeddings: Floats, images: ImageSet, seed: int = 0) -> Calibration:
    """Fit on all classes of a set.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        images: the set they came from: at least two classes of at least two images (four, to cross-fit).
        seed: which images are left out of a very large set.
    """
    galleries = _galleries(embeddings, images, seed)
    sizes = tuple(sorted({gallery.way for gallery in galleries}))
    blank = Calibration(
        default_false_accept_rate=DEFAULT_FALSE_ACCEPT_RATE,
        ambiguity_margin=0.0,
        ambiguity_error_rate=AMBIGUITY_ERROR_RATE,
        class_count=len(images.class_names),
        gallery_sizes=sizes,
        typical_spacings=tuple(_typical_spacing(galleries, size) for size in sizes),
        false_accept_rates=tuple(_RATES.tolist()),
        factors=((0.0,) * len(_RATES),) * len(sizes),
        distance_weight=0.0,
        unknown_intercept=0.0,
        unknown_spacing=0.0,
        nearest_share=_NEAREST_SHARE,
        distance_power=_DISTANCE_POWER,
    )
    apart = np.array([blank.spacing(gallery.way, gallery.gaps) for gallery in galleries])
    weight, intercept, slope = _fit_softmax(galleries, apart)
    without_margin = dataclasses.replace(
        blank,
        factors=tuple(_factors(galleries, apart, size) for size in sizes),
        distance_weight=weight,
        unknown_intercept=intercept,
        unknown_spacing=slope,
    )
    return dataclasses.replace(without_margin, ambiguity_margin=_margin(without_margin, embeddings, images, seed))


def pair_distances(embeddings: Floats, images: ImageSet, seed: int = 0) -> tuple[Floats, Floats]:
    """Distances of pairs of one class, and of pairs of two classes of one group: the ones hard to tell apart.

    Where no group has two classes, all pairs of two classes count. Of a very large set, a sample is compared.
    """
    chosen = _whole_classes(images, seed)
    first, second = np.triu_indices(len(chosen), 1)
    distances = pairwise_distances(embeddings[chosen], embeddings[chosen])[first, second]
    labels = images.labels[chosen]
    group = np.unique(images.groups, return_inverse=True)[1][labels]
    same = labels[first] == labels[second]
    near = ~same & (group[first] == group[second])
    return distances[same], distances[near if near.any() else ~same]


@dataclass(frozen=True)
class _Gallery:
    """A gallery put together from a set, and what queries met in it.

    Attributes:
        way: how many classes it has.
        gaps: see `gaps_of`.
        strangers: distances of queries of other classes to their nearest classes, float32 `[queries, nearest]`,
            ascending; for a gallery of one group the other classes are of that group, too.
        known: the same of queries of its classes.
        ranks: for each of `known`, which of its nearest classes is the right one; int64 `[queries]`.
    """

    way: int
    gaps: Floats | None
    strangers: Floats
    known: Floats
    ranks: npt.NDArray[np.int64]


def _galleries(embeddings: Floats, images: ImageSet, seed: int) -> list[_Gallery]:
    """Galleries of many sizes, of one group and of all: services know things of one kind, or of many."""
    rng = np.random.default_rng([seed, 6])
    everything = _at_most(len(images.class_names), _MAX_CLASSES, seed)
    groups = [group for group in images.classes_by_group.values() if len(group) >= 2]
    found: list[_Gallery] = []
    for pools in (groups, [everything]):
        largest = max((len(pool) for pool in pools), default=0)
        for way in (size for size in _SIZES if size < largest):
            if way == 1 and found and pools is not groups:
                continue  # a lone class shows nothing of its kind, and strangers of its own group come nearest
            able = [pool for pool in pools if len(pool) > way]
            for _ in range(max(4, min(_GALLERIES, 2 * _MAX_CLASSES // way))):
                classes = rng.permutation(able[rng.integers(len(able))])
                found.append(_gallery(embeddings, images, rng, classes[:way], classes[way:]))
    return found


def _gallery(
    embeddings: Floats,
    images: ImageSet,
    rng: np.random.Generator,
    enrolled: npt.NDArray[np.int64],
    others: npt.NDArray[np.int64],
) -> _Gallery:
    pairs, source = draw_pairs(images, enrolled, rng, one_source=bool(rng.random() < 0.5))
    exemplars = embeddings[pairs[:, 0]]
    asked = rng.permutation(len(enrolled))[:_QUERIES]
    strangers = draw_strangers(images, rng.choice(others, _QUERIES), rng, source)
    known = pairwise_distances(embeddings[pairs[asked, 1]], exemplars)
    nearest = known.argsort(axis=1, kind="stable")[:, :NEAREST_CONSIDERED]
    row, rank = np.nonzero(nearest == asked[:, None])  # a class that is not even among these is left out
    return _Gallery(
        way=len(enrolled),
        gaps=gaps_of(exemplars),
        strangers=np.sort(pairwise_distances(embeddings[strangers], exemplars), axis=1)[:, :NEAREST_CONSIDERED],
        known=np.take_along_axis(known, nearest, axis=1)[row],
        ranks=rank,
    )


def _typical_spacing(galleries: Sequence[_Gallery], way: int) -> float:
    """The mean spacing at a size; of a lone class, a stranger's distance."""
    same = [gallery for gallery in galleries if gallery.way == way]
    return float(
        np.mean([g.strangers[:, 0].mean() if g.gaps is None else mean_gap(g.gaps, _NEAREST_SHARE) for g in same])
    )


def _factors(galleries: Sequence[_Gallery], apart: Floats64, way: int) -> tuple[float, ...]:
    """Quantiles of strangers' nearest distances in units of the spacing, in all galleries of a size."""
    ratios = []
    for gallery, spacing in zip(galleries, apart, strict=True):
        if gallery.way == way:
            nearest = gallery.strangers[:, 0].astype(np.float64)
            ratios.append(nearest / spacing if spacing > 0 else np.ones_like(nearest))
    return tuple(np.quantile(np.concatenate(ratios), _RATES).tolist())


def _fit_softmax(galleries: Sequence[_Gallery], apart: Floats64) -> tuple[float, float, float]:
    """Multinomial logistic regression of the right class, or none, on squared distances and the spacing.

    Each gallery counts its known and its unknown queries alike. Newton's method on a convex loss.

    Returns:
        The weight of distance, and intercept and slope of "none of them", as `Calibration` has them.
    """
    features, truths, weights = [], [], []
    for gallery, spacing in zip(galleries, apart, strict=True):
        for distances, ranks in ((gallery.known, gallery.ranks), (gallery.strangers, None)):
            if not len(distances):
                continue
            x = np.zeros((len(distances), NEAREST_CONSIDERED + 1, 3))
            x[:, :-1, 0] = -np.inf
            x[:, : distances.shape[1], 0] = -(distances.astype(np.float64) ** _DISTANCE_POWER)
            x[:, -1, 1:] = -1.0, -spacing
            features.append(x)
            truths.append(np.full(len(distances), NEAREST_CONSIDERED) if ranks is None else ranks)
            weights.append(np.full(len(distances), 0.5 / len(distances) / len(galleries)))
    x, truth, weight = np.concatenate(features), np.concatenate(truths), np.concatenate(weights)
    there = np.isfinite(x[:, :, 0])
    x[~there] = 0.0
    right = x[np.arange(len(x)), truth]
    theta = np.array([1.0, 0.0, 0.0])
    ridge = 1e-6 * np.eye(3)  # keeps the fit finite where everything can be told apart
    for _ in range(100):
        z = np.where(there, x @ theta, -np.inf)
        p = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        mean = np.einsum("qk,qkf->qf", p, x)
        gradient = weight @ (right - mean) - ridge @ theta
        second = np.einsum("q,qk,qkf,qkg->fg", weight, p, x, x, optimize=True)
        curvature = second - np.einsum("q,qf,qg->fg", weight, mean, mean) + ridge
        step = np.linalg.solve(curvature, gradient)
        theta += step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return max(0.0, float(theta[0])), float(theta[1]), float(theta[2])


def _margin(calibration: Calibration, embeddings: Floats, images: ImageSet, seed: int) -> float:
    """The least difference of the top two distances that keeps wrong names among accepted queries rare enough."""
    rng = np.random.default_rng([seed, 3])
    chosen = _whole_classes(images, seed)
    classes = np.unique(images.labels[chosen])
    rate = calibration.default_false_accept_rate
    margins: list[Floats] = []
    wrongs: list[npt.NDArray[np.bool_]] = []
    for _ in range(_DRAWS):  # which image stands for a class decides much; one draw would be fitted too closely
        exemplars = np.array([rng.choice(images.members[label]) for label in classes])
        queries = chosen[~np.isin(chosen, exemplars)]
        distances = pairwise_distances(embeddings[queries], embeddings[exemplars])
        spacing = calibration.spacing(len(classes), gaps_of(embeddings[exemplars]))
        threshold = calibration.threshold(rate, len(classes), spacing)
        two = np.sort(np.partition(distances, 1, axis=1)[:, :2], axis=1)
        accepted = two[:, 0] <= threshold
        margins.append((two[:, 1] - two[:, 0])[accepted])
        wrongs.append((classes[distances.argmin(axis=1)] != images.labels[queries])[accepted])
    margin, wrong = np.concatenate(margins), np.concatenate(wrongs)
    order = np.argsort(-margin)
    margin, share = margin[order], np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero(share <= calibration.ambiguity_error_rate)
    if len(good) == 0:
        return float(margin.max(initial=0.0))
    return float(margin[good[-1]]) if good[-1] < len(order) - 1 else 0.0


def _whole_classes(images: ImageSet, seed: int) -> npt.NDArray[np.int64]:
    """Positions of at most `_MAX_IMAGES` images: every class of a set that large gives a few, or some classes do."""
    if len(images.labels) <= _MAX_IMAGES:
        return np.arange(len(images.labels))
    classes = _at_most(len(images.class_names), _MAX_CLASSES, seed)
    each = max(2, _MAX_IMAGES // len(classes))
    rng = np.random.default_rng([seed, 7])
    return np.sort(np.concatenate([rng.permutation(images.members[label])[:each] for label in classes]))


def _at_most(count: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, 4]).choice(count, most, replace=False))
