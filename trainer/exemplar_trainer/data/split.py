"""Which classes are held out from training: whole groups where there are groups, else classes; never images.

The rule is fixed, not drawn: every fifth name in sorted order, or another of them. Figures then compare from one day,
machine and seed to the next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from exemplar_trainer.data.image_set import DatasetError, ImageSet
from exemplar_trainer.data.wording import abridged

EVERY = 5

# Two classes make pairs; on four a calibration can be fitted to two and judged by the other two.
LEAST_TRAINING_CLASSES = 2
LEAST_HELD_OUT_CLASSES = 4


@dataclass(frozen=True)
class Split:
    """Two sets without a class in common, and the names of what was held out: groups, or classes without groups."""

    training: ImageSet
    held_out: ImageSet
    held_out_names: tuple[str, ...]

    def fingerprint(self) -> str:
        """Return SHA-256, in hexadecimal digits, of every class's name, side of the split and number of images.

        It is the same for the same tree, wherever and in whatever form it lies, so that a run does not go on with
        another one unnoticed.
        """
        lines = sorted(
            f"{side}\t{name}\t{len(members)}"
            for side, images in (("training", self.training), ("held out", self.held_out))
            for name, members in zip(images.class_names, images.members, strict=True)
        )
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def split(images: ImageSet, hold_out: Sequence[str] = (), every: int = EVERY, by_class: bool = False) -> Split:
    """Hold out classes.

    Args:
        images: the whole set.
        hold_out: what to hold out, by name: groups; or classes, with `by_class` or where there are no two groups.
        every: without names, one of this many sorted names is held out, the first of them; in a small set the ones
            after those too, until they have enough classes to measure on.
        by_class: hold out single classes even where there are groups.

    Raises:
        DatasetError: a name is not in the set, or too little is left on one side.
    """
    grouped = len(images.classes_by_group) >= 2 and not by_class
    names = sorted(images.classes_by_group) if grouped else list(images.class_names)
    unknown = sorted(set(hold_out) - set(names))
    if unknown:
        raise DatasetError(f"cannot hold out {abridged(unknown)}: the set has {abridged(names)}")
    of_class = images.groups if grouped else images.class_names
    chosen = tuple(hold_out) or _first_of_every(every, names, of_class)
    held = [index for index, name in enumerate(of_class) if name in set(chosen)]
    rest = sorted(set(range(len(images.class_names))) - set(held))
    if len(held) < LEAST_HELD_OUT_CLASSES or len(rest) < LEAST_TRAINING_CLASSES:
        raise DatasetError(
            f"holding out {abridged(chosen)} leaves {len(rest)} classes to train on and {len(held)} to measure on; "
            f"the least are {LEAST_TRAINING_CLASSES} and {LEAST_HELD_OUT_CLASSES}"
        )
    return Split(images.only(rest), images.only(held), chosen)


def _first_of_every(every: int, names: Sequence[str], of_class: Sequence[str]) -> tuple[str, ...]:
    order = [name for start in range(every) for name in names[start::every]]
    count = len(names[::every])
    while count < len(names) and sum(name in order[:count] for name in of_class) < LEAST_HELD_OUT_CLASSES:
        count += 1
    return tuple(order[:count])
