"""Which classes are held out from training: whole groups where there are groups, else classes; never images.

The rule is fixed, not drawn: every fifth name in sorted order. Figures then compare from one day, machine and seed
to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exemplar_trainer.dataset import (
    LEAST_HELD_OUT_CLASSES,
    LEAST_TRAINING_CLASSES,
    DatasetError,
    ImageSet,
    some,
)

EVERY = 5


@dataclass(frozen=True)
class Split:
    """Two sets without a class in common, and the names of what was held out (groups, or classes without groups)."""

    training: ImageSet
    held_out: ImageSet
    held_out_names: tuple[str, ...]


def split(images: ImageSet, hold_out: Sequence[str] = ()) -> Split:
    """Hold out classes.

    Args:
        images: the whole set.
        hold_out: groups to hold out by name; when empty, every fifth group from the first (positions 0, 5, 10 ... of
            the sorted names), or every fifth class when there are fewer than 2 groups; more where those are too few.

    Raises:
        DatasetError: a name is no group of the set, or too little is left on one side.
    """
    grouped = len(images.classes_by_group) >= 2
    names = sorted(images.classes_by_group) if grouped else list(images.class_names)
    unknown = sorted(set(hold_out) - set(names))
    if unknown:
        raise DatasetError(f"cannot hold out {', '.join(unknown)}: the set has {some(names)}")
    of_class = images.groups if grouped else images.class_names
    chosen = tuple(hold_out) or _every_fifth(names, of_class)
    held = [index for index, name in enumerate(of_class) if name in set(chosen)]
    rest = sorted(set(range(len(images.class_names))) - set(held))
    if len(held) < LEAST_HELD_OUT_CLASSES or len(rest) < LEAST_TRAINING_CLASSES:
        raise DatasetError(
            f"holding out {some(chosen)} leaves {len(rest)} classes to train on and {len(held)} to measure on; "
            f"the least are {LEAST_TRAINING_CLASSES} and {LEAST_HELD_OUT_CLASSES}"
        )
    return Split(images.only(rest), images.only(held), chosen)


def _every_fifth(names: Sequence[str], of_class: Sequence[str]) -> tuple[str, ...]:
    """Every fifth name; in a small set the ones after those too, until they have enough classes to measure on."""
    order = [name for start in range(EVERY) for name in names[start::EVERY]]
    count = len(names[::EVERY])
    while count < len(names) and sum(name in order[:count] for name in of_class) < LEAST_HELD_OUT_CLASSES:
        count += 1
    return tuple(order[:count])
