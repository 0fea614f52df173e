"""How far a calibration keeps its word in galleries of a size, of one group or of all, by one source or by any.

Cross-fitted over the groups that training held out. Each in turn is asked about, half of its classes enrolled at most
and the others strangers, and judged by a calibration fitted on the other held-out groups. A gallery is filled up with
other held-out classes, and where those do not suffice with classes that training saw, which are enrolled and never
asked about. The fit's galleries are filled up likewise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from exemplar_encoder import Calibration
from exemplar_encoder.arrays import Floats, Ints
from exemplar_trainer.calibration.ambiguity import AMBIGUITY_ERROR_RATE
from exemplar_trainer.calibration.from_held_out import fit_calibration
from exemplar_trainer.data.image_set import ImageSet
from exemplar_trainer.data.pairs import draw_pairs, draw_strangers
from exemplar_trainer.data.reading import OnCount, uncounted
from exemplar_trainer.data.wording import abridged
from exemplar_trainer.evaluation.open_set import judge_tasks
from exemplar_trainer.evaluation.tasks import NO_CLASS, EvaluationError, Task

RATES = (0.01, 0.05)

_LEAST_GROUPS = 3


@dataclass(frozen=True)
class GalleryCheck:
    """How cross-fitted calibrations did in galleries of one kind; the figures are those of `OpenSet`.

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


@dataclass(frozen=True)
class _Checked:
    """A set, its embeddings, and the held-out groups that are asked about, each with the calibration to judge."""

    embeddings: Floats
    images: ImageSet
    groups: list[Ints]
    calibrations: list[Calibration]


def check_gallery_sizes(
    embeddings: Floats,
    images: ImageSet,
    held_out: Collection[str],
    sizes: Sequence[int],
    number: int = 60,
    seed: int = 0,
    on_count: OnCount = uncounted,
) -> list[GalleryCheck]:
    """Cross-fit, and judge in galleries of each of `sizes`.

    Args:
        embeddings: float32 `[images, dimension]` of unit length.
        images: the set they came from, held-out groups and others.
        held_out: the groups that training never saw, three or more.
        sizes: classes to enroll.
        number: galleries of a kind for each held-out group.
        seed: of the draw.
        on_count: told of kinds of galleries done and kinds in all.

    Raises:
        EvaluationError: fewer than three such groups of four classes, a gallery larger than the set, or a class of
            one image.
    """
    groups = _groups_to_ask(images, held_out, max(sizes))
    rest = [label for label, name in enumerate(images.groups) if name not in held_out]
    background = embeddings[[images.members[label][0] for label in rest]]
    calibrations = []
    for own in groups:
        classes = np.concatenate([group for group in groups if group is not own]).tolist()
        inside = np.isin(images.labels, classes)
        calibrations.append(fit_calibration(embeddings[inside], images.only(classes), seed, background))
    checked = _Checked(embeddings, images, groups, calibrations)
    kinds = [
        (size, one_group, one_source)
        for size in sizes
        for one_group in (True, False)
        if not one_group or size <= max(len(group) for group in groups) // 2
        for one_source in (False, True)
    ]
    found = []
    for done, kind in enumerate(kinds):
        found.append(_check(checked, *kind, number, np.random.default_rng([seed, *kind])))
        on_count(done + 1, len(kinds))
    return found


def _groups_to_ask(images: ImageSet, held_out: Collection[str], largest: int) -> list[Ints]:
    single = [name for name, members in zip(images.class_names, images.members, strict=True) if len(members) < 2]
    if single:
        raise EvaluationError(f"a class needs an exemplar and a query, but these have one image: {abridged(single)}")
    groups = [group for name, group in images.classes_by_group.items() if name in held_out and len(group) >= 4]
    if len(groups) < _LEAST_GROUPS:
        raise EvaluationError(
            "a calibration is judged on groups that it was not fitted on, which takes "
            f"{_LEAST_GROUPS} held-out groups of 4 classes or more; here are {len(groups)}"
        )
    room = len(images.class_names) - max((len(group) + 1) // 2 for group in groups)
    if largest > room:
        raise EvaluationError(f"the set has classes for galleries of {room:,}, and strangers; not of {largest:,}")
    return groups


def _check(
    checked: _Checked, size: int, one_group: bool, one_source: bool, number: int, rng: np.random.Generator
) -> GalleryCheck:
    images = checked.images
    tasks: list[Task] = []
    judges: list[Calibration] = []
    trained: list[float] = []
    for calibration, group in zip(checked.calibrations, checked.groups, strict=True):
        for _ in range(number):
            chosen = rng.permutation(group)
            half = len(group) // 2
            enrolled, strangers = chosen[:half], chosen[half:]
            if one_group:
                enrolled = enrolled[:size]
            else:
                enrolled = _filled(rng, checked.groups, enrolled, strangers, len(images.class_names), size)
            tasks.append(_task(images, rng, enrolled, strangers, group, one_source))
            judges.append(calibration)
            trained.append(float((~np.isin(enrolled, np.concatenate(checked.groups))).mean()))
    judged = judge_tasks(checked.embeddings, tasks, judges, RATES)
    return GalleryCheck(
        gallery_size=size,
        one_group=one_group,
        one_source=one_source,
        asked=judged.asked,
        realized=judged.realized,
        accepted=judged.accepted,
        calibration_error=judged.calibration_error,
        ambiguous=judged.ambiguous,
        misnamed=judged.misnamed,
        misnamed_asked=AMBIGUITY_ERROR_RATE,
        trained_share=float(np.mean(trained)),
        strangers=judged.unknown,
    )


def _filled(
    rng: np.random.Generator, groups: Sequence[Ints], own: Ints, strangers: Ints, class_count: int, size: int
) -> Ints:
    """Return classes of a gallery of all groups: of those held out, and of the others only where those run out."""
    held_out = np.setdiff1d(np.concatenate(groups), strangers)
    if size <= len(held_out):
        first = own[:1]  # so that there is somebody to be known
        rest = rng.permutation(np.setdiff1d(held_out, first))
    else:
        first = held_out
        rest = rng.permutation(np.setdiff1d(np.arange(class_count), np.concatenate([held_out, strangers])))
    return np.concatenate([first, rest])[:size]


def _task(
    images: ImageSet, rng: np.random.Generator, enrolled: Ints, strangers: Ints, group: Ints, one_source: bool
) -> Task:
    """Ask a query of each enrolled class of the group, and one of each stranger."""
    pairs, source = draw_pairs(images, enrolled, rng, one_source)
    own = np.flatnonzero(np.isin(enrolled, group))
    unknown = draw_strangers(images, strangers, rng, source)
    truth = np.append(own, np.full(len(unknown), NO_CLASS))
    return Task(pairs[:, :1], np.append(pairs[own, 1], unknown), truth)
