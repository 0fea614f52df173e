"""How far a calibration keeps its word in galleries of a size, of one group or of all, by one source or by any.

Cross-fitted over the groups that training held out. Each in turn is asked about, half of its classes enrolled at most
and the others strangers, and judged by a calibration fitted on the other held-out groups. A gallery is filled up with
other held-out classes, and where those do not suffice with classes that training saw, which are enrolled and never
asked about. The fit's galleries are filled up likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats, Ints
from exemplar_encoder.calibration import gaps_of
from exemplar_trainer.calibration.from_held_out import fit_calibration
from exemplar_trainer.calibration.thresholds import AMBIGUITY_ERROR_RATE, margins
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.pairs import draw_pairs, draw_strangers
from exemplar_trainer.data.wording import some
from exemplar_trainer.evaluation.episodes import pairwise_distances
from exemplar_trainer.evaluation.open_set import reliability
from exemplar_trainer.evaluation.tasks import EvaluationError

ASKED = (0.01, 0.05)

_LEAST_GROUPS = 3


@dataclass(frozen=True)
class Kept:
    """What became of the rates and probabilities in galleries of one kind.

    Attributes:
        gallery_size: classes enrolled; in galleries of one group half of a smaller group.
        one_group: whether they are of one group.
        one_source: whether their exemplars are all from one source, such as a drawer, and the queries from others.
        asked: false-accept rates asked for.
        realized: the share of strangers that were given a name, at each.
        accepted: the share of queries of enrolled classes that were accepted, at each.
        calibration_error: expected calibration error of the top match's probability, as many queries of enrolled
            classes as strangers.
        ambiguous: the share of accepted queries of enrolled classes whose two nearest are too close to call, at the
            calibration's default rate; None where none was accepted.
        misnamed: the share of wrong names among the others of them, the verdicts MATCH; None where there were none.
        misnamed_asked: the share that the margin was set for.
        trained_share: the share of the enrolled classes that training saw.
        strangers: how many strangers asked.
    """

    gallery_size: int
    one_group: bool
    one_source: bool
    asked: tuple[float, ...]
    realized: tuple[float, ...]
    accepted: tuple[float, ...]
    calibration_error: float
    ambiguous: float | None
    misnamed: float | None
    misnamed_asked: float
    trained_share: float
    strangers: int


def check_sizes(
    embeddings: Floats,
    images: ImageSet,
    held_out: Collection[str],
    sizes: Sequence[int],
    number: int = 60,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Kept]:
    """Cross-fit, and judge galleries of each of `sizes`.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        images: the set they came from, held-out groups and others.
        held_out: the groups that training never saw, three or more.
        sizes: classes to enroll.
        number: galleries of a kind for each held-out group.
        seed: of the draw.
        progress: called with galleries done and galleries in all.

    Raises:
        EvaluationError: fewer than three such groups of four classes, a gallery larger than the set, or a class of
            one image.
    """
    single = [name for name, members in zip(images.class_names, images.members, strict=True) if len(members) < 2]
    if single:
        raise EvaluationError(f"a class needs an exemplar and a query, but these have one image: {some(single)}")
    groups = [group for name, group in images.classes_by_group.items() if name in held_out and len(group) >= 4]
    if len(groups) < _LEAST_GROUPS:
        raise EvaluationError(
            "a calibration is judged on groups that it was not fitted on, which takes "
            f"{_LEAST_GROUPS} held-out groups of 4 classes or more; here are {len(groups)}"
        )
    room = len(images.class_names) - max((len(group) + 1) // 2 for group in groups)
    if max(sizes) > room:
        raise EvaluationError(f"the set has classes for galleries of {room:,}, and strangers; not of {max(sizes):,}")
    rest = [label for label, name in enumerate(images.groups) if name not in held_out]
    background = embeddings[[images.members[label][0] for label in rest]]
    judges = [
        _fitted(embeddings, images, [each for each in groups if each is not own], background, seed) for own in groups
    ]
    kinds = [
        (size, one_group, one_source)
        for size in sizes
        for one_group in (True, False)
        if not one_group or size <= max(len(group) for group in groups) // 2
        for one_source in (False, True)
    ]
    found = []
    for done, (size, one_group, one_source) in enumerate(kinds):
        rng = np.random.default_rng([seed, size, one_group, one_source])
        tally = _Tally()
        for judge, group in zip(judges, groups, strict=True):
            for _ in range(number):
                chosen = rng.permutation(group)
                half = len(group) // 2
                enrolled, strangers = chosen[:half], chosen[half:]
                if one_group:
                    enrolled = enrolled[:size]
                else:
                    enrolled = _filled(rng, groups, enrolled, strangers, len(images.class_names), size)
                _ask(embeddings, images, rng, judge, enrolled, strangers, group, one_source, tally)
                tally.trained.append(float((~np.isin(enrolled, np.concatenate(groups))).mean()))
        found.append(tally.kept(size, one_group, one_source))
        progress(done + 1, len(kinds))
    return found


class _Tally:
    """What the queries of one kind of gallery met."""

    def __init__(self) -> None:
        self.realized: list[list[bool]] = [[] for _ in ASKED]
        self.accepted: list[list[bool]] = [[] for _ in ASKED]
        self.stated: list[float] = []
        self.right: list[bool] = []
        self.ambiguous: list[bool] = []
        self.misnamed: list[bool] = []
        self.trained: list[float] = []

    def kept(self, size: int, one_group: bool, one_source: bool) -> Kept:
        return Kept(
            size,
            one_group,
            one_source,
            ASKED,
            tuple(float(np.mean(values)) for values in self.realized),
            tuple(float(np.mean(values)) for values in self.accepted),
            reliability(np.array(self.stated), np.array(self.right))[0],
            float(np.mean(self.ambiguous)) if self.ambiguous else None,
            float(np.mean(self.misnamed)) if self.misnamed else None,
            AMBIGUITY_ERROR_RATE,
            float(np.mean(self.trained)),
            len(self.realized[0]),
        )


def _fitted(
    embeddings: Floats, images: ImageSet, groups: Sequence[Ints], background: Floats, seed: int
) -> Calibration:
    classes = np.concatenate(groups).tolist()
    return fit_calibration(embeddings[np.isin(images.labels, classes)], images.only(classes), seed, background)


def _filled(
    rng: np.random.Generator, groups: Sequence[Ints], own: Ints, strangers: Ints, class_count: int, size: int
) -> Ints:
    """Classes of a gallery of all groups: at random among those held out; the others only where those run out."""
    held_out = np.setdiff1d(np.concatenate(groups), strangers)
    if size <= len(held_out):
        first = own[:1]  # so that there is somebody to be known
        rest = rng.permutation(np.setdiff1d(held_out, first))
    else:
        first = held_out
        rest = rng.permutation(np.setdiff1d(np.arange(class_count), np.concatenate([held_out, strangers])))
    return np.concatenate([first, rest])[:size]


def _ask(
    embeddings: Floats,
    images: ImageSet,
    rng: np.random.Generator,
    calibration: Calibration,
    enrolled: Ints,
    strangers: Ints,
    group: Ints,
    one_source: bool,
    tally: _Tally,
) -> None:
    pairs, source = draw_pairs(images, enrolled, rng, one_source)
    exemplars = embeddings[pairs[:, 0]]
    own = np.flatnonzero(np.isin(enrolled, group))
    known = pairwise_distances(embeddings[pairs[own, 1]], exemplars)
    unknown = pairwise_distances(embeddings[draw_strangers(images, strangers, rng, source)], exemplars)
    spacing = calibration.spacing(len(enrolled), gaps_of(exemplars))
    for position, rate in enumerate(ASKED):
        threshold = calibration.threshold(rate, len(enrolled), spacing)
        tally.accepted[position].extend(known.min(axis=1) <= threshold)
        tally.realized[position].extend(unknown.min(axis=1) <= threshold)
    right = known.argmin(axis=1) == own
    margin, accepted = margins(np.sort(known, axis=1), calibration, len(enrolled), spacing)
    clear = margin >= calibration.margin(spacing)
    tally.ambiguous.extend(~clear[accepted])
    tally.misnamed.extend(~right[accepted & clear])
    alike = min(len(known), len(unknown))  # the probability takes half of all queries to be strangers'
    for row in np.sort(np.concatenate([known[:alike], unknown[:alike]]), axis=1):
        tally.stated.append(float(calibration.probabilities(row, spacing)[0]))
    tally.right.extend([*right[:alike], *np.zeros(alike, dtype=bool)])
